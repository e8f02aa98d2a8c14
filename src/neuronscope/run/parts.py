"""Parts: the results of one unit of work as one Parquet file that proves it is whole and what it belongs to.

A part's name is the first 24 hexadecimal digits of sha256(kind + canonical JSON of the key). Its footer holds kind,
key, the digest of the run's settings, and the SHA-256 of all its bytes but those 64 digits; so a truncated or altered
part, one renamed by hand, or one carried over from a run with other settings is told from a finished one.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InvalidOption, RunMismatch, first_line
from .settings import canonical

SUFFIX = ".parquet"
SCHEMA = "neuronscope.part/1"

_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # no capitals: some file systems do not tell them from small letters
_NAME = re.compile(r"[0-9a-f]{24}\.parquet")
_FIELD = "neuronscope."
_PLACE = hashlib.sha256(SCHEMA.encode()).hexdigest()  # stands where the hash will be while the hash is computed
#: In the footer the name stands before the value, with a length and a type of a few bytes between them.
_DIGEST = re.compile(rb"neuronscope\.sha256.{1,8}?([0-9a-f]{64})", re.DOTALL)


class DamagedPart(RunMismatch):
    """A file that is not the finished part its name promises. The text is the reason."""


@dataclass(frozen=True)
class Stamp:
    """What a part belongs to.

    Attributes:
        kind: the kind of unit of work.
        key: canonical JSON of what tells the unit from others of its kind.
        settings: digest of the run's settings.
    """

    kind: str
    key: str
    settings: str

    @classmethod
    def of(cls, kind: str, key: Mapping[str, Any], settings: str) -> Stamp:
        """Raises InvalidOption for a kind that is no file name, or a key that is not JSON. An empty key is one."""
        if not _KIND.fullmatch(kind):
            raise InvalidOption(f"kind={kind!r} has to be small letters, digits, - and _, 64 at most, no - or _ first")
        return cls(kind, canonical(key, "key"), settings)

    @property
    def id(self) -> str:
        """24 hexadecimal digits, the same for the same kind and key."""
        return hashlib.sha256((self.kind + self.key).encode()).hexdigest()[:24]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.id + SUFFIX


def is_part_name(name: str) -> bool:
    """Whether a file may be a part, to judge by its name."""
    return bool(_NAME.fullmatch(name))


def encode(table: pa.Table, stamp: Stamp) -> bytes:
    """The part as the content of its file: the same bytes for the same rows and version of pyarrow."""
    sink = io.BytesIO()
    plain = table.replace_schema_metadata(None)
    with pq.ParquetWriter(sink, plain.schema, compression="zstd") as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata(
            {
                _FIELD + "schema": SCHEMA,
                _FIELD + "kind": stamp.kind,
                _FIELD + "key": stamp.key,
                _FIELD + "settings": stamp.settings,
                _FIELD + "rows": str(plain.num_rows),
                _FIELD + "sha256": _PLACE,
            }
        )
    data = sink.getvalue()
    head, tail = _around(data, _PLACE)
    return head + _hash(head, tail).encode() + tail


def decode(data: bytes, name: str, settings: str) -> tuple[Stamp, pa.Table]:
    """The stamp and the rows of a file called `name`. Raises DamagedPart as :func:`verify` does."""
    stamp = verify(data, name, settings)
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except Exception as error:  # its hash is right: another program wrote it, and pyarrow may raise anything
        raise DamagedPart(f"its rows cannot be read: {first_line(error)}") from error
    return stamp, table.replace_schema_metadata(None)


def verify(data: bytes, name: str, settings: str) -> Stamp:
    """The stamp of a file, once every byte is proved to be as it was written; costs one pass over the bytes.

    The hash is looked at before the file is parsed, so that no parser ever sees damaged bytes.

    Raises DamagedPart with the reason: no Parquet, not one of ours, another hash, key, kind or settings than promised.
    """
    found = _DIGEST.findall(data)
    digest = found[-1].decode() if found else ""
    if digest and _hash(*_around(data, digest)) != digest:
        raise DamagedPart("its content is not what its hash says")
    said = _footer(data)
    if said.get(_FIELD + "schema") != SCHEMA:
        raise DamagedPart(f"its schema is {said.get(_FIELD + 'schema')!r}, not {SCHEMA!r}")
    if not digest or said.get(_FIELD + "sha256") != digest:
        raise DamagedPart("its content is not what its hash says")
    lacking = [name for name in ("kind", "key", "settings") if _FIELD + name not in said]
    if lacking:
        raise DamagedPart(f"its footer has no {', '.join(lacking)}")
    stamp = Stamp(said[_FIELD + "kind"], said[_FIELD + "key"], said[_FIELD + "settings"])
    if stamp.name != name:
        raise DamagedPart(f"it holds {stamp.kind} {stamp.key}, whose name is {stamp.name}")
    if stamp.settings != settings:
        raise DamagedPart(f"it was made with other settings (digest {stamp.settings}, here {settings})")
    return stamp


def _footer(data: bytes) -> dict[str, str]:
    """The metadata that a file's footer holds as text. Raises DamagedPart where there is no footer."""
    try:
        footer = pq.read_metadata(pa.BufferReader(data))
        texts = footer.metadata or {}
    except Exception as error:  # UnicodeDecodeError, MemoryError and more besides Arrow's own
        raise DamagedPart(f"it is no whole Parquet file: {first_line(error)}") from error
    return {name.decode(errors="replace"): text.decode(errors="replace") for name, text in texts.items()}


def _around(data: bytes, digest: str) -> tuple[bytes, bytes]:
    """What precedes and what follows the digest; it stands behind all rows, so the last place is the right one."""
    head, _, tail = data.rpartition(digest.encode())
    return head, tail


def _hash(head: bytes, tail: bytes) -> str:
    digest = hashlib.sha256(head)
    digest.update(tail)
    return digest.hexdigest()

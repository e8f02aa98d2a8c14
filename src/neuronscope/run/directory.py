"""The run directory: where a long job keeps what it has finished, so that a restart computes only the rest.

    RUN/run.json                    settings, and the environments that worked on them
    RUN/parts/KIND/ID.parquet       the rows of one unit of work: kind and key decide the name
    RUN/damaged/KIND/, damaged.jsonl    parts that were found damaged, and why
    RUN/claims/, RUN/temporary/     who is working on what; files in the making

A part appears under its name whole or not at all, is never changed, and is proved whole before it is used. Nothing
depends on time stamps or on the order in which parts were made. Several processes, on several machines with one file
system, may work in one directory.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from ..errors import InvalidOption, RunMismatch
from ..files import create_once, output_folder, refusing, require_space, write_bytes
from ..frames import the_pandas
from ..types import Json
from .claims import Claims, Owner
from .parts import SUFFIX, DamagedPart, Stamp, encode, verify
from .progress import Progress as Progress
from .rows import Row, same_columns, tabulate
from .settings import Record, differences, environment, json_value
from .store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

Key = Mapping[str, Any]

_PATIENCE = 180.0  # seconds; longer than a network file system hides a refreshed time stamp
_LONGEST_WAIT = 1.0


class Run:
    """A directory of finished units of work. Made by :meth:`open` or :meth:`existing`.

    A unit is a `kind`, such as "captions", and a `key`, such as {"concept": "bear", "j": 3}; its result is a small
    table.

    Attributes:
        folder: the directory.
        record: the content of run.json.
        readonly: whether it is only read; damaged parts stay where they are then.
    """

    def __init__(
        self,
        folder: Path,
        record: Record,
        schemas: Mapping[str, pa.Schema],
        patience: float,
        *,
        readonly: bool = False,
    ) -> None:
        self.folder = folder
        self.record = record
        self.readonly = readonly
        self._schemas = dict(schemas)
        self._layouts: dict[str, pa.Schema] = {}
        self._store = Store(folder, record.digest, readonly=readonly)
        self._claims = Claims(folder / "claims", self._temporary, patience)
        self._clock = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._written = Counter[str]()

    # ---- opening

    @classmethod
    def open(
        cls,
        folder: str | Path,
        settings: Mapping[str, Json],
        *,
        schemas: Mapping[str, pa.Schema] | None = None,
        patience: float = _PATIENCE,
    ) -> Run:
        """Create the directory, or go on with it.

        Args:
            folder: the directory; made with its parents if need be.
            settings: everything that decides what the results are, the model's fingerprint among it.
            schemas: kind -> columns of its rows; fields of the key need not be among them. The columns of other kinds
                are inferred from the first rows.
            patience: seconds after which another machine's claim that is not refreshed is void.

        Raises InvalidOption when the folder cannot be written to or the settings are not JSON, and RunMismatch when the
        run there has other settings (all are named, with both values) or columns, or its run.json is damaged.
        """
        if not patience > 0:
            raise InvalidOption(f"patience={patience} has to be above 0 seconds")
        here = environment()
        wanted = Record(cast("dict[str, Json]", json_value(settings, "settings")), (here,))
        root = output_folder(folder)
        for name in ("claims", "temporary"):
            with refusing(root / name):
                (root / name).mkdir(exist_ok=True)
        run = cls(root, _agreed(root, wanted), schemas or {}, patience)
        run._clean()
        run.see(here)
        run._check_schemas()
        return run

    @classmethod
    def existing(cls, folder: str | Path, *, schemas: Mapping[str, pa.Schema] | None = None) -> Run:
        """A run to read from, whatever its settings; nothing in it is written or moved.

        Raises RunMismatch when there is none, or it has other columns.
        """
        root = Path(folder)
        run = cls(root, Record.load(root / "run.json"), schemas or {}, _PATIENCE, readonly=True)
        run._check_schemas()
        return run

    @property
    def settings(self) -> Mapping[str, Json]:
        """The settings in run.json."""
        return self.record.settings

    # ---- units of work

    def part(self, kind: str, key: Key) -> Path:
        """Where the result of a unit is, or will be. Raises InvalidOption for a kind or key that cannot name one."""
        return self._store.path(self._stamp(kind, key))

    def done(self, kind: str, key: Key) -> bool:
        """Whether a unit is finished. A damaged part is set aside, with a line in damaged.jsonl, and is not."""
        return self._store.sound(self.part(kind, key))

    def missing(self, kind: str, keys: Iterable[Key]) -> list[Key]:
        """The keys whose units are not finished, in their order, each once."""
        return [key for path, key in self._paths(kind, keys).items() if not self._store.sound(path)]

    def write(self, kind: str, key: Key, rows: Sequence[Row] | pa.Table) -> bool:
        """Keep the result of a unit; False when it was finished already, whose rows then stay.

        Raises InvalidOption for rows that do not fit, by column, and when the file cannot be written, as on a full
        disk: then there is no part, and the others are untouched.
        """
        self._require_writable()
        stamp = self._stamp(kind, key)
        table = tabulate(kind, key, rows, self._layout(kind))
        written = self._keep(self._store.path(stamp), encode(table, stamp))
        now = time.monotonic()
        self._seconds[kind] = self._seconds.get(kind, 0.0) + now - self._clock
        self._written[kind] += 1
        self._clock = now
        return written

    def read(self, kind: str, key: Key) -> pa.Table:
        """The rows of a finished unit, the key's fields first.

        Raises RunMismatch when it is not finished, or its part is damaged, which is then set aside.
        """
        path = self.part(kind, key)
        found = self._store.load(path)
        if found is None:
            raise RunMismatch(self._unfinished(kind, key, path))
        return found[1]

    def to_dataframe(self, kind: str) -> DataFrame:
        """:meth:`table` with pandas. Raises as it does, and InvalidOption where pandas is not installed."""
        the_pandas()
        return cast("Any", self.table(kind)).to_pandas()

    def table(self, kind: str) -> pa.Table:
        """The rows of all finished units of a kind, ordered by canonical key and, within a unit, as they were written.

        Raises RunMismatch when there are none, when parts have different columns, and when some prove damaged: they are
        set aside, unless the run is only read, so that the job can compute them again.
        """
        paths = self._store.listed(kind)
        loaded = [self._store.load(path) for path in paths]
        found = sorted((part for part in loaded if part is not None), key=lambda part: part[0].key)
        if len(found) < len(paths):
            lost = [path.name for path, part in zip(paths, loaded, strict=True) if part is None]
            which = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
            state = "are damaged" if self.readonly else "were damaged and set aside"
            why = next(filter(None, map(self._store.why, paths)), "reasons in damaged.jsonl")
            raise RunMismatch(
                f"{len(lost)} parts of kind {kind!r} in {self.folder} {state} ({which}; {why}): "
                "run the job again to compute them"
            )
        if not found:
            raise RunMismatch(f"{self.folder} has no finished unit of kind {kind!r}. It has: {', '.join(self.kinds())}")
        layout = found[0][1].schema
        for stamp, rows in found:
            where = f"part {stamp.name} of kind {kind!r}"
            same_columns(where, rows.schema, layout)
            same_columns(f"part {found[0][0].name} of kind {kind!r}", layout, rows.schema)
        return pa.concat_tables([rows.select(layout.names) for _, rows in found]).combine_chunks()

    def kinds(self) -> list[str]:
        """The kinds that have parts."""
        return sorted({path.parent.name for path in (self.folder / "parts").glob(f"*/*{SUFFIX}")})

    def parts(self, kind: str) -> list[Path]:
        """The files of a kind's finished units; none is opened."""
        return self._store.listed(kind)

    def since(self, kind: str, seen: set[Path]) -> Iterator[pa.Table]:
        """The rows of finished units whose parts are not in `seen`, to which they are added; damaged ones are not."""
        for path in self._store.listed(kind):
            if path not in seen and (found := self._store.load(path)) is not None:
                seen.add(path)
                yield found[1]

    # ---- several processes

    @contextmanager
    def claim(self, kind: str, key: Key) -> Generator[bool]:
        """True in the block when this process may do the unit, False when another is at it. It never waits.

        Claims save work and guard nothing: writing without one is as safe.
        """
        self._require_writable()
        stamp = self._stamp(kind, key)
        with self._claims.hold(f"{stamp.kind}-{stamp.id}") as mine:
            if mine:
                self._clock = time.monotonic()
            yield mine

    def todo(self, kind: str, keys: Iterable[Key]) -> Iterator[Key]:
        """The keys that this process should compute and write, one at a time, each under its claim.

        Processes that loop over the same keys share them. The last ones wait for what others still have claimed, and
        take it over when they die; when the loop ends, every unit is finished, unless a caller did not write its own.
        """
        waiting = self._paths(kind, keys)
        wait = 0.01
        while waiting:
            before = len(waiting)
            for path, key in list(waiting.items()):
                if self._store.sound(path):
                    del waiting[path]
                    continue
                with self.claim(kind, key) as mine:
                    if not mine:
                        continue
                    del waiting[path]
                    if not self._store.sound(path):  # it may have been finished between the look and the claim
                        yield key
            if len(waiting) == before:
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def see(self, here: Mapping[str, Json]) -> None:
        """Add an environment to run.json, unless it is there; under a claim, so that no process drops another's."""
        path = self.folder / "run.json"
        while not self.record.seen(here):
            with self._claims.hold("run") as mine:
                if mine:
                    known = Record.load(path)
                    if not known.seen(here):
                        known = replace(known, environments=(*known.environments, here))
                        write_bytes(path, known.to_bytes())
                    self.record = known
                else:
                    time.sleep(0.05)

    # ---- parts from elsewhere

    def export(self, kind: str, key: Key) -> bytes:
        """The part of a finished unit as it is on the disk, for :meth:`adopt` of another directory of the same run.

        Raises RunMismatch when it is not finished.
        """
        path = self.part(kind, key)
        if not self._store.sound(path):
            raise RunMismatch(self._unfinished(kind, key, path))
        return path.read_bytes()

    def adopt(self, kind: str, key: Key, data: bytes) -> bool:
        """Keep a part that :meth:`export` gave; False when the unit was finished already, whose rows then stay.

        Raises RunMismatch, with nothing written, for a part that is damaged or belongs to another unit or to other
        settings, and InvalidOption when the file cannot be written.
        """
        self._require_writable()
        path = self.part(kind, key)
        try:
            verify(data, path.name, self.record.digest)
        except DamagedPart as reason:
            raise RunMismatch(
                f"a part given for {kind} {dict(key)} is not taken into {self.folder}: {reason}"
            ) from reason
        return self._keep(path, data)

    # ---- planning

    def require_space(self, needed: int) -> None:
        """Raise InvalidOption, with both amounts, unless so many bytes are free where the run is."""
        require_space(self.folder, needed)

    def estimate(self, kind: str, keys: Iterable[Key]) -> Progress:
        """How many of the units are there (judged by name), and what the others will take."""
        paths = self._paths(kind, keys)
        sizes = [path.stat().st_size for path in paths if path.exists()]
        written = self._written[kind]
        return Progress(
            done=len(sizes),
            total=len(paths),
            seconds_each=self._seconds[kind] / written if written else None,
            bytes_each=sum(sizes) / len(sizes) if sizes else None,
        )

    # ---- parts

    def _require_writable(self) -> None:
        if self.readonly:
            raise InvalidOption(f"{self.folder} was opened with Run.existing, which only reads; open it with Run.open")

    def _unfinished(self, kind: str, key: Key, path: Path) -> str:
        why = self._store.why(path)
        state = f"is damaged ({path.name}: {why})" if why else "is not finished"
        return f"{kind} {dict(key)} {state} in {self.folder}: compute it again"

    def _stamp(self, kind: str, key: Key) -> Stamp:
        return Stamp.of(kind, key, self.record.digest)

    def _keep(self, path: Path, data: bytes) -> bool:
        """Give a part its place, unless a sound one has it; whether this one has."""
        with refusing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # Not waiting for the disk: what a power cut takes from a part is found when it is next looked at.
        written = create_once(path, data, self._temporary(path.name))
        if not written and not self._store.sound(path):
            written = create_once(path, data, self._temporary(path.name))
        return written

    def _paths(self, kind: str, keys: Iterable[Key]) -> dict[Path, Key]:
        result: dict[Path, Key] = {}
        for key in keys:
            result.setdefault(self.part(kind, key), key)
        return result

    # ---- columns

    def _layout(self, kind: str) -> pa.Schema | None:
        """The columns of a kind: those of its parts, so that all agree, else those that were declared."""
        if kind not in self._layouts:
            parts = (self._store.load(path) for path in self._store.listed(kind))
            first = next((rows for part in parts if part is not None for rows in part[1:]), None)
            if first is None:
                return self._schemas.get(kind)
            self._layouts[kind] = first.schema
        return self._layouts[kind]

    def _check_schemas(self) -> None:
        for kind, schema in self._schemas.items():
            layout = self._layout(kind)
            if layout is not None:
                same_columns(f"kind {kind!r} in {self.folder}", layout, schema)

    # ---- the directory itself

    def _temporary(self, name: str) -> Path:
        return self.folder / "temporary" / f"{Owner.here()}.{uuid.uuid4().hex[:8]}.{name}"

    def _clean(self) -> None:
        """Remove what processes of this machine that were killed have left in the making."""
        for path in (self.folder / "temporary").iterdir():
            owner = Owner.parse(path.name.partition(".")[0])
            if owner is not None and owner.is_dead:
                path.unlink(missing_ok=True)
        self._claims.clean()


def _agreed(folder: Path, wanted: Record) -> Record:
    """The record of the run, made if there is none. Of processes that race, one makes it and the others compare."""
    path = folder / "run.json"
    orphans = next((folder / "parts").glob(f"*/*{SUFFIX}"), None)
    if not path.exists():  # looked for after the parts: run.json is there before the first of them
        if orphans is not None:
            raise RunMismatch(f"{folder} has results, such as {orphans}, but no run.json that tells their settings")
        temporary = folder / "temporary" / f"{Owner.here()}.{uuid.uuid4().hex[:8]}.run.json"
        create_once(path, wanted.to_bytes(), temporary, durable=True)
    known = Record.load(path)
    unlike = differences(known.settings, wanted.settings)
    if unlike:
        raise RunMismatch(f"{path} belongs to other settings: {'; '.join(unlike)}. Choose another folder for these")
    return known

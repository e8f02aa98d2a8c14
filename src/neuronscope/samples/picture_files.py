"""The pictures of a job: files, folders and caption lists, each known by a name and by its content.

Names tell nothing of the machine: a picture is called by its file's name, or, where two have the same, by its path
below the folder that all have in common. The content's hash is part of its key, so a picture that was replaced is done
anew.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidOption, InvalidSample
from ..files import is_folder
from .image import read_image
from .lists import ImageList, Refused

#: Tables that name pictures.
TABLES = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Picture:
    """A picture of a job.

    Attributes:
        name: what results call it.
        path: where it is.
        digest: the beginning of the SHA-256 of its bytes.
    """

    name: str
    path: Path
    digest: str

    @property
    def key(self) -> dict[str, str]:
        """What tells its results from those of other pictures."""
        return {"image": self.name, "sha256": self.digest}


@dataclass(frozen=True)
class Pictures:
    """The pictures of a job in their order, each once, and what was left out of folders and lists."""

    items: tuple[Picture, ...]
    refused: tuple[Refused, ...] = ()

    def without(self, reasons: Mapping[Path, str]) -> Pictures:
        """The rest, with those for which there is a reason refused. Raises InvalidSample where none is left."""
        kept = tuple(one for one in self.items if one.path not in reasons)
        if not kept:
            raise InvalidSample(f"none of {len(self.items)} pictures can be used: {next(iter(reasons.values()), '')}")
        more = (Refused(str(path), reason) for path, reason in reasons.items())
        return Pictures(kept, (*self.refused, *more))


def gather(
    sources: Sequence[str | Path],
    images: str | Path | None = None,
    *,
    allow_outside: bool = False,
    checked: bool = True,
) -> Pictures:
    """Pictures from files, folders and tables (.csv, .tsv, .jsonl, .json), all of them read once.

    Args:
        sources: where they are.
        images: the folder that tables' file names are relative to; beside the table when not given
            (samples/lists.py).
        allow_outside: also take what tables and links in folders lead to outside of them.
        checked: decode the pictures of folders and tables now, and refuse those that are none; else a job finds them
            when it comes to them, which spares it reading everything twice.

    Raises InvalidSample for a file that cannot be read as a picture and for a folder or table without one; what they
    hold besides is in `refused`. Raises InvalidOption for no sources, and for `images` without a table.
    """
    if not sources:
        raise InvalidOption("no images were given: name files, folders or a table (.csv, .tsv, .jsonl, .json)")
    if images is not None and all(is_folder(one) or Path(one).suffix.lower() not in TABLES for one in sources):
        raise InvalidOption(f"images={str(images)!r} is the folder of a table's pictures, and no table was given")
    paths: list[Path] = []
    refused: list[Refused] = []
    for source in map(Path, sources):
        if is_folder(source) or source.suffix.lower() in TABLES:
            if is_folder(source):
                found = ImageList.folder(source, allow_outside=allow_outside)
            else:
                found = ImageList.table(source, images, allow_outside=allow_outside)
            found = found.checked() if checked else found
            paths += [item.image for item in found]
            refused += found.refused
        else:
            read_image(source)
            paths.append(source)
    distinct = list(dict.fromkeys(path.resolve() for path in paths))
    items: list[Picture] = []
    for name, path in zip(_names(distinct), distinct, strict=True):
        try:
            items.append(Picture(name, path, digest(path)))
        except OSError as error:  # one that is not looked at yet
            refused.append(Refused(str(path), f"image {path} cannot be read: {error.strerror or error}"))
    if not items:
        raise InvalidSample(f"none of {len(distinct)} pictures can be read; the first: {refused[-1].reason}")
    return Pictures(tuple(items), tuple(refused))


def _names(paths: Sequence[Path]) -> list[str]:
    often = Counter(path.name for path in paths)
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.name if often[path.name] == 1 else path.relative_to(common).as_posix() for path in paths]


def digest(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file. Raises OSError where it cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

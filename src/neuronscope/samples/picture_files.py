"""The pictures of a job: files, folders, caption lists and annotated data, each known by a name and by its content.

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
from .annotations.opened import annotated, is_annotated
from .image import read_image
from .lists import SUFFIXES, Captioned, ImageList, Refused

#: Tables that name pictures.
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


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
    split: str | None = None,
    allow_outside: bool = False,
    checked: bool = True,
) -> Pictures:
    """Pictures from files, folders, tables and annotated data, all of them read once.

    Args:
        sources: where they are; a folder without pictures of its own, and a table without captions, is read as
            :func:`neuronscope.annotated` does.
        images: the folder that tables' file names are relative to; beside the table when not given
            (samples/lists.py).
        split: of annotated data, where there are several.
        allow_outside: also take what tables and links in folders lead to outside of them.
        checked: decode the pictures of folders and tables now, and refuse those that are none; else a job finds them
            when it comes to them, which spares it reading everything twice.

    Raises InvalidSample for a file that cannot be read as a picture and for a folder or table without one; what they
    hold besides is in `refused`. Raises InvalidOption for no sources, for `images` without a table, and for a `split`
    without annotated data.
    """
    if not sources:
        raise InvalidOption(f"no images were given: name files, folders or a table ({', '.join(TABLES)})")
    if images is not None and all(is_folder(one) or Path(one).suffix.lower() not in TABLES for one in sources):
        raise InvalidOption(f"images={str(images)!r} is the folder of a table's pictures, and no table was given")
    paths: list[Path] = []
    refused: list[Refused] = []
    split_used = split is None
    for source in map(Path, sources):
        if is_folder(source) or source.suffix.lower() in TABLES:
            if _of_annotations(source):
                found, split_used = _annotated(source, images, split, allow_outside), True
            elif is_folder(source):
                found = ImageList.folder(source, allow_outside=allow_outside)
            else:
                found = ImageList.table(source, images, allow_outside=allow_outside)
            found = found.checked() if checked else found
            paths += [item.image for item in found]
            refused += found.refused
        else:
            read_image(source)
            paths.append(source)
    if not split_used:
        raise InvalidOption(f"split={split!r} is one of annotated data, and {', '.join(map(str, sources))} has none")
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


def _of_annotations(source: Path) -> bool:
    """Whether a folder or table names pictures by its annotations, and not by itself."""
    if is_folder(source) and any(one.suffix.lower() in SUFFIXES for one in source.iterdir()):
        return False
    return is_annotated(source)


def _annotated(source: Path, images: str | Path | None, split: str | None, allow_outside: bool) -> ImageList:
    found = annotated(source, None if is_folder(source) else images, split=split, allow_outside=allow_outside)
    items: list[Captioned] = []
    refused: list[Refused] = []
    for image, row in found.tables.images.items():
        try:
            items.append(Captioned(found.picture(row), found.references.get(image, ())))
        except InvalidSample as error:
            refused.append(Refused(str(row["file_name"]), str(error)))
    return ImageList(tuple(items), tuple(refused))


def _names(paths: Sequence[Path]) -> list[str]:
    often = Counter(path.name for path in paths)
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.name if often[path.name] == 1 else path.relative_to(common).as_posix() for path in paths]


def digest(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file. Raises OSError where it cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

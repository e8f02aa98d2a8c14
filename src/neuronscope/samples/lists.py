"""Lists of captioned pictures, for methods that need captions and no boxes.

- two parallel text files, line i of one belonging to line i of the other, as SBU Captions is published: URLs or file
  names, and captions (METHODS f, "Setting");
- a table of files and captions: .csv, .tsv with a header line, .jsonl, or .json as SBU Captions has it now
  (list_files.py);
- a plain folder of pictures, without captions.

Nothing is downloaded: of a URL the last part names a file in `images`. What cannot be used is in `refused` with its
reason; a list without a single usable picture is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload
from urllib.parse import unquote

import numpy as np

from ..errors import InvalidOption, InvalidSample, suggest
from ..fields import check_fields
from ..files import is_folder
from ..given import checked_methods
from ..reprs import short_repr
from .image import read_image
from .list_files import READERS, ListLine, lines
from .place import place

#: Files of a folder that are taken for pictures.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Captioned:
    """A picture and what people wrote about it."""

    image: Path
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A line or file that is not in the list: where it stands, and why it cannot be used."""

    where: str
    reason: str


@checked_methods
@dataclass(frozen=True)
class ImageList(Sequence[Captioned]):
    """Pictures with captions, each picture once.

    Attributes:
        items: in the order of the list, or of the names in a folder.
        refused: what was left out.
    """

    items: tuple[Captioned, ...]
    refused: tuple[Refused, ...] = ()

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parallel(
        cls, files: str | Path, captions: str | Path, images: str | Path, *, allow_outside: bool = False
    ) -> ImageList:
        """Two parallel text files, and the folder of the pictures, out of which no name may lead unless it is allowed.

        Raises InvalidSample when a file cannot be read, they differ in length, or no line can be used.
        """
        first, second = Path(files), Path(captions)
        names, texts = lines(first), lines(second)
        if len(names) != len(texts):
            raise InvalidSample(
                f"{first} has {len(names)} lines and {second} {len(texts)}: line i of both must belong together"
            )
        entries = (ListLine(f"{first}:{i}", *pair) for i, pair in enumerate(zip(names, texts, strict=True), 1))
        return _collect(entries, Path(images), first, allow_outside)

    @classmethod
    def table(
        cls,
        path: str | Path,
        images: str | Path | None = None,
        *,
        file: str = "file",
        caption: str = "caption",
        allow_outside: bool = False,
    ) -> ImageList:
        """A .csv or .tsv with a header line, a .jsonl with an object in each line, or a .json with all of them.

        One picture may have many lines. A .json lists a whole data set, of which a folder holds a part: those of its
        entries whose pictures are not there are counted, and refused together.

        Args:
            path: the table.
            images: where the pictures are; when not given beside the table, or for a .json in `images` beside it, where
                there is such a folder.
            file: name of the column that holds a file name, path or URL; in a .json also one of the usual other names.
            caption: name of the column that holds a caption, or in .jsonl and .json a list of captions; as `file`.
            allow_outside: whether names may lead out of the folder of pictures, as they are written or by links.

        Raises InvalidSample when the table cannot be read, lacks a column, or has no line that can be used;
        InvalidOption for another suffix.
        """
        table = Path(path)
        reader = READERS.get(table.suffix.lower())
        if reader is None:
            raise InvalidOption(f"path={str(table)!r} is not a table.{suggest(table.suffix, sorted(READERS))}")
        whole = table.suffix.lower() == ".json"
        beside = table.parent / "images" if whole and (table.parent / "images").is_dir() else table.parent
        folder = beside if images is None else Path(images)
        return _collect(reader(table, (file, caption)), folder, table, allow_outside, part=whole)

    @classmethod
    def folder(cls, path: str | Path, *, recursive: bool = False, allow_outside: bool = False) -> ImageList:
        """The pictures of a folder, sorted by path; everything else in it is refused.

        So are links that lead out of it, unless `allow_outside`.
        Whether a file is a picture is told by its suffix; reading one that is not raises InvalidSample then, and
        :meth:`checked` finds all of them.

        Raises InvalidSample when it is no folder or holds no picture.
        """
        root = Path(path)
        if not is_folder(root):
            raise InvalidSample(f"{root} is not a folder of pictures")
        items: list[Captioned] = []
        refused: list[Refused] = []
        for found in sorted(root.rglob("*") if recursive else root.iterdir()):
            if found.is_dir():
                if not recursive:
                    refused.append(Refused(str(found), "a folder; recursive=True looks into it"))
            elif found.suffix.lower() in SUFFIXES:
                reason = _astray(root, str(found.relative_to(root)), allow_outside)
                refused += [Refused(str(found), reason)] if reason else []
                items += [] if reason else [Captioned(found)]
            else:
                refused.append(Refused(str(found), f"not a picture by its suffix; known: {', '.join(SUFFIXES)}"))
        return _not_empty(cls(tuple(items), tuple(refused)), root)

    def checked(self) -> ImageList:
        """The list without pictures that cannot be read, which are refused; reads every one.

        Raises InvalidSample when none is left.
        """
        items: list[Captioned] = []
        refused = list(self.refused)
        for item in self.items:
            reason = _unreadable(item.image)
            if reason:
                refused.append(Refused(str(item.image), reason))
            else:
                items.append(item)
        return _not_empty(ImageList(tuple(items), tuple(refused)), "the list")

    def shuffled(self, seed: int = 0) -> ImageList:
        """The same items in random order; `list.shuffled(seed)[:1000]` is a random choice."""
        order = np.random.default_rng(seed).permutation(len(self.items))
        return replace(self, items=tuple(self.items[i] for i in order))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Captioned]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Captioned: ...
    @overload
    def __getitem__(self, index: slice) -> ImageList: ...
    def __getitem__(self, index: int | slice) -> Captioned | ImageList:
        return self.items[index] if isinstance(index, int) else replace(self, items=self.items[index])


def _collect(
    entries: Iterator[ListLine], images: Path, source: Path, allow_outside: bool, *, part: bool = False
) -> ImageList:
    """Entries of one picture together, where its first one stands.

    With `part` the folder is expected to hold a part of them only, and those that it lacks are refused together.
    """
    if not is_folder(images):
        raise InvalidSample(f"{images} is not a folder; the pictures of {source} are looked for there")
    there = frozenset(os.listdir(images)) if part else frozenset[str]()
    captions: dict[Path, list[str]] = {}
    refused: list[Refused] = []
    total, lacking = 0, list[str]()
    for entry in entries:
        total += 1
        name = _file(entry.file)
        reason = entry.reason or _unusable(entry)
        plain = part and "/" not in name  # of a million a thousand may be there: the others are not looked for
        if not reason and (not plain or name in there):
            reason = _astray(images, name, allow_outside)
        if reason:
            refused.append(Refused(entry.where, reason))
        elif (plain and name not in there) or not os.path.isfile(images / name):
            lacking.append(name)
            if not part:
                refused.append(Refused(entry.where, f"picture {images / name} does not exist"))
        else:
            held = captions.setdefault(images / name, [])
            held += [] if entry.caption is None else [entry.caption.strip()]
    if part and lacking:
        told = f"{len(lacking)} of {total} entries name pictures that are not in {images}, the first {lacking[0]}"
        refused.append(Refused(str(source), told))
    items = tuple(Captioned(path, tuple(texts)) for path, texts in captions.items())
    return _not_empty(ImageList(items, tuple(refused)), source)


def _file(name: str) -> str:
    name = name.strip()
    _, is_url, address = name.partition("://")
    return unquote(re.split("[?#]", address)[0].rpartition("/")[2]) if is_url else name


def _astray(folder: Path, name: str, allow_outside: bool) -> str:
    """Why a file is not one of the folder; empty where it is."""
    try:
        place(folder, name, allow_outside=allow_outside)
    except InvalidSample as error:
        return str(error)
    return ""


def _unusable(entry: ListLine) -> str:
    if not entry.file.strip():
        return "it names no file"
    return "" if entry.caption is None or entry.caption.strip() else "its caption is empty"


def _unreadable(path: Path) -> str:
    try:
        read_image(path)
    except InvalidSample as error:
        return str(error)
    return ""


def _not_empty(found: ImageList, source: str | Path) -> ImageList:
    if not found.items:
        first = f"; the first of {len(found.refused)} refused: {found.refused[0]}" if found.refused else ""
        raise InvalidSample(f"{source} holds no picture that can be used{first}")
    return found

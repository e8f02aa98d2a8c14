"""Lists of captioned pictures, for methods that need captions and no boxes.

- two parallel text files, line i of one belonging to line i of the other, as SBU Captions is published: URLs or file
  names, and captions (METHODS f, "Setting");
- a table of files and captions: .csv, .tsv with a header line, or .jsonl;
- a plain folder of pictures, without captions.

Nothing is downloaded: of a URL the last part names a file in `images`. What cannot be used is in `refused` with its
reason; a list without a single usable picture is an error.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import unquote

import numpy as np

from ..errors import InvalidOption, InvalidSample, suggest
from ..files import is_folder
from ..parsing import parse_json, read_text
from .image import read_image
from .place import place

if TYPE_CHECKING:
    from _csv import Reader as CsvReader  # the type has no public name before Python 3.13


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


@dataclass(frozen=True)
class ImageList(Sequence[Captioned]):
    """Pictures with captions, each picture once.

    Attributes:
        items: in the order of the list, or of the names in a folder.
        refused: what was left out.
    """

    items: tuple[Captioned, ...]
    refused: tuple[Refused, ...] = ()

    @classmethod
    def parallel(
        cls, files: str | Path, captions: str | Path, images: str | Path, *, allow_outside: bool = False
    ) -> ImageList:
        """Two parallel text files, and the folder of the pictures, out of which no name may lead unless it is allowed.

        Raises InvalidSample when a file cannot be read, they differ in length, or no line can be used.
        """
        first, second = Path(files), Path(captions)
        names, texts = _lines(first), _lines(second)
        if len(names) != len(texts):
            raise InvalidSample(
                f"{first} has {len(names)} lines and {second} {len(texts)}: line i of both must belong together"
            )
        entries = (_Entry(f"{first}:{i}", *pair) for i, pair in enumerate(zip(names, texts, strict=True), 1))
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
        """A .csv or .tsv with a header line, or a .jsonl with an object in each line; one picture may have many lines.

        Args:
            path: the table.
            images: where the pictures are; beside the table when not given.
            file: name of the column that holds a file name, path or URL.
            caption: name of the column that holds a caption, or in .jsonl a list of captions.
            allow_outside: whether names may lead out of the folder of pictures, as they are written or by links.

        Raises InvalidSample when the table cannot be read, lacks a column, or has no line that can be used;
        InvalidOption for another suffix.
        """
        table = Path(path)
        reader = _READERS.get(table.suffix.lower())
        if reader is None:
            raise InvalidOption(f"path={str(table)!r} is not a table.{suggest(table.suffix, sorted(_READERS))}")
        folder = table.parent if images is None else Path(images)
        return _collect(reader(table, (file, caption)), folder, table, allow_outside)

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


@dataclass(frozen=True)
class _Entry:
    """One line of a list, or why it cannot be read."""

    where: str
    file: str = ""
    caption: str = ""
    reason: str = ""


def _collect(entries: Iterator[_Entry], images: Path, source: Path, allow_outside: bool) -> ImageList:
    """Entries of one picture together, where its first one stands."""
    if not is_folder(images):
        raise InvalidSample(f"{images} is not a folder; the pictures of {source} are looked for there")
    captions: dict[Path, list[str]] = {}
    refused: list[Refused] = []
    for entry in entries:
        name = _file(entry.file)
        path = images / name
        reason = entry.reason or _unusable(entry) or _astray(images, name, allow_outside) or _missing(path)
        if reason:
            refused.append(Refused(entry.where, reason))
        else:
            captions.setdefault(path, []).append(entry.caption.strip())
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


def _unusable(entry: _Entry) -> str:
    if not entry.file.strip():
        return "it names no file"
    return "" if entry.caption.strip() else "its caption is empty"


def _missing(path: Path) -> str:
    return "" if os.path.isfile(path) else f"picture {path} does not exist"


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


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSample(f"{path} cannot be read as UTF-8 text: {error}") from error


def _lines(path: Path) -> list[str]:
    r"""Lines that end in \n or \r\n and in nothing else: captions may hold other characters that break lines."""
    lines = [line.removesuffix("\r") for line in _text(path).split("\n")]
    return lines[:-1] if not lines[-1] else lines


def _rows(path: Path, columns: tuple[str, str], dialect: Mapping[str, Any]) -> Iterator[_Entry]:
    """Rows of a table with a header line."""
    rows = csv.reader(io.StringIO(_text(path), newline=""), **dialect)
    try:
        yield from _fields(path, columns, rows)
    except csv.Error as error:  # an open quote, or a field beyond all measure: what follows cannot be told apart
        raise InvalidSample(f"{path}:{rows.line_num} cannot be read: {error}") from error


def _fields(path: Path, columns: tuple[str, str], rows: CsvReader) -> Iterator[_Entry]:
    header = next(rows, [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise InvalidSample(
            f"{path} has no column {missing[0]!r} in its first line; columns: {', '.join(header) or 'none'}"
        )
    file, caption = map(header.index, columns)
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if len(row) != len(header):
            yield _Entry(where, reason=f"{len(row)} fields where the header has {len(header)}")
        else:
            yield _Entry(where, row[file], row[caption])


def _objects(path: Path, columns: tuple[str, str]) -> Iterator[_Entry]:
    """Lines of JSON."""
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}:{number}"
        try:
            row: Any = parse_json(line)
            file, captions = row[columns[0]], row[columns[1]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            yield _Entry(where, reason=f"not an object with {' and '.join(columns)}: {type(error).__name__}: {error}")
            continue
        for caption in captions if isinstance(captions, list) and captions else [captions]:
            if isinstance(file, str) and isinstance(caption, str):
                yield _Entry(where, file, caption)
            else:
                yield _Entry(where, reason=f"{columns[0]} and {columns[1]} must be text")


def _comma(path: Path, columns: tuple[str, str]) -> Iterator[_Entry]:
    return _rows(path, columns, {"strict": True})


def _tab(path: Path, columns: tuple[str, str]) -> Iterator[_Entry]:
    return _rows(path, columns, {"delimiter": "\t", "quoting": csv.QUOTE_NONE})


_READERS: Mapping[str, Callable[[Path, tuple[str, str]], Iterator[_Entry]]] = {
    ".csv": _comma,
    ".jsonl": _objects,
    ".tsv": _tab,
}

"""The files that name pictures and captions, entry by entry: text, tables, and JSON.

A .json holds a whole list. SBU Captions is published as an object of parallel lists, `image_urls` and `captions` beside
others of the same length; others write a list of objects, of [file, caption] pairs or of files alone, or an object with
a caption, or several, for each file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidSample
from ..parsing import parse_json, read_text

if TYPE_CHECKING:
    from _csv import Reader as CsvReader  # the type has no public name before Python 3.13

#: What lists of captioned pictures call the two in JSON, beside the names that are asked for.
_FILES = (*("image_urls", "image_url", "urls", "url", "images", "image", "image_path", "file_name", "filename"), "path")
_CAPTIONS = ("captions", "caption", "texts", "text", "sentences", "sentence")


@dataclass(frozen=True)
class ListLine:
    """One line of a list, or why it cannot be read.

    Attributes:
        where: file and line, or file and number.
        file: name, path or URL.
        caption: None in lists that have none.
        reason: why it cannot be read; empty where it can.
    """

    where: str
    file: str = ""
    caption: str | None = ""
    reason: str = ""


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSample(f"{path} cannot be read as UTF-8 text: {error}") from error


def lines(path: Path) -> list[str]:
    r"""Lines that end in \n or \r\n and in nothing else: captions may hold other characters that break lines."""
    lines = [line.removesuffix("\r") for line in _text(path).split("\n")]
    return lines[:-1] if not lines[-1] else lines


def _rows(path: Path, columns: tuple[str, str], dialect: Mapping[str, Any]) -> Iterator[ListLine]:
    """Rows of a table with a header line."""
    rows = csv.reader(io.StringIO(_text(path), newline=""), **dialect)
    try:
        yield from _fields(path, columns, rows)
    except csv.Error as error:  # an open quote, or a field beyond all measure: what follows cannot be told apart
        raise InvalidSample(f"{path}:{rows.line_num} cannot be read: {error}") from error


def _fields(path: Path, columns: tuple[str, str], rows: CsvReader) -> Iterator[ListLine]:
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
            yield ListLine(where, reason=f"{len(row)} fields where the header has {len(header)}")
        else:
            yield ListLine(where, row[file], row[caption])


def _objects(path: Path, columns: tuple[str, str]) -> Iterator[ListLine]:
    """Lines of JSON."""
    for number, line in enumerate(lines(path), 1):
        where = f"{path}:{number}"
        try:
            row: Any = parse_json(line)
            file, captions = row[columns[0]], row[columns[1]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            yield ListLine(where, reason=f"not an object with {' and '.join(columns)}: {type(error).__name__}: {error}")
            continue
        for caption in captions if isinstance(captions, list) and captions else [captions]:
            if isinstance(file, str) and isinstance(caption, str):
                yield ListLine(where, file, caption)
            else:
                yield ListLine(where, reason=f"{columns[0]} and {columns[1]} must be text")


def _comma(path: Path, columns: tuple[str, str]) -> Iterator[ListLine]:
    return _rows(path, columns, {"strict": True})


def _tab(path: Path, columns: tuple[str, str]) -> Iterator[ListLine]:
    return _rows(path, columns, {"delimiter": "\t", "quoting": csv.QUOTE_NONE})


def entries_of_json(path: Path, columns: tuple[str, str]) -> Iterator[ListLine]:
    """Entries of a JSON document in one of the forms above. Raises InvalidSample for another form."""
    try:
        document: Any = parse_json(_text(path))
    except ValueError as error:
        raise InvalidSample(f"{path} cannot be read as JSON: {error}") from error
    names = tuple((one, *usual) for one, usual in zip(columns, (_FILES, _CAPTIONS), strict=True))
    if isinstance(document, dict):
        named = cast("dict[str, Any]", document)
        yield from _of_object(path, named, *names)
    elif isinstance(document, list):
        for number, row in enumerate(cast("list[Any]", document), 1):
            yield from _of_row(f"{path}:{number}", row, *names)
    else:
        raise InvalidSample(f"{path} holds a {type(document).__name__}, not a list of pictures")


def _of_object(path: Path, named: dict[str, Any], files: Sequence[str], captions: Sequence[str]) -> Iterator[ListLine]:
    """Parallel lists, or a caption for each file."""
    file = next((name for name in files if isinstance(named.get(name), list)), None)
    if file is not None:
        caption = next((name for name in captions if isinstance(named.get(name), list)), None)
        first: list[Any] = named[file]
        second: list[Any] = [None] * len(first) if caption is None else named[caption]
        if len(first) != len(second):
            raise InvalidSample(
                f"{path} has {len(first)} {file} and {len(second)} {caption}: entry i of both must belong together"
            )
        for number, (one, said) in enumerate(zip(first, second, strict=True), 1):
            yield from _entries(f"{path}:{number}", one, said, bare=caption is None)
        return
    if not named or not all(isinstance(value, (str, list)) for value in named.values()):
        held = ", ".join(sorted(named)[:8]) or "nothing"
        raise InvalidSample(f"{path} has no list called {', '.join(files)}; it holds {held}")
    for number, (one, said) in enumerate(named.items(), 1):
        yield from _entries(f"{path}:{number}", one, said)


def _of_row(where: str, row: Any, files: Sequence[str], captions: Sequence[str]) -> Iterator[ListLine]:
    """An object, a pair, or a file alone."""
    if isinstance(row, dict):
        named = cast("dict[str, Any]", row)
        file = next((name for name in files if name in named), None)
        if file is None:
            yield ListLine(where, reason=f"an object without any of {', '.join(files)}")
            return
        caption = next((name for name in captions if name in named), None)
        yield from _entries(where, named[file], named.get(caption or ""), bare=caption is None)
    elif isinstance(row, list) and len(cast("list[Any]", row)) == 2:
        yield from _entries(where, *cast("list[Any]", row))
    else:
        yield from _entries(where, row, None, bare=True)


def _entries(where: str, file: Any, said: Any, *, bare: bool = False) -> Iterator[ListLine]:
    """One for each caption. `bare`: the list has none."""
    if not isinstance(file, str):
        yield ListLine(where, reason=f"a picture must be named by text, not {type(file).__name__}")
        return
    if bare:
        yield ListLine(where, file, None)
        return
    several = cast("list[Any]", said) if isinstance(said, list) else [said]
    for caption in several or [None]:
        if isinstance(caption, str):
            yield ListLine(where, file, caption)
        else:
            yield ListLine(where, reason=f"a caption must be text, not {type(caption).__name__}")


def is_list(path: Path, columns: tuple[str, str] = ("file", "caption")) -> bool:
    """Whether a table's first line has both columns, as a list of captioned pictures does; a .json is no other table.

    Raises InvalidSample for a file that cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl"):
        return kind == ".json"
    first = next((line for line in lines(path) if line.strip()), "")
    if kind == ".jsonl":
        try:
            names: Any = parse_json(first)
        except ValueError:
            return True  # its reader says what is wrong
    else:
        names = next(csv.reader([first], delimiter="," if kind == ".csv" else "\t"), [])
    return all(name in names for name in columns) if isinstance(names, (list, dict)) else True


#: Suffix -> what reads its entries; the columns are those of file and caption.
READERS: Mapping[str, Callable[[Path, tuple[str, str]], Iterator[ListLine]]] = {
    ".csv": _comma,
    ".json": entries_of_json,
    ".jsonl": _objects,
    ".tsv": _tab,
}

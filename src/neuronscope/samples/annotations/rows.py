"""Tables with a row for each object, or for each picture with its objects in lists: CSV, TSV, JSONL, Parquet, frames.

file         file, file_name, filename, image, image_path, path
concept      concept, label, category, class, class_name, name, labels, categories
box          x, y, width, height (or w, h), or corners: x1, y1, x2, y2; xmin, ymin, xmax, ymax;
or one column bbox or box with x, y, width, height
outline      segmentation (COCO's polygons or run lengths), or mask, the file of a picture
objects      lists of the above under their names, as Hugging Face's image folders have them
size         image_width, image_height
captions     caption, captions
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ...errors import InvalidOption, InvalidSample, suggest
from ...hints import is_unicode
from ...parsing import parse_json, read_text
from ..boxes import Box, numbers
from .objects import AnnotatedPicture, Object

Row = Mapping[str, Any]

#: What columns are called; the first name is ours.
NAMES: Mapping[str, tuple[str, ...]] = {
    "file": ("file", "file_name", "filename", "image", "image_path", "path"),
    "concept": ("concept", "label", "category", "class", "class_name", "name", "labels", "categories"),
    "box": ("bbox", "box"),
    "outline": ("segmentation", "outline"),
    "mask": ("mask", "mask_path"),
    "captions": ("caption", "captions"),
    "objects": ("objects",),
}
#: Four columns that are a box, and whether they are two corners.
_BOXES: tuple[tuple[tuple[str, str, str, str], bool], ...] = (
    (("x", "y", "width", "height"), False),
    (("x", "y", "w", "h"), False),
    (("x1", "y1", "x2", "y2"), True),
    (("xmin", "ymin", "xmax", "ymax"), True),
)
_HELP = "name them with columns={'file': ..., 'concept': ...}"


def pictures_of(
    source: str, rows: Iterable[tuple[str, Row]], columns: Mapping[str, str], masks: Path
) -> Iterator[AnnotatedPicture]:
    """The pictures of a table.

    Args:
        source: what the table is called in messages.
        rows: place and content of each.
        columns: our name of a column -> the table's, for those that :data:`NAMES` does not know.
        masks: the folder that names of masks are of.

    Raises InvalidSample, with the row, for one that lacks a column or holds something else than it should, and
    InvalidOption for a name in `columns` that is not one of ours.
    """
    for name in columns:
        if name not in NAMES:
            raise InvalidOption(f"columns: {name!r} is not known.{suggest(name, list(NAMES))}")
    any_row = False
    for where, row in rows:
        any_row = True
        try:
            yield _picture(where, row, columns, masks)
        except InvalidSample as error:
            raise InvalidSample(f"{where}: {error}") from error
    if not any_row:
        raise InvalidSample(f"{source} has no rows")


def _picture(where: str, row: Row, columns: Mapping[str, str], masks: Path) -> AnnotatedPicture:
    data = _data(row, columns)
    file = where if data is not None else _text(row, "file", columns)
    inner = _column(row, "objects", columns)
    several = _several(row, columns) if inner is None else _each(_parsed(row[inner]))
    if several is not None:
        objects = [_object(f"{where} object {k}", one, columns, masks) for k, one in enumerate(several)]
    elif any(_column(row, one, columns) for one in ("concept", "outline", "mask")) or _box(row, columns) is not None:
        objects = [_object(where, row, columns, masks)]
    else:
        objects = []  # a picture without any
    said = _column(row, "captions", columns)
    captions = [] if said is None else row[said] if isinstance(row[said], list) else [row[said]]
    return AnnotatedPicture(
        where, file, objects, _size(row), tuple(str(one) for one in captions if not _missing(one)), data
    )


def _data(row: Row, columns: Mapping[str, str]) -> bytes | None:
    """A picture that is in the table itself, as Hugging Face's are; None for one in a file."""
    name = _column(row, "file", columns)
    value: Any = None if name is None else row[name]
    data = cast("dict[str, Any]", value).get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def _each(objects: Any) -> list[Row]:
    """Objects as a list of rows, also where they are a row of lists."""
    if isinstance(objects, list) and all(isinstance(one, dict) for one in cast("list[Any]", objects)):
        return cast("list[Row]", objects)
    if not isinstance(objects, dict):
        raise InvalidSample(f"objects is {_told(objects)}, not a list of objects or an object of lists")
    named = {name: list(values) for name, values in cast("dict[str, Any]", objects).items() if not _missing(values)}
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidSample(f"objects has lists of several lengths: {lengths}")
    return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]


def _several(row: Row, columns: Mapping[str, str]) -> list[Row] | None:
    """Objects of a row whose concept is a list, one for each box; None for a row of one object."""
    label = _column(row, "concept", columns)
    if label is None or not (isinstance(row[label], list) or str(row[label]).startswith("[")):
        return None
    boxes = next((name for name in ("boxes", "bboxes", *NAMES["box"]) if name in row), None)
    if boxes is None:
        raise InvalidSample(f"{label} is a list, and no column bboxes has a box for each; it has {', '.join(row)}")
    return _each({"bbox": _parsed(row[boxes]), "label": _parsed(row[label])})


def _object(where: str, row: Row, columns: Mapping[str, str], masks: Path) -> Object:
    concept = _text(row, "concept", columns)
    box = _box(row, columns)
    name = _column(row, "mask", columns)
    mask = None if name is None else masks / _text(row, "mask", columns)
    drawn = _column(row, "outline", columns)
    outline = None if drawn is None else _parsed(row[drawn])
    if box is None and outline is None and mask is None:
        boxes = "; ".join(", ".join(four) for four, _ in _BOXES)
        raise InvalidSample(f"no box, outline or mask; columns {', '.join(map(str, row))}. A box is {boxes}, or bbox")
    return Object(where, concept.strip(), box, outline=outline, mask=mask)


def _box(row: Row, columns: Mapping[str, str]) -> Box | None:
    one = _column(row, "box", columns)
    found: list[tuple[tuple[str, ...], Box]] = []
    if one is not None:
        value = _parsed(row[one])
        if isinstance(value, dict):
            return _box(cast("Row", value), {})
        found.append(((one,), numbers(value)))
    for four, corners in _BOXES:
        if one is not None and "width" in four:
            continue  # of the picture
        if all(name in row and not _missing(row[name]) for name in four):
            x, y, w, h = numbers([_number(name, row[name]) for name in four])
            found.append((four, (x, y, w - x, h - y) if corners else (x, y, w, h)))
    if len(found) > 1:
        raise InvalidSample(f"two boxes, {' and '.join(', '.join(names) for names, _ in found)}; leave one of them")
    return found[0][1] if found else None


def _size(row: Row) -> tuple[int, int] | None:
    names = ("image_width", "image_height")
    if not all(name in row and not _missing(row[name]) for name in names):
        return None
    width, height = (_number(name, row[name]) for name in names)
    if width != int(width) or height != int(height) or min(width, height) < 1:
        raise InvalidSample(f"image_width, image_height are {width}, {height}, not whole numbers of pixels")
    return int(width), int(height)


def _column(row: Row, what: str, columns: Mapping[str, str]) -> str | None:
    """The name of a column that has a value in a row; None for none."""
    names = (columns[what],) if what in columns else NAMES[what]
    return next((name for name in names if name in row and not _missing(row[name])), None)


def _text(row: Row, what: str, columns: Mapping[str, str]) -> str:
    name = _column(row, what, columns)
    if name is None:
        wanted = columns.get(what) or " or ".join(NAMES[what])
        raise InvalidSample(f"no {what}: it needs a column {wanted}, and has {', '.join(map(str, row))}; {_HELP}")
    value = row[name]
    if isinstance(value, dict):  # a picture of Hugging Face's, {bytes, path}
        value = cast("dict[str, Any]", value).get("path")
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or not is_unicode(value):
        raise InvalidSample(f"{name} is {_told(row[name])}; text is expected")
    return value


def _number(name: str, value: Any) -> float:
    try:
        return float(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        raise InvalidSample(f"{name} is {_told(value)}, not a number") from error


def _parsed(value: Any) -> Any:
    """A value of a cell: JSON where it is written as such, arrays as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return parse_json(text if text[:1] in ("[", "{") else f"[{text}]")
    except ValueError as error:
        raise InvalidSample(f"{_told(value)} is neither JSON nor numbers with commas: {error}") from error


def _missing(value: Any) -> bool:
    """Whether a cell is empty: data frames write NaN there."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _told(value: Any) -> str:
    return f"{value!r:.60}"


def _separated(path: Path, dialect: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    text = _read(path)
    rows = csv.reader(io.StringIO(text, newline=""), **dialect)
    try:
        header = [name.strip() for name in next(rows, [])]
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise InvalidSample(f"{path} has two columns {twice[0]!r}; rename one of them")
        for row in rows:
            if not row:
                continue
            where = f"{path.name}:{rows.line_num}"
            if len(row) != len(header):
                raise InvalidSample(
                    f"{where}: {len(row)} fields where the header has {len(header)}; quote commas in texts"
                )
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InvalidSample(f"{path}:{rows.line_num} cannot be read: {error}") from error


def _lines(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            row: Any = parse_json(line)
        except ValueError as error:
            raise InvalidSample(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InvalidSample(f"{where} is {_told(row)}; an object is expected in each line")
        yield where, cast("Row", row)


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet: Any = pq
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidSample(f"{path} cannot be read as Parquet: {error}") from error
    return of_arrow(path.name, table)


def of_arrow(name: str, table: Any) -> Iterator[tuple[str, Row]]:
    """The rows of a table of pyarrow, with labels of Hugging Face's features as their names."""
    labels = _labels(table.schema.metadata)
    number = 0
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            yield f"{name} row {number}", _named(row, labels)
            number += 1


def _labels(metadata: Any) -> dict[tuple[str, ...], list[str]]:
    """Path of a column -> names of its numbers, as `datasets` writes them into a table."""
    try:
        features = parse_json((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}  # a table of somebody else's
    found: dict[tuple[str, ...], list[str]] = {}

    def walk(at: tuple[str, ...], feature: Any) -> None:
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        if not isinstance(feature, dict):
            return
        if feature.get("_type") == "ClassLabel":
            found[at] = list(feature["names"])
        elif "_type" in feature:
            walk(at, feature.get("feature"))
        else:
            for name, inner in cast("dict[str, Any]", feature).items():
                walk((*at, name), inner)

    walk((), features)
    return found


def _named(value: Any, labels: Mapping[tuple[str, ...], list[str]], at: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        return {name: _named(inner, labels, (*at, name)) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_named(inner, labels, at) for inner in cast("list[Any]", value)]
    if isinstance(value, int) and at in labels and 0 <= value < len(labels[at]):
        return labels[at][value]
    return value


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSample(f"{path} cannot be read as UTF-8 text: {error}") from error


#: Suffix -> what reads its rows.
READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".csv": lambda path: _separated(path, {"strict": True}),
    ".jsonl": _lines,
    ".parquet": _parquet,
    ".tsv": lambda path: _separated(path, {"delimiter": "\t", "quoting": csv.QUOTE_NONE}),
}

"""The tables of a COCO annotation file, checked when they are read.

Rows find each other by ids. Where an id stands twice, points nowhere or is written in two ways, a reader that takes the
file for granted gives one picture another's boxes, or none, and says nothing. So every key that is used is looked at:
is it there, of what type, is it unique, what does it point to. A refusal names the file, the table, the first row that
is wrong (counted from 0, as in JSON), how many more there are, and what helps.

    images       id, unique; file_name, unique; width and height, where they are given
    annotations  id, unique; image_id -> images; category_id -> categories; iscrowd, where it is given
    categories   id, unique; name. Several may have one name, and then they are one concept
    captions     id, unique; image_id -> images; caption; images are those of the instances

What only concerns one picture (its boxes, its outlines) is checked with that picture: coco.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast

from ..errors import InvalidSample
from ..hints import is_unicode
from ..parsing import read_json

#: A row of a table: an object of the JSON.
Row: TypeAlias = dict[str, Any]
#: Ids are whole numbers, or text.
Id: TypeAlias = int | str

#: What is wrong with a row, and what helps; empty where nothing is.
Check: TypeAlias = Callable[[Row], str]


@dataclass(frozen=True)
class Tables:
    """The instances of one file.

    Attributes:
        path: the file.
        images: by id, in the file's order.
        annotations: of each image that has any.
        names: category id -> name.
    """

    path: Path
    images: Mapping[Id, Row]
    annotations: Mapping[Id, tuple[Row, ...]]
    names: Mapping[Id, str]

    @classmethod
    def read(cls, path: Path, pictures: Iterable[Check] = ()) -> Tables:
        """Raises InvalidSample for a file that is no JSON, lacks a table, or has a row that cannot be used.

        `pictures` are more checks of the rows of images.
        """
        document = _document(path)
        listed, rows, categories = (_table(path, document, name) for name in ("images", "annotations", "categories"))
        images = _images(path, listed, *pictures)
        _check(path, "categories", categories, (_id, _text("name"), _once("id")))
        names = {one["id"]: one["name"] for one in categories}
        pointing = (_pointing("image_id", images, "images"), _pointing("category_id", names, "categories"))
        _check(path, "annotations", rows, (_id, *pointing, _crowd, _once("id")))
        return cls(path, images, _grouped(rows), names)

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """Category names in the file's order, each once."""
        return tuple(dict.fromkeys(self.names.values()))

    def showing(self, concept: str) -> list[Id]:
        """The images, sorted, with an annotation of any category of a name."""
        return self._images_by_name.get(concept, [])

    @cached_property
    def _images_by_name(self) -> dict[str, list[Id]]:
        found: dict[str, list[Id]] = defaultdict(list)
        for image in sorted(self.annotations):  # pyright: ignore[reportArgumentType] - ids are of one kind
            for name in {self.names[row["category_id"]] for row in self.annotations[image]}:
                found[name].append(image)
        return dict(found)

    def captions(self, path: Path) -> dict[Id, tuple[str, ...]]:
        """Reference captions by image, from the file that stands beside this one.

        It may tell of more images than this file lists. Raises InvalidSample as :meth:`read` does, and where it calls
        another file by the id of one of these images.
        """
        document = _document(path)
        rows = _table(path, document, "annotations")
        known = self.images
        if "images" in document:
            known = _images(path, _table(path, document, "images"), _agreeing(self)) | dict(self.images)
        _check(path, "annotations", rows, (_id, _pointing("image_id", known, "images"), _text("caption"), _once("id")))
        return {image: tuple(row["caption"] for row in own) for image, own in _grouped(rows).items()}


def _document(path: Path) -> dict[str, Any]:
    try:
        document: Any = read_json(path, finite=False)
    except (OSError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InvalidSample(f"{path} cannot be read as COCO annotations: {what}") from error
    if not isinstance(document, dict):
        raise InvalidSample(f"{path} is not a COCO file: an object with tables is expected, not {_kind(document)}")
    return cast("dict[str, Any]", document)


def _table(path: Path, document: Mapping[str, Any], name: str) -> list[Row]:
    if name not in document:
        raise InvalidSample(f"{path} is not a COCO file: it lacks the table {name}")
    rows: Any = document[name]
    if not isinstance(rows, list):
        raise InvalidSample(f"{path}: {name} is {_kind(rows)}; a list of rows is expected")
    return cast("list[Row]", rows)


def _images(path: Path, rows: list[Row], *more: Check) -> dict[Id, Row]:
    _check(path, "images", rows, (_id, _text("file_name"), _size, _once("id"), _once("file_name"), *more))
    kinds = {type(row["id"]) for row in rows}
    if len(kinds) > 1:
        raise InvalidSample(f"{path}: ids of images are numbers in some rows and text in others; write all alike")
    return {row["id"]: row for row in rows}


def _check(path: Path, table: str, rows: list[Row], checks: Iterable[Check]) -> None:
    """Raise InvalidSample for the first row that fails a check."""
    first, wrong = "", 0
    checks = tuple(checks)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - the file decides
            fault = f"is {_kind(row)}; an object is expected"
        else:
            fault = next((found for check in checks if (found := check(row))), "")
        if fault:
            wrong += 1
            first = first or f"{table}[{index}]{_named(row)} {fault}"
    if wrong:
        more = f"; {wrong - 1} more of its {len(rows)} rows are wrong as well" if wrong > 1 else ""
        raise InvalidSample(f"{path}: {first}{more}")


def _named(row: Any) -> str:
    return f" (id {row['id']!r:.40})" if isinstance(row, dict) and "id" in row else ""


def _id(row: Row) -> str:
    return _identifier(row, "id")


def _identifier(row: Row, key: str) -> str:
    if key not in row:
        return f"has no {key}; give it one"
    value = row[key]
    if type(value) not in (int, str) or value == "":  # True is no id
        return f"has {key} {value!r:.40}, {_kind(value)}; a whole number is expected"
    return ""


def _text(key: str) -> Check:
    def check(row: Row) -> str:
        value = row.get(key)
        if isinstance(value, str) and value.strip() and is_unicode(value):
            return ""
        return f"has {key} {value!r:.40}; text is expected" if key in row else f"has no {key}; give it one"

    return check


def _once(key: str) -> Check:
    seen: set[Any] = set()

    def check(row: Row) -> str:
        value = row[key]
        if value not in seen:
            seen.add(value)
            return ""
        if key == "file_name":
            return f"has the file_name {value!r} of an earlier row; list each picture once, with all its annotations"
        return "has the id of an earlier row; give each row its own (files that were put together are renumbered)"

    return check


def _pointing(key: str, known: Mapping[Id, object], table: str) -> Check:
    kind = next((type(one) for one in known), None)

    def check(row: Row) -> str:
        if fault := _identifier(row, key):
            return fault
        value = row[key]
        if value in known:
            return ""
        if kind is not None and type(value) is not kind:
            return (
                f"has {key} {value!r:.40}, {_kind(value)}, where ids of {table} are {_KINDS[kind]}s; write both alike"
            )
        return f"has {key} {value!r:.40}, which no row of {table} has as its id; add that row, or remove this one"

    return check


def _size(row: Row) -> str:
    for key in ("width", "height"):
        value: Any = row.get(key)
        if key in row and (type(value) not in (int, float) or not 1 <= value < 2**31 or value != int(value)):
            return f"has {key} {value!r:.40}; a whole number of pixels is expected"
    return ""


def _crowd(row: Row) -> str:
    value = row.get("iscrowd", 0)  # home-made files often leave it out
    if type(value) in (int, bool) and value in (0, 1):
        return ""
    return f"has iscrowd {value!r:.40}; 0 is expected for one object, 1 for a group"


def _agreeing(tables: Tables) -> Check:
    def check(row: Row) -> str:
        own = tables.images.get(row["id"])
        if own is None or own["file_name"] == row["file_name"]:
            return ""
        return (
            f"is {row['file_name']!r}, which is {own['file_name']!r} in {tables.path.name}: both files must be of one "
            "data set"
        )

    return check


def _grouped(rows: Iterable[Row]) -> dict[Id, tuple[Row, ...]]:
    found: dict[Id, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return {image: tuple(own) for image, own in found.items()}


#: What JSON calls them.
_KINDS: Mapping[type, str] = {
    dict: "object",
    list: "list",
    str: "text",
    bool: "true or false",
    int: "number",
    float: "number",
    type(None): "null",
}


def _kind(value: object) -> str:
    name = _KINDS[type(value)]
    return name if name in ("text", "null", "true or false") else f"{'an' if name == 'object' else 'a'} {name}"

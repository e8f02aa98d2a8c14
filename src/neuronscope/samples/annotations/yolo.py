"""YOLO folders: a text file for each picture, a line `class x y w h` or `class x1 y1 x2 y2 x3 y3 ...` for an object.

Numbers are shares of the picture; a box's x and y are its centre. Names of the classes stand in data.yaml (any .yaml
with `names`) or in classes.txt. Pictures lie in images/SPLIT or SPLIT/images, labels where `images` is called `labels`,
or everything in one folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ...errors import InvalidSample, suggest
from ...parsing import read_text
from ..lists import SUFFIXES
from .objects import AnnotatedPicture, Object

_CLASSES = ("classes.txt", "obj.names", "labels/classes.txt")


def is_yolo(root: Path) -> bool:
    """Whether a folder looks like one."""
    return bool(_yaml(root)) or any((root / name).is_file() for name in _CLASSES) or bool(_labels(root))


def read_yolo(root: Path, split: str | None) -> tuple[Path, list[AnnotatedPicture]]:
    """The folder of the pictures, and what is in them. Raises InvalidSample, with file and line, for what is wrong."""
    names = _names(root)
    splits = _labels(root)
    if not splits:
        raise InvalidSample(f"{root} holds no folder of labels beside its pictures: labels/SPLIT or SPLIT/labels")
    if split is None and len(splits) > 1:
        raise InvalidSample(f"{root} holds several splits; choose one of {', '.join(splits)}")
    name = next(iter(splits)) if split is None else split
    if name not in splits:
        raise InvalidSample(f"{root} holds no split {name!r}.{suggest(name, list(splits))}")
    labels, images = splits[name]
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InvalidSample(f"{images} holds no pictures; those of {labels} are looked for there")
    pictures: list[AnnotatedPicture] = []
    known = {path.relative_to(images).with_suffix("").as_posix() for path in found}
    for path in sorted(labels.rglob("*.txt")):
        if path.name not in _CLASSES and path.relative_to(labels).with_suffix("").as_posix() not in known:
            raise InvalidSample(f"{path} has no picture of its name in {images}: add it, or remove the file")
    for path in found:
        own = path.relative_to(images)
        file = labels / own.with_suffix(".txt")
        objects = tuple(_objects(file, names)) if file.is_file() else ()
        pictures.append(AnnotatedPicture(str(own), own.as_posix(), objects))
    return images, pictures


def _labels(root: Path) -> dict[str, tuple[Path, Path]]:
    """Split -> folders of its labels and pictures."""
    found: dict[str, tuple[Path, Path]] = {}
    for labels in (*sorted((root / "labels").glob("*/")), *sorted(root.glob("*/labels/"))):
        if labels.parent == root / "labels":
            found[labels.name] = (labels, root / "images" / labels.name)
        elif labels.parent != root:
            found[labels.parent.name] = (labels, labels.parent / "images")
    found = {name: both for name, both in found.items() if both[1].is_dir()}
    if not found and (root / "labels").is_dir() and (root / "images").is_dir():
        return {"": (root / "labels", root / "images")}
    if not found and any((root / name).is_file() for name in _CLASSES):
        return {"": (root, root)}
    return found


def _yaml(root: Path) -> list[Path]:
    return sorted(path for path in (*root.glob("*.yaml"), *root.glob("*.yml")) if "names" in _text(path))


def _names(root: Path) -> dict[int, str]:
    """Class number -> name."""
    import yaml

    for path in _yaml(root):
        try:
            document: Any = yaml.safe_load(_text(path))
        except yaml.YAMLError as error:
            raise InvalidSample(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        names: Any = cast("dict[str, Any]", document).get("names") if isinstance(document, dict) else None
        if isinstance(names, dict):
            return {int(k): str(v) for k, v in cast("dict[Any, Any]", names).items()}
        if isinstance(names, list):
            return {k: str(v) for k, v in enumerate(cast("list[Any]", names))}
        raise InvalidSample(f"{path} has no list of names; write names: [bear, dog]")
    for file in _CLASSES:
        if (root / file).is_file():
            lines = [line.strip() for line in _text(root / file).splitlines()]
            return {k: line for k, line in enumerate(lines) if line}
    raise InvalidSample(f"{root} says nowhere what its classes are called: add data.yaml with names: [bear, dog]")


def _objects(path: Path, names: dict[int, str]) -> Iterator[Object]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path.parent.name}/{path.name}:{number}"
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise InvalidSample(f"{path}:{number} {line!r:.60} holds something else than numbers") from error
        kind, rest = values[0], values[1:]
        if kind not in names:
            raise InvalidSample(f"{path}:{number} is of class {words[0]}, which has no name; there are {len(names)}")
        if not all(-0.01 <= v <= 1.01 for v in rest):
            raise InvalidSample(
                f"{path}:{number} {line!r:.60} holds pixels; YOLO's numbers are shares of the picture, 0 to 1"
            )
        if len(rest) == 4:
            x, y, w, h = rest
            yield Object(where, names[int(kind)], (x - w / 2, y - h / 2, w, h), shares=True)
        elif len(rest) >= 6 and len(rest) % 2 == 0:
            yield Object(where, names[int(kind)], None, shares=True, outline=[rest])
        else:
            raise InvalidSample(
                f"{path}:{number} has {len(rest)} numbers behind its class; a box has 4, an outline 6, 8, 10 ..."
            )


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSample(f"{path} cannot be read as UTF-8 text: {error}") from error

"""Pascal VOC folders: an XML file for each picture in Annotations, the pictures in JPEGImages (or images, or beside).

Corners count pixels from 1, the last one inside: xmin 1 and xmax 10 are ten pixels from the left side on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ...errors import InvalidSample, suggest
from ...parsing import read_text
from .objects import AnnotatedPicture, Object

_PICTURES = ("JPEGImages", "images", "Images")


def is_voc(root: Path) -> bool:
    """Whether a folder looks like one."""
    return bool(_files(root))


def read_voc(root: Path, split: str | None) -> tuple[Path, list[AnnotatedPicture]]:
    """The folder of the pictures, and what is in them. Raises InvalidSample, with the file, for what is wrong."""
    files = _files(root)
    images = next((root / name for name in _PICTURES if (root / name).is_dir()), files[0].parent)
    if split is not None:
        lists = {path.stem: path for path in sorted((root / "ImageSets" / "Main").glob("*.txt"))}
        if split not in lists:
            raise InvalidSample(f"{root} holds no split {split!r}.{suggest(split, list(lists) or ['none'])}")
        try:
            lines = read_text(lists[split]).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSample(f"{lists[split]} cannot be read as UTF-8 text: {error}") from error
        wanted = {line.split()[0] for line in lines if line.split()}
        files = [path for path in files if path.stem in wanted]
    return images, [_picture(path) for path in files]


def _files(root: Path) -> list[Path]:
    folder = root / "Annotations"
    return sorted((folder if folder.is_dir() else root).glob("*.xml"))


def _picture(path: Path) -> AnnotatedPicture:
    try:
        text = read_text(path)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InvalidSample(f"{path} declares entities, which annotations do not need and files of others misuse")
        root = ElementTree.fromstring(text)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InvalidSample(f"{path} cannot be read as XML: {error}") from error
    name = root.findtext("filename", "").strip() or f"{path.stem}.jpg"
    size = root.find("size")
    frame = None if size is None else (_number(path, size, "width"), _number(path, size, "height"))
    if frame is not None and (min(frame) < 1 or any(v != int(v) for v in frame)):
        frame = None  # tools that do not know it write 0
    told = None if frame is None else (int(frame[0]), int(frame[1]))
    return AnnotatedPicture(path.name, name, tuple(_objects(path, root)), told)


def _objects(path: Path, root: ElementTree.Element) -> Iterator[Object]:
    for number, one in enumerate(root.iter("object"), 1):
        where = f"{path.name} object {number}"
        concept, box = one.findtext("name", "").strip(), one.find("bndbox")
        if not concept or box is None:
            raise InvalidSample(f"{path}: object {number} has no {'name' if not concept else 'bndbox'}; add it")
        left, top, right, bottom = (_number(path, box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
        yield Object(where, concept, (left - 1, top - 1, right - left + 1, bottom - top + 1))


def _number(path: Path, inside: ElementTree.Element, key: str) -> float:
    text = inside.findtext(key, "")
    try:
        return float(text)
    except ValueError as error:
        raise InvalidSample(f"{path}: {inside.tag} has the {key} {text!r:.40}, not a number") from error

"""What every reader makes: objects in pictures. And what becomes of them: the tables that COCO folders have.

So boxes and outlines are looked at in one place (coco.py), and everything that takes a COCO folder takes these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InvalidSample
from ..boxes import Box, mask_box
from ..coco_outlines import outline
from ..coco_tables import Row, Tables
from ..image import held_picture, read_image, upright_size
from ..place import place


@dataclass(frozen=True)
class Object:
    """One object of a picture.

    Attributes:
        where: file and line, or what else names it in messages.
        concept: its name.
        box: x, y, width, height in pixels; None where the outline says where it is.
        shares: whether the box's, or the polygons', numbers are shares of the picture's sides.
        outline: COCO's polygons or run lengths; None for none.
        mask: a picture whose pixels above black are the object's.
    """

    where: str
    concept: str
    box: Box | None = None
    shares: bool = False
    outline: Any = None
    mask: Path | None = None


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture and its objects.

    Attributes:
        where: what names it in messages.
        file: its name in the folder of pictures.
        objects: what is in it; none for a picture without any.
        size: (width, height) that the annotations were drawn on, where the source says so.
        captions: what people wrote about it.
        data: the picture's file itself, where it is not in the folder.
    """

    where: str
    file: str
    objects: Sequence[Object] = ()
    size: tuple[int, int] | None = None
    captions: Sequence[str] = ()
    data: bytes | None = field(default=None, repr=False)


def tables_of(path: Path, folder: Path, pictures: Iterable[AnnotatedPicture], *, allow_outside: bool) -> Tables:
    """The tables of some pictures, each once. Raises InvalidSample where none of them can be used.

    What is wrong with one picture stands in its row of images, under "fault", and is told when it comes to it.
    """
    images: dict[Any, Row] = {}
    annotations: dict[Any, tuple[Row, ...]] = {}
    names: dict[Any, str] = {}
    for one in _together(pictures):
        row: Row = {"id": one.file, "file_name": one.file, "captions": list(one.captions)}
        try:
            size = one.size or _size(one, folder, allow_outside)
            row |= {"width": size[0], "height": size[1]}
            annotations[one.file] = tuple(_row(each, one.file, size) for each in one.objects)
        except InvalidSample as error:
            row["fault"] = f"{one.where}: {error}"
            annotations[one.file] = tuple({"id": each.where, "category_id": each.concept} for each in one.objects)
        images[one.file] = row
        names |= {each.concept: each.concept for each in one.objects}
        if not one.objects:
            del annotations[one.file]
    faults = [row["fault"] for row in images.values() if "fault" in row]
    if not images:
        raise InvalidSample(f"{path} names no picture")
    if not names:
        raise InvalidSample(f"{path} has no object in any of its {len(images)} pictures")
    if len(faults) == len(images):
        raise InvalidSample(f"{path}: none of its {len(images)} pictures can be used; {faults[0]}")
    return Tables(path, images, annotations, names)


def _size(one: AnnotatedPicture, folder: Path, allow_outside: bool) -> tuple[int, int]:
    if one.data is not None:
        return upright_size(held_picture(one.data, one.where))
    path = place(folder, one.file, allow_outside=allow_outside)
    if not path.is_file():
        raise InvalidSample(f"picture {path} does not exist; name the folder of the pictures with images=")
    return upright_size(path)


def _together(pictures: Iterable[AnnotatedPicture]) -> Iterable[AnnotatedPicture]:
    """Rows of one picture as one. Raises InvalidSample where they tell of two sizes."""
    found: dict[str, AnnotatedPicture] = {}
    for one in pictures:
        if not (seen := found.get(one.file)):
            found[one.file] = one
            continue
        if one.size and seen.size and one.size != seen.size:
            raise InvalidSample(f"{one.where} says that {one.file} is {one.size} px, {seen.where} {seen.size}")
        captions = tuple(dict.fromkeys([*seen.captions, *one.captions]))
        both = (*seen.objects, *one.objects)
        found[one.file] = AnnotatedPicture(seen.where, one.file, both, seen.size or one.size, captions, seen.data)
    return found.values()


def _row(one: Object, file: str, size: tuple[int, int]) -> Row:
    """A row of annotations. Raises InvalidSample for an outline or mask that is none of this picture."""
    width, height = size
    row: Row = {"id": one.where, "image_id": file, "category_id": one.concept}
    box, drawn = one.box, one.outline
    if one.shares:
        box = None if box is None else _scaled(box, size)
        drawn = drawn and [[v * (width, height)[k % 2] for k, v in enumerate(part)] for part in drawn]
    if one.mask is not None:
        drawn = _runs(one.mask, size)
    if drawn:
        row["segmentation"] = drawn
    if box is None:
        try:
            mask = outline(row, size)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidSample(f"{one.where}: its outline cannot be drawn: {error}") from error
        if mask is None or not mask.any():
            raise InvalidSample(f"{one.where}: it has neither a box nor an outline that covers anything")
        box = mask_box(mask)
    return {**row, "bbox": [float(v) for v in box]}


def _scaled(box: Box, size: tuple[int, int]) -> Box:
    x, y, w, h = box
    return (x * size[0], y * size[1], w * size[0], h * size[1])


def _runs(path: Path, size: tuple[int, int]) -> Mapping[str, Any]:
    import numpy as np
    from pycocotools import mask as coco_mask

    drawn = np.asarray(read_image(path).convert("L")) > 0
    if drawn.shape != (size[1], size[0]):
        raise InvalidSample(f"mask {path} is {drawn.shape[1]} x {drawn.shape[0]} px, its picture {size[0]} x {size[1]}")
    module: Any = coco_mask
    runs = module.encode(np.asfortranarray(drawn.astype(np.uint8)))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}

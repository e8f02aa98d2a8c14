"""Boxes of COCO annotations: x, y, width, height in pixels, and not the two corners that many tools write."""

from __future__ import annotations

import numpy as np

from ..errors import InvalidSample
from .boxes import Box, fits_as_corners, mask_box, numbers, require_inside, slack
from .coco_outlines import Mask
from .coco_tables import Row, Tables

#: Share of an outline that may lie outside its box.
_OUTSIDE = 0.1
_HELP = "boxes are x, y, width, height; write x, y, x2 - x1, y2 - y1"


def frame_of(image: Row) -> tuple[int, int] | None:
    """(width, height) of a row of images; None where they are not given."""
    return (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None


def box_of(annotation: Row) -> Box:
    """The box of an annotation. Raises InvalidSample where it has none, or not of four numbers."""
    if "bbox" not in annotation:
        raise InvalidSample("it has no bbox; give x, y, width, height in pixels")
    box = annotation["bbox"]
    if not isinstance(box, list) or any(type(v) not in (int, float) for v in box):
        raise InvalidSample(f"bbox {box!r:.100} is not four finite numbers x, y, width, height")
    return numbers(box)


def require_widths(tables: Tables) -> None:
    """Raise InvalidSample where all boxes would fit as two corners, and one fits in no other way.

    A box of two corners is often inside its picture even where it is taken for x, y, width, height; all of a file's
    hardly are.
    """
    wrong: Row | None = None
    for image, rows in tables.annotations.items():
        frame = frame_of(tables.images[image])
        if frame is None:
            continue
        for row in rows:
            try:
                box = box_of(row)
            except InvalidSample:  # told when it comes to its picture
                return
            if max(box) <= 1 or not fits_as_corners(box, frame):
                return
            if wrong is None and not _is_inside(box, frame):
                wrong = row
    if wrong is not None:
        raise InvalidSample(
            f"{tables.path}: annotations (id {wrong['id']!r}) has the bbox {wrong['bbox']}, which does not fit its "
            f"picture, while all boxes of the file fit as two corners: {_HELP}"
        )


def require_agreement(box: Box, mask: Mask | None, area: object, frame: tuple[int, int]) -> None:
    """Raise InvalidSample for a box that contradicts its outline, or without one its area.

    A box inside the picture may be two corners all the same, or belong to another object.
    """
    x, y, w, h = box
    corners = f"box {box} is two corners by its %s: {_HELP}"
    if mask is None:
        if type(area) in (int, float) and fits_as_corners(box, frame):
            meant, said = (w - x) * (h - y), float(area)  # pyright: ignore[reportArgumentType]
            if abs(said - meant) <= 0.02 * meant and abs(said - w * h) > 0.1 * w * h:
                raise InvalidSample(corners % f"area, {area}")
        return
    if not mask.any():
        return
    left, top, across, down = mask_box(mask)
    near = np.array([slack(frame[0]), slack(frame[1])] * 2)
    read = np.array([left, top, left + across, top + down])
    off = abs(np.array([x, y, x + w, y + h]) - read).max()
    by_corners = abs(np.array(box) - read)
    if (by_corners <= near).all() and off > near.max():
        outline = f"outline, which goes from {left:g}, {top:g} to {left + across:g}, {top + down:g}"
        raise InvalidSample(corners % outline)
    inside = mask[
        max(0, int(y - near[1])) : int(np.ceil(y + h + near[1])),
        max(0, int(x - near[0])) : int(np.ceil(x + w + near[0])),
    ]
    outside = 1 - np.count_nonzero(inside) / np.count_nonzero(mask)
    if outside > _OUTSIDE:
        raise InvalidSample(
            f"{outside:.0%} of its outline lies outside its box {box}: they belong to different objects or pictures"
        )


def _is_inside(box: Box, frame: tuple[int, int]) -> bool:
    try:
        require_inside(box, frame)
    except InvalidSample:
        return False
    return True

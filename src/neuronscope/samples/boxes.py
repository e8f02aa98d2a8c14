"""Boxes and the picture they belong to: whether both can share a frame, and which pixels a box covers.

A box in another convention or of another picture gives some region nearly always, and nobody sees that it is the wrong
one. What can be told from the numbers is refused: shares of the size instead of pixels, corners instead of width and
height, boxes that reach out of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from ..errors import InvalidOption, InvalidSample
from ..fields import finite_numbers

#: COCO convention: x, y of the top left corner, width, height; pixels of the upright image.
Box: TypeAlias = tuple[float, float, float, float]

#: How far a box may reach out of the picture, pixels and share of the side: tools round, and count borders differently.
SLACK_PIXELS, SLACK_SHARE = 2.0, 0.01


def numbers(box: Sequence[float]) -> Box:
    """Four finite numbers as a plain tuple. Raises InvalidSample for anything else."""
    try:
        x, y, w, h = finite_numbers("box", box, 4)
    except InvalidOption as error:
        raise InvalidSample(f"box {box!r:.100} is not four finite numbers x, y, width, height") from error
    return (float(x), float(y), float(w), float(h))


def require_inside(box: Sequence[float], size: tuple[int, int]) -> Box:
    """The box, if it can be one of a picture of (width, height).

    Raises InvalidSample for a box that is not four finite numbers, has no area, is in shares of the size (0 to 1), or
    reaches out of the picture by more than :data:`SLACK_PIXELS` and :data:`SLACK_SHARE`.
    """
    found = numbers(box)
    x, y, w, h = found
    frame = f"the image of {size[0]} x {size[1]} px"
    told = f"box {found} in {frame}"
    if w <= 0 or h <= 0:
        hint = "" if min(w, h) == 0 else "; x, y is the top left corner, whichever way it was drawn"
        raise InvalidSample(f"{told} is empty: width and height must be positive{hint}")
    if all(-1e-3 <= v <= 1 + 1e-3 for v in found):
        raise InvalidSample(
            f"{told} looks like shares of the picture (0 to 1): boxes are x, y, width, height in pixels, so multiply "
            f"by {size[0]} and {size[1]}"
        )
    if x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0:
        raise InvalidSample(f"box {found} lies outside {frame}{_as_corners(found, size)}")
    sides = ((-x, 0), (-y, 1), (x + w - size[0], 0), (y + h - size[1], 1))
    beyond, side = max(sides, key=lambda one: one[0] - slack(size[one[1]]))  # a long side may reach farther
    if beyond > slack(size[side]):
        hint = _as_corners(found, size) or ": it belongs to a picture of another size, or has to be cut to this one"
        raise InvalidSample(f"box {found} reaches {beyond:g} px out of {frame}{hint}")
    return found


def slack(side: int) -> float:
    """How far a box may reach beyond a side of so many pixels."""
    return max(SLACK_PIXELS, SLACK_SHARE * side)


def fits_as_corners(box: Box, size: tuple[int, int]) -> bool:
    """Whether the numbers could be x, y of two opposite corners instead."""
    x, y, right, bottom = box
    inside = right <= size[0] + slack(size[0]) and bottom <= size[1] + slack(size[1])
    return 0 <= x < right and 0 <= y < bottom and inside


def _as_corners(box: Box, size: tuple[int, int]) -> str:
    if not fits_as_corners(box, size):
        return ""
    return "; its numbers would fit as two corners, but boxes are x, y, width, height: give x, y, x2 - x1, y2 - y1"


def boxes_mask(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The union of boxes as pixels. Raises InvalidSample as :func:`require_inside` does."""
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for box in boxes:
        x, y, w, h = require_inside(box, size)
        x0, y0 = max(0, math.floor(x)), max(0, math.floor(y))
        mask[y0 : math.ceil(min(height, y + h)), x0 : math.ceil(min(width, x + w))] = True
    return mask


def mask_box(mask: Bool[np.ndarray, "height width"]) -> Box:
    """The smallest box around a mask's pixels. Raises InvalidSample for an empty mask."""
    ys, xs = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))  # the pixels' own places take ten times as long
    if not len(xs):
        raise InvalidSample("an empty mask has no box")
    return (float(xs.min()), float(ys.min()), float(xs.max() - xs.min() + 1), float(ys.max() - ys.min() + 1))

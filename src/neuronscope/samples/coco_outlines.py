"""Outlines of COCO annotations as pixels: polygons, and run lengths, plain and compressed.

pycocotools draws the polygons. Everything is checked first, and run lengths are decoded here, because it takes damaged
ones for granted: runs that do not fill the picture leave memory of anything in the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool

Mask: TypeAlias = Bool[np.ndarray, "height width"]


def outline(annotation: Mapping[str, Any], frame: tuple[int, int]) -> Mask | None:
    """The segmentation as pixels of a (width, height); None for an instance that has only a box.

    Raises ValueError, or what a wrong type raises, for a segmentation that is not one of the three kinds.
    """
    segmentation: Any = annotation.get("segmentation")
    if not segmentation:
        return None
    return runs_mask(segmentation, frame) if isinstance(segmentation, dict) else _polygons_mask(segmentation, frame)


def _polygons_mask(polygons: Sequence[Sequence[float]], frame: tuple[int, int]) -> Mask:
    from pycocotools import mask as coco_mask

    width, height = frame
    reach = 10.0 * max(frame)  # drawing takes memory with the distance; NaN takes all there is
    parts = [[float(v) for v in polygon] for polygon in polygons]
    for part in parts:
        if len(part) < 6 or len(part) % 2 or not all(abs(v) <= reach for v in part):
            raise ValueError(f"a polygon is not three or more points x, y near the picture: {part!s:.100}")
    module: Any = coco_mask  # its stubs do not know lists of lists
    return np.asarray(module.decode(module.merge(module.frPyObjects(parts, height, width)))).astype(bool)


def runs_mask(segmentation: Mapping[str, Any], frame: tuple[int, int]) -> Mask:
    """Run lengths, down the columns, of pixels outside and inside in turn."""
    width, height = frame
    counts: Any = segmentation["counts"]
    runs = _decompressed(counts) if isinstance(counts, str) else [int(n) for n in counts]
    size = [int(n) for n in segmentation["size"]]
    if size != [height, width] or any(n < 0 for n in runs) or sum(runs) != width * height:
        raise ValueError(
            f"run lengths with a sum of {sum(runs)} for a mask of size {size} do not fill a picture of "
            f"{height} x {width} px (height x width)"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits to a character from "0" on, a sixth bit where more follow, signed.

    From the fourth run on it is the difference to the run before the last that is written.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"compressed run lengths hold {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return runs

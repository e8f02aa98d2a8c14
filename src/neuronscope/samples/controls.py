"""Where the concept is not: what is inpainted as a control, whatever the size of the object (METHODS G1 i, n8).

A control changes the picture about as much as the edit does, at a place where the concept cannot be the reason. Four
kinds, each used where those before it are too few:

    empty box        a box of the object's size, down to half, that touches no annotated object
    empty patches    irregular pieces, as many pixels as the object, or half of what is empty, if that is less
    other objects    a box that may lie on annotated objects of other concepts
    patches          irregular pieces that may

An object that fills nearly the whole picture leaves pieces at its rim. Of more candidates than are wanted those are
taken whose inpainting changes the pixels most nearly as much as the edit: an empty sky is inpainted by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool
from PIL import Image

from ..errors import InvalidOption
from ..fields import whole
from .boxes import Box, boxes_mask, mask_box
from .inpaint import Counterfactual, inpaint
from .inpainters import is_inpainter

#: Of a control: what is inpainted.
Kind: TypeAlias = Literal["empty box", "empty patches", "other objects", "patches"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]

#: Candidates for each control that is wanted.
_CANDIDATES = 3
#: Patches smaller than this share of the object are left to the next kind, and at least one pixel.
_LEAST = 1 / 16
#: Longer side of the copies on which changes are compared, pixels.
_SMALL = 96


@dataclass(frozen=True)
class Control:
    """One control of a pair.

    Attributes:
        kind: what is inpainted.
        mask: its pixels.
        edited: the picture without them.
        area: how many pixels, as a share of those of the edit.
    """

    kind: Kind
    mask: Mask
    edited: Image.Image
    area: float


def controls_of(pair: Counterfactual, count: int, seed: int = 0) -> list[Control]:
    """Up to `count` controls of a pair, different from each other, in order of their kinds.

    Inpainted as the pair was, by Telea where the pair is no inpainting. Fewer, or none, only where the edit leaves
    hardly a pixel of the picture.

    Raises InvalidOption for a negative count.
    """
    if whole("count", count) < 0:
        raise InvalidOption(f"count={count} must not be negative")
    method = pair.method if is_inpainter(pair.method) else "telea"
    radius = pair.options.get("radius")
    pixels = float(radius) if isinstance(radius, (int, float)) else 3.0
    small = _Small(pair, method, pixels)
    found: list[Control] = []
    area = pair.mask.sum()
    for kind, masks in _candidates(pair, count, seed) if count else ():
        lacking = count - len(found)
        if not lacking:
            break
        found += [
            Control(kind, mask, inpaint(pair.original, mask, method, pixels), float(mask.sum() / area))
            for mask in small.nearest(masks, lacking)
        ]
    return found


def control_boxes(size: tuple[int, int], box: tuple[float, float], avoid: Mask, count: int, seed: int = 0) -> list[Box]:
    """Boxes of about the object's size where the object is not.

    Args:
        size: (width, height) of the image.
        box: (width, height) of the object's box; shrunk in steps down to half where the image has no room for it.
        avoid: pixels that no box may touch.
        count: how many are wanted; fewer are returned when fewer different ones fit.
        seed: of the random positions.
    """
    if count < 0:
        raise InvalidOption(f"count={count} must not be negative")
    rng = np.random.default_rng(seed)
    width, height = size
    free = np.zeros((height + 1, width + 1), np.int32)
    free[1:, 1:] = avoid.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)
    found: dict[Box, None] = {}
    for shrink in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        w, h = max(1, min(width, round(box[0] * shrink))), max(1, min(height, round(box[1] * shrink)))
        touched = free[h:, w:] - free[:-h, w:] - free[h:, :-w] + free[:-h, :-w]
        places = np.argwhere(touched == 0)
        for y, x in rng.permutation(places)[: 4 * count]:
            found[(float(x), float(y), float(w), float(h))] = None
            if len(found) == count:
                return list(found)
    return list(found)


def control_patches(avoid: Mask, area: int, count: int, seed: int = 0) -> list[Mask]:
    """Irregular pieces of a picture outside `avoid`, together `area` pixels, or half of what is free if that is less.

    Smooth random hills of a sixth of the root of the area in size, whose highest pixels are taken. None where nothing
    is free. At most `count`, different from each other.
    """
    free = ~avoid
    room = int(free.sum())
    take = min(area, math.ceil(room / 2))
    rng = np.random.default_rng(seed)
    cell = max(2.0, math.sqrt(take) / 6)
    grid = tuple(max(2, math.ceil(side / cell)) for side in avoid.shape)
    found: dict[bytes, Mask] = {}
    for _ in range(count if room else 0):
        coarse = rng.random(grid).astype(np.float32)
        hills = cv2.resize(coarse, (avoid.shape[1], avoid.shape[0]), interpolation=cv2.INTER_CUBIC)
        heights = np.where(free, hills, -np.inf).ravel()
        mask = np.zeros(avoid.size, dtype=bool)
        mask[np.argsort(-heights, kind="stable")[:take]] = True
        found[mask.tobytes()] = mask.reshape(avoid.shape)
    return list(found.values())


def _candidates(pair: Counterfactual, count: int, seed: int) -> Iterator[tuple[Kind, list[Mask]]]:
    sample, size = pair.sample, pair.original.size
    concept = pair.mask
    if sample.boxes or sample.mask is not None:
        concept = concept | sample.region(size)
    objects = concept.copy()
    for other in sample.others:
        objects |= other.mask if other.mask is not None else boxes_mask([other.box], size)
    _, _, width, height = mask_box(pair.mask)
    area, wanted = int(pair.mask.sum()), _CANDIDATES * count

    def boxes(avoid: Mask) -> list[Mask]:
        return [boxes_mask([box], size) for box in control_boxes(size, (width, height), avoid, wanted, seed)]

    def patches(avoid: Mask) -> list[Mask]:
        found = control_patches(avoid, area, wanted, seed)
        return [mask for mask in found if mask.sum() >= _LEAST * area]

    yield "empty box", boxes(objects)
    yield "empty patches", patches(objects)
    yield "other objects", boxes(concept)
    yield "patches", control_patches(concept, area, wanted, seed)


class _Small:
    """The pair in small, on which many inpaintings cost little."""

    def __init__(self, pair: Counterfactual, method: str, radius: float) -> None:
        width, height = pair.original.size
        shrink = min(1.0, _SMALL / max(width, height))
        self._size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        self._method, self._radius = method, max(1.0, radius * shrink)
        self._original = self._shrunk(pair.original)
        self._wanted = self._change(self._shrunk(pair.edited))

    def nearest(self, masks: list[Mask], count: int) -> list[Mask]:
        """Those whose inpainting changes the picture most nearly as much as the edit does, in ratio."""
        if len(masks) <= count:
            return masks
        distances = [abs(math.log(self._changed(mask) / self._wanted)) for mask in masks]
        return [masks[k] for k in np.argsort(distances, kind="stable")[:count]]

    def _changed(self, mask: Mask) -> float:
        scaled = cv2.resize(mask.astype(np.float32), self._size, interpolation=cv2.INTER_AREA) > 0.5
        if not scaled.any() or scaled.all():
            return 1.0
        return self._change(inpaint(self._original, scaled, self._method, self._radius))

    def _change(self, edited: Image.Image) -> float:
        """The sum over pixels of the change of their tones, at least 1."""
        return max(1.0, float(np.abs(np.asarray(edited, np.float32) - np.asarray(self._original, np.float32)).sum()))

    def _shrunk(self, picture: Image.Image) -> Image.Image:
        return picture.resize(self._size, Image.Resampling.BOX)

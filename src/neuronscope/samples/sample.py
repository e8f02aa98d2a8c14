"""A sample: an image, a concept in it, and where that concept is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..fields import finite_numbers, whole
from ..types import one_of
from .image import ImageSource, read_image

#: COCO convention: x, y of the top left corner, width, height; pixels of the upright image.
Box: TypeAlias = tuple[float, float, float, float]
RegionSource: TypeAlias = Literal["auto", "boxes", "mask"]
REGION_SOURCES: tuple[RegionSource, ...] = get_args(RegionSource)

_WHOLE = 0.98


@dataclass(frozen=True)
class Region:
    """An annotated object of another concept."""

    concept: str
    box: Box
    mask: Bool[np.ndarray, "height width"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", _numbers(self.box))


@dataclass(frozen=True)
class Sample:
    """One image with one concept.

    Attributes:
        image: path, PIL image or uint8 array.
        concept: the word(s) to find neurons for.
        boxes: all instances of the concept.
        mask: its exact pixels, instead of or beside the boxes.
        others: annotated objects of other concepts, which the edit must leave in the picture.
        captions: reference captions, if there are any.
        image_id: name in its data set.
        exact: the same picture without the concept, where it exists (rendered scenes).
    """

    image: ImageSource
    concept: str
    boxes: Sequence[Box] = ()
    mask: Bool[np.ndarray, "height width"] | None = None
    others: Sequence[Region] = ()
    captions: Sequence[str] = ()
    image_id: str = ""
    exact: ImageSource | None = None

    def __post_init__(self) -> None:
        if not self.concept.strip():
            raise InvalidSample("the concept is empty; give the word to find neurons for")
        # Plain tuples, also where an array was given, which has no truth value.
        object.__setattr__(self, "boxes", tuple(_numbers(box) for box in self.boxes))

    def load(self) -> Image.Image:
        """The picture as RGB. Raises InvalidSample when it cannot be read."""
        return read_image(self.image)

    def region(
        self, size: tuple[int, int], *, source: RegionSource = "auto", dilate: int = 0
    ) -> Bool[np.ndarray, "height width"]:
        """The pixels of the concept in an image of (width, height).

        Args:
            size: of the upright image.
            source: the union of all boxes, the mask, or the boxes if there are any ("auto"; METHODS b, step 1).
            dilate: grow the region by this many pixels.

        Raises InvalidSample for a region that is missing, malformed, outside the frame, or the whole image;
        InvalidOption for another source or a negative dilation.
        """
        one_of("source", source, REGION_SOURCES)
        if whole("dilate", dilate) < 0:
            raise InvalidOption(f"dilate={dilate} must not be negative")
        use_mask = source == "mask" or (source == "auto" and not self.boxes)
        if use_mask and self.mask is None:
            lacks = "no mask" if source == "mask" else "neither boxes nor a mask"
            raise InvalidSample(f"sample of {self.concept!r} has {lacks} to say where the concept is")
        if not use_mask and not self.boxes:
            raise InvalidSample(f"sample of {self.concept!r} has no boxes")
        if use_mask:
            assert self.mask is not None
            mask = np.asarray(self.mask)
            if mask.shape != (size[1], size[0]):
                raise InvalidSample(f"mask has shape {mask.shape}, the image is {size[1]} x {size[0]} (height x width)")
            region = mask.astype(bool)
        else:
            region = boxes_mask(self.boxes, size)
        if dilate:
            import cv2

            kernel = np.ones((2 * dilate + 1, 2 * dilate + 1), np.uint8)
            region = cv2.dilate(region.astype(np.uint8), kernel).astype(bool)
        if not region.any():
            raise InvalidSample(f"the region of {self.concept!r} is empty")
        if region.mean() >= _WHOLE:
            raise InvalidSample(
                f"the region of {self.concept!r} covers {region.mean():.0%} of the image: nothing would be left to "
                "inpaint from"
            )
        return region


def boxes_mask(boxes: Sequence[Box], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The union of boxes as pixels; parts outside the frame are dropped.

    Raises InvalidSample for a box that is not four finite numbers, has no area, or lies outside the frame.
    """
    width, height = size
    frame = f"the image of {width} x {height} px"
    mask = np.zeros((height, width), dtype=bool)
    for box in map(_numbers, boxes):
        x, y, w, h = box
        if w <= 0 or h <= 0:
            raise InvalidSample(f"box {box} in {frame} is empty: width and height must be positive")
        x0, y0 = max(0, math.floor(x)), max(0, math.floor(y))
        x1, y1 = math.ceil(min(width, x + w)), math.ceil(min(height, y + h))
        if x0 >= x1 or y0 >= y1:
            raise InvalidSample(f"box {box} lies outside {frame}")
        mask[y0:y1, x0:x1] = True
    return mask


def _numbers(box: Sequence[float]) -> Box:
    try:
        x, y, w, h = finite_numbers("box", box, 4)
    except InvalidOption as error:
        raise InvalidSample(f"box {box!r} is not four finite numbers x, y, width, height") from error
    return (float(x), float(y), float(w), float(h))


def mask_box(mask: Bool[np.ndarray, "height width"]) -> Box:
    """The smallest box around a mask's pixels. Raises InvalidSample for an empty mask."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        raise InvalidSample("an empty mask has no box")
    return (float(xs.min()), float(ys.min()), float(xs.max() - xs.min() + 1), float(ys.max() - ys.min() + 1))

"""Which candidates a data set takes by size and use, before a model is asked anything (METHODS b, "Building D").

Each condition is an error of its own, so that rejections can be counted by name.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ...errors import ImageTokenMismatch, InvalidOption, InvalidSample
from ...loading import VLM
from ...samples.boxes import boxes_mask, mask_box
from ...samples.sample import Sample
from .settings import Limits


class NoInstance(InvalidSample):
    """The concept has neither a box nor a mask in this image, or only a crowd's."""


class AlreadyUsed(InvalidSample):
    """The image stands for another concept of the data set."""


class AreaOutOfRange(InvalidSample):
    """The object fills too little or too much of the image."""


class ObjectTooSmall(InvalidSample):
    """The object is too small in pixels of the image that the model sees."""


class TooFewSamples(InvalidSample):
    """A concept has fewer samples than were asked for."""


class SizeCheck:
    """Limits as they apply to the images of one model."""

    def __init__(self, vlm: VLM, limits: Limits) -> None:
        self._vlm = vlm
        self._limits = limits
        self._scales: dict[tuple[int, int], tuple[float, float]] = {}  # pictures of one size are resized alike

    def check(self, sample: Sample, size: tuple[int, int]) -> None:
        """Raise NoInstance, AreaOutOfRange or ObjectTooSmall for a sample outside the limits.

        Args:
            sample: the candidate.
            size: (width, height) of its picture.

        Raises InvalidSample for boxes or a mask that do not fit the picture, InvalidOption where this model's resizing
        cannot be measured.
        """
        what, limits = f"{sample.concept!r} of image {sample.image_id}", self._limits
        if not sample.boxes and sample.mask is None:
            raise NoInstance(f"image {sample.image_id} has no instance of {sample.concept!r} that is not a crowd")
        area = _object(sample, size).mean()
        if not limits.min_area <= area <= limits.max_area:
            raise AreaOutOfRange(
                f"the {what} fills {area:.2%} of it; wanted: {limits.min_area:.2%} to {limits.max_area:.2%}"
            )
        if limits.min_side:
            side = self._side(sample, size)
            if side < limits.min_side:
                raise ObjectTooSmall(
                    f"the {what} is {side:.1f} px on the shorter side of its largest box where the model sees it; "
                    f"wanted: at least {limits.min_side:g}"
                )

    def _side(self, sample: Sample, size: tuple[int, int]) -> float:
        boxes = sample.boxes if sample.mask is None or sample.boxes else [mask_box(sample.mask)]
        _, _, width, height = max(boxes, key=lambda box: box[2] * box[3])
        if size not in self._scales:
            self._scales[size] = self._scale(size)
        across, down = self._scales[size]
        return round(min(width / across, height / down), 1)  # the scale is measured, to better than that

    def _scale(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels of the image per pixel that the model sees, in the finest of its pictures or tiles."""
        blank = Image.new("RGB", size)
        try:
            finest = min(self._vlm.frames(blank), key=lambda frame: frame.scale[0] * frame.scale[1])
            unit = _unit(self._vlm, blank)
        except ImageTokenMismatch as error:
            raise InvalidOption(
                f"min_side={self._limits.min_side:g} cannot be checked for this model, give 0: {error}"
            ) from error
        return finest.scale[0] / unit, finest.scale[1] / unit


def _unit(vlm: VLM, picture: Image.Image) -> int:
    """How many pixels make one unit of the model's frames: 1, or a patch's side where the processor returns patches.

    Raises ImageTokenMismatch where that cannot be told from the number of values in a patch.
    """
    pixels = vlm.prepare([picture]).rows[0].tensors.get(vlm.family.pixels)
    if pixels is None or (pixels.ndim >= 4 and pixels.shape[-3] == 3):
        return 1
    pictures = int(getattr(vlm.processor.image_processor, "temporal_patch_size", 1))
    side = math.isqrt(pixels.shape[-1] // (3 * pictures))
    if 3 * pictures * side * side != pixels.shape[-1]:
        raise ImageTokenMismatch(f"{pixels.shape[-1]} values do not make a square patch of {pictures} RGB pictures")
    return side


def _object(sample: Sample, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The object's pixels, as finely as they are known."""
    if sample.mask is None:
        return boxes_mask(sample.boxes, size)
    if sample.mask.shape != (size[1], size[0]):
        raise InvalidSample(
            f"the mask of image {sample.image_id} has shape {sample.mask.shape}, the picture is {size[1]} x {size[0]} "
            "(height x width)"
        )
    return sample.mask.astype(bool)

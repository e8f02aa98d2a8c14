"""Taking the concept out of the picture: inpainting, an exact re-rendering, or the user's own edit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields
from ..given import checked
from ..notebook import picture_html
from ..reprs import one_line
from ..types import Json, one_of
from .image import ImageSource, read_image
from .sample import RegionSource, Sample

Method: TypeAlias = Literal["telea", "navier_stokes", "mean_fill", "exact", "edited"]
Pixels: TypeAlias = UInt8[np.ndarray, "height width 3"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Counterfactual:
    """An image and the same image without the concept.

    Attributes:
        sample: what it was made from.
        original, edited: RGB pictures of the same size.
        mask: the pixels that the edit was allowed to change.
        method, options: how it was made.
    """

    sample: Sample
    original: Image.Image
    edited: Image.Image
    mask: Mask
    method: str
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])

    __repr__ = one_line

    def __post_init__(self) -> None:
        check_fields(self)

    def _repr_html_(self) -> str:
        said = f"“{self.sample.concept}” taken out by {self.method}"
        return picture_html(self.original, "the picture") + picture_html(self.edited, said)


def _telea(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    return np.asarray(cv2.inpaint(pixels, mask.astype(np.uint8), radius, cv2.INPAINT_TELEA), dtype=np.uint8)


def _navier_stokes(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    return np.asarray(cv2.inpaint(pixels, mask.astype(np.uint8), radius, cv2.INPAINT_NS), dtype=np.uint8)


def _mean_fill(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    """The mean colour of a ring around the region, of all other pixels where there is no ring."""
    width = 2 * max(int(radius), 1) + 1
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool) & ~mask
    filled = pixels.copy()
    filled[mask] = np.rint(pixels[ring if ring.any() else ~mask].mean(0)).astype(np.uint8)
    return filled


INPAINTERS: Mapping[str, Callable[[Pixels, Mask, float], Pixels]] = {
    "telea": _telea,
    "navier_stokes": _navier_stokes,
    "mean_fill": _mean_fill,
}


def inpaint(image: Image.Image, mask: Mask, method: str = "telea", radius: float = 3) -> Image.Image:
    """Fill the masked pixels from their surroundings; `radius` in pixels (METHODS b, step 1: Telea, 3 px).

    Raises InvalidSample when the mask is not [height, width] of the image or leaves no pixel to fill from,
    InvalidOption for an unknown method or a radius that is not a positive number.
    """
    one_of("method", method, sorted(INPAINTERS))
    if not (math.isfinite(radius) and radius > 0):
        raise InvalidOption(f"radius={radius} must be a positive number of pixels")
    if mask.shape != (image.height, image.width):
        raise InvalidSample(
            f"mask has shape {mask.shape}, the image is {image.height} x {image.width} (height x width)"
        )
    if mask.all():
        raise InvalidSample(f"the mask covers the whole image of {image.width} x {image.height} px")
    return Image.fromarray(INPAINTERS[method](np.asarray(image.convert("RGB")), mask, float(radius)))


@checked
def counterfactual(
    sample: Sample,
    method: Method = "telea",
    *,
    radius: float = 3,
    dilate: int = 0,
    region: RegionSource = "auto",
    edited: ImageSource | None = None,
) -> Counterfactual:
    """The image of a sample and its counterfactual without the concept.

    Args:
        sample: the image, the concept and its boxes or mask.
        method: "telea" (the paper's), "navier_stokes", "mean_fill", "exact" (the sample's own re-rendering), or
            "edited" (the picture given as `edited`).
        radius: of the inpainting, pixels.
        dilate: grow the region first, pixels.
        region: boxes or mask; see :meth:`Sample.region`.
        edited: the user's own edited picture, of the same size.

    Raises InvalidSample for unusable images or regions, InvalidOption for unknown methods.
    """
    one_of("method", method, [*INPAINTERS, "exact", "edited"])
    if edited is not None and method != "edited":
        raise InvalidOption(f"a picture was given as `edited`, which method {method!r} does not use; say 'edited'")
    original = sample.load()
    found: dict[str, Json] = {"found_by": dict(sample.found_by)} if sample.found_by else {}
    options: dict[str, Json] = {"radius": radius, "dilate": dilate, "region": region, **found}
    if method in INPAINTERS:
        mask = sample.region(original.size, source=region, dilate=dilate)
        return Counterfactual(sample, original, inpaint(original, mask, method, radius), mask, method, options)
    given = sample.exact if method == "exact" else edited
    if given is None:
        need = "the sample's `exact` picture" if method == "exact" else "a picture given as `edited`"
        raise InvalidSample(f"method {method!r} needs {need}")
    other = read_image(given)
    if other.size != original.size:
        raise InvalidSample(f"the edited picture is {other.size}, the original {original.size} (width, height)")
    if sample.boxes or sample.mask is not None:
        mask = sample.region(original.size, source=region, dilate=dilate)
    else:
        mask = np.any(np.asarray(original) != np.asarray(other), axis=-1)
        if not mask.any():
            raise InvalidSample("the edited picture is identical to the original")
    return Counterfactual(sample, original, other, mask, method, {"region": region, "dilate": dilate, **found})

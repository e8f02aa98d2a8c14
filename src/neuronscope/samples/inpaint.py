"""Taking the concept out of the picture: inpainting, an exact re-rendering, or the user's own edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields
from ..given import checked
from ..notebook import picture_html
from ..reprs import short_repr
from ..types import Json
from .image import ImageSource, read_image
from .inpainters import INPAINTERS as INPAINTERS
from .inpainters import Mask, inpainter, is_inpainter, require_edit
from .sample import RegionSource, Sample


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

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)

    def _repr_html_(self) -> str:
        said = f"“{self.sample.concept}” taken out by {self.method}"
        return picture_html(self.original, "the picture") + picture_html(self.edited, said)


def inpaint(image: Image.Image, mask: Mask, method: str = "telea", radius: float = 3) -> Image.Image:
    """Fill the masked pixels, and no other; `radius` in pixels (METHODS b, step 1: Telea, 3 px).

    `method` is the name of an inpainter (inpainters.py).

    Raises InvalidSample when the mask is not [height, width] of the image or leaves no pixel to fill from,
    InvalidOption for an unknown method or a radius that is not a positive number, UnsupportedModel for weights that
    cannot be loaded.
    """
    filler = inpainter(method)
    if not (math.isfinite(radius) and radius > 0):
        raise InvalidOption(f"radius={radius} must be a positive number of pixels")
    if mask.shape != (image.height, image.width):
        raise InvalidSample(
            f"mask has shape {mask.shape}, the image is {image.height} x {image.width} (height x width)"
        )
    if mask.all():
        raise InvalidSample(f"the mask covers the whole image of {image.width} x {image.height} px")
    pixels = np.asarray(image.convert("RGB"))
    filled = np.asarray(filler.fill(pixels, mask, float(radius)))
    if filled.shape != pixels.shape or filled.dtype != np.uint8:
        raise InvalidOption(
            f"the inpainter {method!r} gives {filled.dtype} {list(filled.shape)} for a picture of uint8 "
            f"{list(pixels.shape)}"
        )
    return Image.fromarray(np.where(mask[..., None], filled, pixels))


@checked
def counterfactual(
    sample: Sample,
    method: str = "telea",
    *,
    radius: float = 3,
    dilate: int = 0,
    region: RegionSource = "auto",
    edited: ImageSource | None = None,
) -> Counterfactual:
    """The image of a sample and its counterfactual without the concept.

    Args:
        sample: the image, the concept and its boxes or mask.
        method: "telea" (the paper's), "navier_stokes", "mean_fill", "diffusion:DIRECTORY", the name of a registered
            inpainter, "exact" (the sample's own re-rendering), or "edited" (the picture given as `edited`).
        radius: of the inpainting, pixels.
        dilate: grow the region first, pixels.
        region: boxes or mask; see :meth:`Sample.region`.
        edited: the user's own edited picture, of the same size.

    Raises InvalidSample for unusable images or regions, InvalidOption for unknown methods.
    """
    require_edit("method", method, "exact", "edited")
    if edited is not None and method != "edited":
        raise InvalidOption(f"a picture was given as `edited`, which method {method!r} does not use; say 'edited'")
    original = sample.load()
    found: dict[str, Json] = {"found_by": dict(sample.found_by)} if sample.found_by else {}
    options: dict[str, Json] = {"radius": radius, "dilate": dilate, "region": region, **found}
    if is_inpainter(method):
        mask = sample.region(original.size, source=region, dilate=dilate)
        if told := inpainter(method).told():
            options["inpainter"] = dict(told)
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

"""Pictures as they stand in a page: data URIs, small, in colours that colour-blind readers can order.

    alpha(v) = 0.10 + 0.75 v,  colour(v) = viridis(v),  v = (a - min a) / (max a - min a)

A neuron's map is a tiny transparent picture that the browser stretches over the one copy of the original.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

#: Longer side of a picture in a page, in pixels.
SIDE = 512
#: Longer side in the gallery of a run.
THUMBNAIL = 144


def uri(data: bytes, kind: str) -> str:
    """Content of a media type, such as "image/png", as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def photo(image: Image.Image, side: int = SIDE, *, quality: int = 85) -> str:
    """A picture as JPEG, made smaller where it is larger than `side` pixels."""
    shown = image.convert("RGB")
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=quality, optimize=True)
    return uri(buffer.getvalue(), "image/jpeg")


def drawing(image: Image.Image) -> str:
    """A picture as PNG, of the size it has."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return uri(buffer.getvalue(), "image/png")


def mask_picture(mask: Bool[np.ndarray, "height width"], side: int = SIDE) -> str:
    """A mask, white inside."""
    picture = Image.fromarray(np.asarray(mask, dtype=np.uint8) * 255)
    picture.thumbnail((side, side), Image.Resampling.NEAREST)
    return drawing(picture.convert("1"))


def with_boxes(image: Image.Image, boxes: Sequence[tuple[float, float, float, float]]) -> Image.Image:
    """A copy with boxes x, y, width, height outlined in white on black, which shows on every picture."""
    drawn = image.convert("RGB").copy()
    pen = ImageDraw.Draw(drawn)
    line = max(1, round(min(drawn.size) / 150))
    for x, y, w, h in boxes:
        for grow, colour in ((line, (0, 0, 0)), (0, (255, 255, 255))):
            pen.rectangle([x - grow, y - grow, x + w - 1 + grow, y + h - 1 + grow], outline=colour, width=line)
    return drawn


def heat(values: Float[np.ndarray, "rows columns"], scale: tuple[float, float] | None = None) -> str:
    """A map as a transparent picture: viridis, the more opaque the larger. Where the picture was cropped: nothing.

    `scale` holds the numbers that are shown as the smallest and the largest; those of the map where it is not given.
    """
    import matplotlib

    outside = ~np.isfinite(values)
    share = np.zeros(values.shape) if outside.all() else _scaled(values, scale)
    share = np.where(outside, 0.0, share)
    pixels = np.asarray(matplotlib.colormaps["viridis"](share), dtype=np.float64)
    pixels[..., 3] = np.where(outside, 0.0, 0.10 + 0.75 * share)
    return drawing(Image.fromarray(np.rint(pixels * 255).astype(np.uint8)))


def _scaled(
    values: Float[np.ndarray, "rows columns"], scale: tuple[float, float] | None
) -> Float[np.ndarray, "rows columns"]:
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if scale is None else scale
    return np.zeros(values.shape) if high <= low else np.clip((values - low) / (high - low), 0, 1)

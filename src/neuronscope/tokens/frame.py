"""From pixels of the user's image to pixels the model sees, measured through the processor itself.

Instead of re-deriving each processor's resize, crop and padding arithmetic, we let it process four synthetic images
of the same size: black, white, one whose red channel rises with x and green channel with y, and its negative. Because
every step is linear in the pixel values, the processed ramp tells for each processed pixel which source pixel it shows,
and pixels that do not react to black or white are padding. Processors round resized pixels to 8 bits, halves upwards;
in the difference of ramp and negative that bias cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..errors import ImageTokenMismatch

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """An axis-aligned affine map: source = scale * processed + offset, in pixels with edges at integers.

    Attributes:
        source: (width, height) of the user's image.
        processed: (width, height) of what the model sees.
        scale: source pixels per processed pixel, (x, y).
        offset: source coordinates of the processed image's top left corner, (x, y); positive after a crop,
            negative after padding.
    """

    source: tuple[int, int]
    processed: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_source(self, box: Box) -> Box:
        """A box (x, y, width, height) of the processed image in source pixels."""
        x, y, w, h = box
        return (
            x * self.scale[0] + self.offset[0],
            y * self.scale[1] + self.offset[1],
            w * self.scale[0],
            h * self.scale[1],
        )

    def to_processed(self, box: Box) -> Box:
        """The inverse of :meth:`to_source`."""
        x, y, w, h = box
        return (
            (x - self.offset[0]) / self.scale[0],
            (y - self.offset[1]) / self.scale[1],
            w / self.scale[0],
            h / self.scale[1],
        )


def measure_frame(image_processor: Any, size: tuple[int, int]) -> Frame:
    """The frame of images of a (width, height), by processing a ramp.

    Raises ImageTokenMismatch when the processor does more than resize, crop and pad one picture.
    """
    width, height = size
    across, x_step = _ramp(width)
    down, y_step = _ramp(height)
    ramp = np.zeros((height, width, 3))
    ramp[..., 0], ramp[..., 1] = across, down[:, None]
    pictures = [np.zeros_like(ramp), np.full_like(ramp, 255), ramp, 255 - ramp]
    black, white, seen, negative = (_process(image_processor, picture) for picture in pictures)
    reacts = np.abs(white - black) > 1e-3
    share = np.where(reacts, (1 + (seen - negative) / np.where(reacts, white - black, 1)) / 2, np.nan)
    x = _fit(_mean(share[0]), x_step, "x", size)
    y = _fit(_mean(share[1].T), y_step, "y", size)
    return Frame(size, (seen.shape[2], seen.shape[1]), (x[0], y[0]), (x[1], y[1]))


def _ramp(length: int) -> tuple[Float[np.ndarray, "length"], tuple[int, int]]:
    """A rising staircase of exact 8-bit values, and (pixels per stair, levels per stair).

    Whole levels only: rounding a finer ramp to 8 bits would tilt the fitted line.
    """
    pixels = -(-length // 256)
    levels = 255 // max(1, (length - 1) // pixels)
    return (np.arange(length) // pixels * float(levels)), (pixels, levels)


def _process(image_processor: Any, picture: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "3 h w"]:
    image = Image.fromarray(picture.astype(np.uint8))
    pixels = np.asarray(image_processor(images=image, return_tensors="np")["pixel_values"], dtype=np.float64)
    if pixels.ndim != 4 or len(pixels) != 1:
        raise ImageTokenMismatch(f"expected one processed picture [1, 3, h, w], the processor gave {pixels.shape}")
    return pixels[0]


def _mean(share: Float[np.ndarray, "lines n"]) -> Float[np.ndarray, "n"]:
    """Mean over the lines that show the picture; not a number where all of them are padding."""
    count = (~np.isnan(share)).sum(0)
    return np.where(count, np.nansum(share, axis=0) / np.maximum(count, 1), np.nan)


def _fit(share: Float[np.ndarray, "n"], step: tuple[int, int], axis: str, size: tuple[int, int]) -> tuple[float, float]:
    """Least-squares line through (processed coordinate, source coordinate) of the pixel centres: (scale, offset)."""
    pixels, levels = step
    source = share * 255 / levels * pixels + pixels / 2
    centres = np.arange(len(source)) + 0.5
    known = np.nonzero(~np.isnan(source))[0]
    # Resampling bends the ramp within two pixels of the picture's own border; those would bias the line.
    inner = known[2:-2] if len(known) > 8 else known
    if len(inner) < 2:
        raise ImageTokenMismatch(f"the processor's {axis} axis cannot be measured for images of size {size}")
    slope, offset = np.polyfit(centres[inner], source[inner], 1)
    return float(slope), float(offset)

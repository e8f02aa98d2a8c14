"""From pixels of the user's image to pixels the model sees, measured through the processor itself.

Instead of re-deriving each processor's resize, crop, tiling and padding arithmetic, we let it process five synthetic
images of the same size: black, red, green, one whose red channel rises with x and green channel with y, and its
negative. Because every step is linear in the pixel values, the processed ramp tells for each processed value which
source pixel it shows, and values that react to neither red nor green are padding or blue. It does not matter whether
the processor returns one picture, several tiles or a list of flattened patches. Processors round resized pixels to 8
bits, halves upwards; in the difference of ramp and negative that bias cancels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ..errors import ImageTokenMismatch

Box = tuple[float, float, float, float]

_SAME = Image.Resampling.NEAREST

#: A picture's processed tensors, by name.
Process: TypeAlias = Callable[[Image.Image], Mapping[str, Any]]


@dataclass(frozen=True)
class Frame:
    """An axis-aligned affine map: source = scale * processed + offset, in pixels with edges at integers.

    Attributes:
        source: (width, height) of the user's image.
        processed: (width, height) of one picture that the model sees: the whole image, a tile or a thumbnail. In
            pixels, or in patches where the processor returns flattened patches.
        scale: source pixels per processed pixel, (x, y).
        offset: source coordinates of the processed image's top left corner, (x, y); positive after a crop,
            negative after padding.
    """

    source: tuple[int, int]
    processed: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def outside(cls, source: tuple[int, int], processed: tuple[int, int]) -> Frame:
        """The frame of a picture that shows nothing of the user's image: a tile of padding."""
        return cls(source, processed, (1.0, 1.0), (float(source[0]), float(source[1])))

    @property
    def blank(self) -> bool:
        """Whether all of the picture lies outside the user's image."""
        left, top, width, height = self.to_source((0.0, 0.0, float(self.processed[0]), float(self.processed[1])))
        return left >= self.source[0] or top >= self.source[1] or left + width <= 0 or top + height <= 0

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


def measure_frames(
    process: Process,
    size: tuple[int, int],
    *,
    pixels: str = "pixel_values",
    strip: bool = False,
    padding: bool = False,
) -> tuple[Frame, ...]:
    """One frame for each picture or tile that a processor makes of an image of a (width, height), in its order.

    Args:
        process: what a processor makes of a picture.
        size: of the user's image.
        pixels: which of the processor's outputs holds the pixels: [..., 3, height, width] or [..., patches, values].
        strip: the pixels are square patches side by side, [..., 3, side, patches * side]: a frame for each of them.
        padding: tiles that are all padding get a frame outside the image (:attr:`Frame.blank`), instead of none.

    Raises ImageTokenMismatch when what comes out is not a resized, cropped, tiled or padded picture.
    """
    (across, x_step), (down, y_step) = map(_ramp, size)

    def seen(picture: Image.Image) -> Float[np.ndarray, "..."]:
        values = _pixels(process, picture, pixels)
        return _cut(values) if strip else values

    black = seen(Image.new("RGB", size))
    difference = seen(_rising(size, across, down))
    if difference.shape == black.shape:
        difference -= seen(_rising(size, 255 - across, 255 - down))
    reactions = [seen(Image.new("RGB", size, colour)) for colour in ((255, 0, 0), (0, 255, 0))]
    if any(values.shape != black.shape for values in (difference, *reactions)):
        raise ImageTokenMismatch(f"the processor cuts images of size {size} differently, depending on their content")
    x, y = (_share(reaction, black, difference) for reaction in reactions)
    if black.ndim >= 4 and black.shape[-3] == 3:  # whole pictures
        columns = _mean(x.reshape(-1, *x.shape[-3:]), keep=3)
        rows = _mean(y.reshape(-1, *y.shape[-3:]), keep=2)
        shape = black.shape[-1], black.shape[-2]
        frames: list[Frame] = []
        for c, r in zip(columns, rows, strict=True):
            if not (np.isnan(c).all() and np.isnan(r).all() and len(columns) > 1):
                frames.append(_frame(size, shape, *_lines((c, r), (x_step, y_step), size)))
            elif padding:
                frames.append(Frame.outside(size, shape))
        if all(frame.blank for frame in frames):
            raise ImageTokenMismatch(f"the processor shows nothing of images of size {size} that can be measured")
        return tuple(frames)
    if black.ndim not in (2, 3):
        raise ImageTokenMismatch(f"expected pictures [.., 3, h, w] or patches [.., n, d], got {black.shape}")
    across_all, down_all = (_mean(v.reshape(-1, *v.shape[-2:]), keep=1) for v in (x, y))
    pairs = zip(across_all, down_all, strict=True)
    return tuple(cells_frame(_source(c, x_step), _source(r, y_step), size) for c, r in pairs if not np.isnan(c).all())


def cells_frame(x: Float[np.ndarray, "cells"], y: Float[np.ndarray, "cells"], size: tuple[int, int]) -> Frame:
    """The frame of a full grid of cells from the source coordinates of their centres, in any order; NaN is padding.

    One cell is one processed pixel. Raises ImageTokenMismatch when the centres do not form a grid.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    columns, scale_x, offset_x = _axis(x[known], size[0])
    rows, scale_y, offset_y = _axis(y[known], size[1])
    if columns * rows != known.sum():
        raise ImageTokenMismatch(f"{known.sum()} patches in {rows} rows and {columns} columns are not a full grid")
    return _frame(size, (columns, rows), (scale_x, offset_x), (scale_y, offset_y))


def _frame(
    source: tuple[int, int], processed: tuple[int, int], x: tuple[float, float], y: tuple[float, float]
) -> Frame:
    return Frame(source, processed, (x[0], y[0]), (x[1], y[1]))


def _ramp(length: int) -> tuple[UInt8[np.ndarray, "length"], tuple[int, int]]:
    """A rising staircase of 8-bit values, and (pixels per stair, levels per stair).

    Whole levels only: rounding a finer ramp to 8 bits would tilt the fitted line.
    """
    pixels = -(-length // 256)
    levels = 255 // max(1, (length - 1) // pixels)
    return (np.arange(length) // pixels * levels).astype(np.uint8), (pixels, levels)


def _rising(
    size: tuple[int, int], across: UInt8[np.ndarray, "width"], down: UInt8[np.ndarray, "height"]
) -> Image.Image:
    """A picture of given reds in each row and greens in each column, made of one row and one column."""
    row, column = Image.fromarray(across[None]), Image.fromarray(down[:, None])
    return Image.merge("RGB", (row.resize(size, _SAME), column.resize(size, _SAME), Image.new("L", size)))


def _pixels(process: Process, picture: Image.Image, pixels: str) -> Float[np.ndarray, "..."]:
    output = process(picture)
    if pixels not in output:
        raise ImageTokenMismatch(f"the image processor returns no {pixels!r}, only {', '.join(output)}")
    return np.array(output[pixels], dtype=np.float32)


def _cut(strip: np.ndarray) -> np.ndarray:
    """[..., 3, side, n * side] to [n, 3, side, side]."""
    side = strip.shape[-2]
    return strip.reshape(3, side, -1, side).transpose(2, 0, 1, 3)


def _share(reaction: np.ndarray, black: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Where on the ramp, 0 to 1, each processed value is; NaN where the colour does not reach.

    The colour's picture is used up: as many values as a processor makes of a large picture are kept only once.
    """
    reaction -= black
    reaction[np.abs(reaction) <= 1e-3] = np.nan
    np.divide(difference, reaction, out=reaction)
    reaction += 1
    reaction /= 2
    return reaction


def _mean(share: np.ndarray, *, keep: int) -> np.ndarray:
    """Mean over all axes but the first and `keep`, of the values that show the picture; NaN where all are padding."""
    axes = tuple(i for i in range(1, share.ndim) if i != keep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice" is what padding is
        return np.asarray(np.nanmean(share, axis=axes, dtype=np.float64))


def _source(share: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Source coordinates of points on the ramp."""
    pixels, levels = step
    return share * 255 / levels * pixels + pixels / 2


def _lines(
    shares: tuple[np.ndarray, np.ndarray], steps: tuple[tuple[int, int], tuple[int, int]], size: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The lines (scale, offset) of a picture's x and y axis, from the shares along them.

    A tile may show a single row or column of the picture before padding begins. Processors that pad keep shapes, so
    that axis has the scale of the other.
    """
    x, y = (_fit(share, step) for share, step in zip(shares, steps, strict=True))
    x = x or (y and _fit(shares[0], steps[0], y[0]))
    y = y or (x and _fit(shares[1], steps[1], x[0]))
    if x is None or y is None:
        axis = "x" if x is None else "y"
        raise ImageTokenMismatch(f"the processor's {axis} axis cannot be measured for images of size {size}")
    return x, y


def _fit(
    share: Float[np.ndarray, "n"], step: tuple[int, int], scale: float | None = None
) -> tuple[float, float] | None:
    """Least-squares line through (processed coordinate, source coordinate) of the pixel centres: (scale, offset).

    With a `scale` the line of that slope through the one centre there is. None where there are too few.
    """
    source = _source(share, step)
    centres = np.arange(len(source)) + 0.5
    known = np.nonzero(~np.isnan(source))[0]
    if scale is not None and len(known) == 1:
        return scale, float(source[known[0]] - scale * centres[known[0]])
    # Resampling bends the ramp within two pixels of the picture's own border; those would bias the line.
    inner = known[2:-2] if len(known) > 8 else known
    if len(inner) < 2:
        return None
    slope, offset = np.polyfit(centres[inner], source[inner], 1)
    return float(slope), float(offset)


def _axis(centres: Float[np.ndarray, "n"], length: int) -> tuple[int, float, float]:
    """Number of different centres along an axis, and the line (scale, offset) from cell edges to source pixels.

    Cells of one column measure alike but for rounding, so a gap of more than half the widest one starts the next.
    """
    ordered = np.sort(centres)
    gaps = np.diff(ordered)
    widest = gaps.max(initial=0.0)
    if widest < 0.5 or 2 * widest < gaps.sum() / max(len(gaps), 1):
        return 1, float(length), 0.0
    starts = np.concatenate([[0], np.nonzero(gaps > widest / 2)[0] + 1])
    means = np.add.reduceat(ordered, starts) / np.diff([*starts, len(ordered)])
    index = np.arange(len(means))
    inner = slice(1, -1) if len(means) > 4 else slice(None)  # resampling bends the ramp at the picture's border
    slope, first = np.polyfit(index[inner], means[inner], 1)
    return len(means), float(slope), float(first - slope / 2)

"""Where on the image some neurons are active (Sato & Takagi III-D; METHODS e)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from ..errors import InvalidOption
from ..fields import check_fields, shown
from ..files import replacing, require_picture
from ..given import checked, checked_methods
from ..held import in_turn
from ..intervene.capture import activations
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.origin import require_own
from ..notebook import picture_html
from ..samples.image import ImageSource, read_image
from ..tokens import Frame, ImageTokens
from ..types import ALONG_PROMPT, SITES, Neurons, one_of, whole_number
from .agreement import sloped
from .attention import attention_x_activation
from .rollout import cross_attention_rollout
from .trace import gradient_from_grey, occlusion

#: How grid cells become pixels: bilinear between half-pixel centres; bilinear as the code of Pan et al. does it, which
#: extrapolates past the last cell; or each token's own footprint, flat - the faithful view of merged patches.
Resize: TypeAlias = Literal["half_pixel", "pan", "footprint"]


#: What is painted: the activation at each image token; or, traced back to the vision tower's patches, input x gradient,
#: the same gradient times the way from a grey picture, the effect of painting the patch grey, or the activation where
#: attention rollout says the learned queries look.
#: In a decoder without image tokens "rollout" is the activation at the positions that attend to the image, spread by
#: its own cross-attention.
#: "auto": at the tokens where they have a place, else "from-grey"; in a decoder without image tokens "rollout".
Trace: TypeAlias = Literal["auto", "tokens", "gradient", "from-grey", "occlusion", "rollout"]

#: Longer side of a coarse map in cells: finer than any grid of image tokens is.
_SIDE = 48


@checked_methods
@dataclass(frozen=True)
class Heatmap:
    """Mean activation of some neurons over the image.

    Attributes:
        values: in the pixel frame of the user's image; NaN where the processor cropped the picture away.
        grids: the same at the model's grids, activation units: one for the image, or one per tile.
        image: the picture.
        neurons: which neurons were averaged.
    """

    values: Float[np.ndarray, "height width"]
    grids: tuple[Float[np.ndarray, "_rows _columns"], ...]
    image: Image.Image
    neurons: Neurons

    def __post_init__(self) -> None:
        check_fields(self, but=("values", "grids"))
        grids = list(self.grids) if isinstance(self.grids, (tuple, list)) else [self.grids]  # pyright: ignore
        for name, array in (("values", self.values), *(("grids", grid) for grid in grids)):
            if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":  # pyright: ignore
                raise InvalidOption(f"{name}={shown(array)} is not an array of floats [height, width]; NaN is no value")

    def normalised(self) -> Float[np.ndarray, "height width"]:
        """Values scaled to 0..1 (smallest to largest); a constant map becomes 0, cropped pixels too."""
        low, high = np.nanmin(self.values), np.nanmax(self.values)
        if not high > low:
            return np.zeros_like(self.values)
        return np.nan_to_num((self.values - low) / (high - low), nan=0.0)

    def mask(self, quantile: float = 0.95) -> Bool[np.ndarray, "height width"]:
        """Pixels strictly above a quantile of this map (METHODS e, per-image rule)."""
        if not 0 <= quantile <= 1:
            raise InvalidOption(f"quantile={quantile} is not between 0 and 1")
        return np.nan_to_num(self.values, nan=-np.inf) > np.nanquantile(self.values, quantile)

    def overlay(self, boxes: Sequence[tuple[float, float, float, float]] = (), *, alpha: float = 0.5) -> Image.Image:
        """The map in colour over the picture, with boxes (x, y, width, height in pixels) drawn."""
        import matplotlib

        levels: Any = np.arange(256)
        viridis: Any = matplotlib.colormaps["viridis"](levels, bytes=True)[:, :3]
        coloured = Image.fromarray(np.minimum(256 * self.normalised(), 255).astype(np.uint8))
        coloured.putpalette(viridis.tobytes())  # a photograph in floats of four colours is half a gigabyte
        mixed = Image.blend(self.image.convert("RGB"), coloured.convert("RGB"), alpha)
        draw = ImageDraw.Draw(mixed)
        line = max(1, round(min(mixed.size) / 100))
        for x, y, w, h in boxes:
            draw.rectangle([x, y, x + w - 1, y + h - 1], outline=(255, 255, 255), width=line)
        return mixed

    def __repr__(self) -> str:
        grids = " + ".join("x".join(map(str, grid.shape)) for grid in self.grids)
        return f"<Heatmap {grids} over {self.image.width} x {self.image.height} px, of {self.neurons!r}>"

    def _repr_html_(self) -> str:
        shown = ", ".join(self.neurons.addresses[:5]) + (" ..." if len(self.neurons) > 5 else "")
        return picture_html(self.overlay(), f"mean activation of {shown}")

    def save(self, path: str | Path) -> None:
        """The map alone as a grey picture (white is the largest value)."""
        require_picture(path)
        grey = Image.fromarray(np.rint(255 * self.normalised()).astype(np.uint8))
        with replacing(path) as temporary:
            grey.save(temporary)


@checked
@in_turn
def heatmap(
    vlm: VLM,
    image: ImageSource,
    neurons: Neurons,
    *,
    top: int = 5,
    by: str = "activation",
    resize: Resize = "half_pixel",
    trace: Trace = "auto",
    decoding: Decoding = Decoding(),
    force: bool = False,
) -> Heatmap:
    """The mean activation, over image tokens, of the neurons with the largest activation difference.

    Args:
        vlm: the model.
        image: the original picture.
        neurons: a located set; the `top` members with the largest score `by` are averaged (all, when the set has no
            such score or fewer members).
        top: 5 in the paper.
        by: name of the score.
        resize: see :data:`Resize`.
        trace: see :data:`Trace`.
        decoding: what is asked; text before the image decides what neurons do at it.
        force: take neurons of other weights at their addresses.

    Raises RunMismatch for neurons of other weights, InvalidOption for an empty set, a `top` below 1 and neurons outside
    the decoder, NoGrid for trace="tokens" where image tokens have no place on the image and for trace="rollout" where
    no learned queries look at it, and NoImagePositions where there are no image tokens.
    """
    whole_number("top", top, 1)
    neurons = neurons.anywhere() if force else neurons
    chosen = neurons.top(top, by) if by in neurons.scores else neurons[:top]
    return heatmaps(vlm, image, [chosen], resize=resize, trace=trace, decoding=decoding)[0]


def heatmaps(
    vlm: VLM,
    image: ImageSource,
    sets: Sequence[Neurons],
    *,
    resize: Resize = "half_pixel",
    trace: Trace = "auto",
    decoding: Decoding = Decoding(),
) -> list[Heatmap]:
    """The map of each of several sets, all members of each averaged.

    At the tokens one forward pass serves all, and where the decoder attends to the image.

    Arguments and errors as in :func:`heatmap`.
    """
    one_of("trace", trace, get_args(Trace))
    one_of("resize", resize, ("half_pixel", "pan", "footprint"))
    for neurons in sets:
        if not len(neurons):
            raise InvalidOption("an empty set of neurons has no heat map")
        if neurons.part not in ALONG_PROMPT:
            raise InvalidOption(f"part={neurons.part!r}: heat maps show what the decoder's neurons do at image tokens")
        require_own(vlm, neurons)
    picture = read_image(image)
    tokens = vlm.prepare([picture], decoding).images[0]
    if trace == "tokens" or (trace == "auto" and tokens.tiles):
        return _at_tokens(vlm, picture, sets, tokens, resize, decoding)
    vlm.require_image_positions()
    if vlm.family.media is not None and trace in ("auto", "rollout") and sets:
        each, patches = attention_x_activation(vlm, picture, sets, decoding=decoding)
        return [paint(values, patches, picture, own, resize) for values, own in zip(each, sets, strict=True)]
    return [_traced(vlm, picture, neurons, resize, trace, decoding) for neurons in sets]


def _at_tokens(
    vlm: VLM, picture: Image.Image, sets: Sequence[Neurons], tokens: ImageTokens, resize: Resize, decoding: Decoding
) -> list[Heatmap]:
    maps: list[Heatmap | None] = [None] * len(sets)
    for site in SITES:
        own = [k for k, neurons in enumerate(sets) if neurons.site == site]
        if not own:
            continue
        every = tuple(dict.fromkeys(neuron for k in own for neuron in sets[k]))
        column = {neuron: k for k, neuron in enumerate(every)}
        values = activations(vlm, picture, Neurons(every, site=site), decoding=decoding)
        for k in own:
            mean = values[:, [column[neuron] for neuron in sets[k]]].mean(axis=1).astype(np.float64)
            maps[k] = paint(mean, tokens, picture, sets[k], resize)
    return [found for found in maps if found is not None]


def _traced(
    vlm: VLM, picture: Image.Image, neurons: Neurons, resize: Resize, trace: Trace, decoding: Decoding
) -> Heatmap:
    if trace == "auto":
        trace = "from-grey"
    if vlm.family.media is not None and trace == "from-grey":
        raise InvalidOption(
            f'trace="from-grey" traces learned queries to the vision tower; {vlm.family.title} has none: "gradient"'
        )
    paths = {"rollout": cross_attention_rollout, "from-grey": gradient_from_grey}
    values, patches = paths.get(trace, sloped)(vlm, picture, neurons, decoding=decoding)
    if trace == "occlusion":
        values = occlusion(vlm, picture, neurons, patches, decoding=decoding)
    return paint(values.astype(np.float64), patches, picture, neurons, resize)


def paint(
    values: Float[np.ndarray, "tokens"],
    tokens: ImageTokens,
    picture: Image.Image,
    neurons: Neurons,
    resize: Resize = "half_pixel",
) -> Heatmap:
    """One number per image token as a map over the picture; where tiles overlap (a thumbnail), their mean.

    Raises NoGrid where image tokens have no place on the image.
    """
    tiles = tokens.mapped()
    grids = tuple(values[tile.tokens] for tile in tiles)
    total = np.zeros((picture.height, picture.width))
    shown = np.zeros(total.shape, np.int32)
    for grid, tile in zip(grids, tiles, strict=True):  # one after another: a photograph may have forty tiles
        spread = to_pixels(grid, tile.frame, resize)
        seen = ~np.isnan(spread)
        shown += seen
        np.add(total, spread, out=total, where=seen)
    total[shown == 0] = np.nan
    np.divide(total, shown, out=total, where=shown > 0)
    return Heatmap(total, grids, picture, neurons)


def thinned(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "_rows _columns"]:
    """The map at the centres of at most `_SIDE` cells along its longer side."""
    height, width = values.shape
    factor = min(1.0, _SIDE / max(height, width))
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    down = ((np.arange(rows) + 0.5) / rows * height).astype(int)
    across = ((np.arange(columns) + 0.5) / columns * width).astype(int)
    return values[np.ix_(down, across)]


def to_pixels(
    grid: Float[np.ndarray, "rows columns"], frame: Frame, resize: Resize = "half_pixel"
) -> Float[np.ndarray, "height width"]:
    """Spread a grid over the user's image through the processor's frame; NaN where the picture was cropped away."""
    width, height = frame.source
    cells_down, cells_across = grid.shape
    across = _cells(np.arange(width) + 0.5, frame.offset[0], frame.scale[0], frame.processed[0], cells_across)
    down = _cells(np.arange(height) + 0.5, frame.offset[1], frame.scale[1], frame.processed[1], cells_down)
    if resize == "footprint":
        rows = np.clip(np.floor(down), 0, cells_down - 1).astype(int)
        columns = np.clip(np.floor(across), 0, cells_across - 1).astype(int)
        values = grid[np.ix_(rows, columns)]
    else:
        values = resample(resample(grid, down, 0, resize), across, 1, resize)
    outside_rows = (down < 0) | (down > cells_down)
    outside_columns = (across < 0) | (across > cells_across)
    values[outside_rows] = np.nan
    values[:, outside_columns] = np.nan
    return values


def resample(
    values: Float[np.ndarray, "rows columns"], at: Float[np.ndarray, "n"], axis: int, resize: Resize
) -> Float[np.ndarray, "_ _"]:
    """Linear interpolation along an axis at cell coordinates `at` (cell k spans k to k + 1).

    half_pixel: source = at - 0.5, clamped to the first and last centre. pan: source = at - 0.5 * step, the lower cell
    clipped to the last but one, so that the last stretch extrapolates (METHODS e, X10).
    """
    cells = values.shape[axis]
    step = float(at[1] - at[0]) if len(at) > 1 else 1.0
    source = at - 0.5 if resize == "half_pixel" else at - 0.5 * step
    if resize == "half_pixel":
        source = np.clip(source, 0, cells - 1)
    low = np.clip(np.floor(source).astype(int), 0, max(cells - 2, 0))
    share = np.expand_dims(source - low, 1 - axis)
    high = np.minimum(low + 1, cells - 1)
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share


def _cells(
    pixels: Float[np.ndarray, "n"], offset: float, scale: float, processed: int, cells: int
) -> Float[np.ndarray, "n"]:
    """Source pixel coordinates in units of grid cells."""
    return (pixels - offset) / scale / processed * cells

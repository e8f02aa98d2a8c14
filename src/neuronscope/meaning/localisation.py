"""Whether a heat map lies on the object (METHODS e, "Binary mask"): IoU under three rules, pointing game, energy.

With the map's mask M and the object G, both over the pixels that the model saw: IoU = |M and G| / |M or G|.

- per image: M = pixels strictly above the q-quantile of this map. M then has a share 1 - q of the pixels, so for an
  object share a, IoU <= min(a, 1 - q) / max(a, 1 - q) (up to whole pixels): a perfect map of a large object scores low.
- data set: M = pixels strictly above one cut for all maps (:func:`dataset_cut`), as in Network Dissection.
- area-matched: M = as many pixels as the object has, largest first; a perfect map scores 1 whatever the object's size.

No figure means anything without that of random neurons (:func:`random_control`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InvalidOption, InvalidSample
from ..fields import whole
from ..loading import VLM
from ..locate.matched import layer_matched_sets
from ..models.decoding import Decoding
from ..samples.image import ImageSource, read_image
from ..types import Neurons
from ..view.heatmap import Heatmap, Resize, Trace, heatmaps


@dataclass(frozen=True)
class Localisation:
    """How well one heat map lies on one object. Shares are of the pixels that the model saw, 0 to 1.

    Attributes:
        iou_per_image: with the pixels above the map's own quantile.
        iou_dataset: with the pixels above the data set's cut; None where no cut was given.
        iou_area: with as many pixels as the object has.
        pointing: whether the map's first largest pixel lies on the object.
        energy: share of the map's positive mass on the object; 0 where the map has none.
        object_share: the object's share of the picture: what `energy` is for a map that is the same everywhere.
        object_seen: share of the object's own pixels that the model saw; below 1 where the processor cropped it.
        quantile, dataset_cut, tolerance: the settings.
    """

    iou_per_image: float
    iou_dataset: float | None
    iou_area: float
    pointing: bool
    energy: float
    object_share: float
    object_seen: float
    quantile: float
    dataset_cut: float | None
    tolerance: float


#: The figures of a Localisation that say how good a map is: more is better in all of them.
FIGURES = ("iou_per_image", "iou_dataset", "iou_area", "pointing", "energy")


def localise(
    heat: Heatmap,
    mask: Bool[np.ndarray, "height width"],
    *,
    quantile: float = 0.95,
    dataset_cut: float | None = None,
    tolerance: float = 0.0,
) -> Localisation:
    """Compare a heat map with the pixels of the object.

    Pixels without a value (cropped away by the processor) count neither for the map nor for the object. A map that is
    the same everywhere points nowhere: its IoUs are 0 and `pointing` is False.

    Args:
        heat: the map.
        mask: the object, in the pixel frame of the user's image; what is not 0 belongs to it.
        quantile: of the per-image rule.
        dataset_cut: of the data set rule, activation units.
        tolerance: the largest pixel may lie this many pixels off the object and still count as on it.

    Raises:
        InvalidSample: the mask has another shape than the map, or no pixel that the model saw.
        InvalidOption: an option outside its range.
    """
    if not tolerance >= 0:
        raise InvalidOption(f"tolerance={tolerance} must not be negative")
    if dataset_cut is not None and not math.isfinite(dataset_cut):
        raise InvalidOption(f"dataset_cut={dataset_cut} is not a finite number")
    seen = ~np.isnan(heat.values)
    target = _object(mask, seen)
    peaks = float(np.nanmax(heat.values)) > float(np.nanmin(heat.values))
    above = heat.mask(quantile)
    return Localisation(
        iou_per_image=iou(above, target),
        iou_dataset=None if dataset_cut is None else iou(_above(heat.values, dataset_cut) & peaks, target),
        iou_area=iou(largest(heat.values, int(target.sum())), target) if peaks else 0.0,
        pointing=peaks and points_at(heat.values, target, tolerance),
        energy=energy(heat.values, target),
        object_share=float(target.sum() / seen.sum()),
        object_seen=float(target.sum() / np.count_nonzero(mask)),
        quantile=quantile,
        dataset_cut=dataset_cut,
        tolerance=tolerance,
    )


def dataset_cut(heats: Sequence[Heatmap], quantile: float = 0.95) -> float:
    """The quantile (linear interpolation) of all pixels of all maps together, for the data set rule.

    Every pixel counts the same, so large pictures weigh more. Raises InvalidOption for no maps or a bad quantile.
    """
    if not heats:
        raise InvalidOption("a data set cut needs at least one heat map")
    if not 0 <= quantile <= 1:
        raise InvalidOption(f"quantile={quantile} is not between 0 and 1")
    return float(np.quantile(np.concatenate([h.values[~np.isnan(h.values)] for h in heats]), quantile))


def iou(found: Bool[np.ndarray, "height width"], target: Bool[np.ndarray, "height width"]) -> float:
    """Intersection over union; 0 when both are empty."""
    union = int((found | target).sum())
    return int((found & target).sum()) / union if union else 0.0


def largest(values: Float[np.ndarray, "height width"], count: int) -> Bool[np.ndarray, "height width"]:
    """The `count` pixels with the largest values, NaN never; ties go to the pixel that comes first, row by row."""
    order = np.argsort(-values, axis=None, kind="stable")  # NaN sorts last
    picked = np.zeros(values.size, dtype=bool)
    picked[order[: min(count, int((~np.isnan(values)).sum()))]] = True
    return picked.reshape(values.shape)


def points_at(
    values: Float[np.ndarray, "height width"], target: Bool[np.ndarray, "height width"], tolerance: float = 0.0
) -> bool:
    """Pointing game: whether the largest pixel is at most `tolerance` px off the object (ties: the first, row by row).

    The distance is Euclidean, from pixel to pixel.
    """
    y, x = np.unravel_index(int(np.nanargmax(values)), values.shape)
    rows, columns = np.nonzero(target)
    return bool((np.hypot(rows - y, columns - x) <= tolerance).any())


def energy(values: Float[np.ndarray, "height width"], target: Bool[np.ndarray, "height width"]) -> float:
    """Share of the positive mass that lies on the object; 0 where there is none."""
    positive = np.nan_to_num(np.maximum(values, 0), nan=0.0)
    total = float(positive.sum())
    return float(positive[target].sum()) / total if total else 0.0


@dataclass(frozen=True)
class RandomControl:
    """The same figures for random neurons of the same layers.

    Attributes:
        draws: one result per random set.
        neurons: the random sets.
    """

    draws: tuple[Localisation, ...]
    neurons: tuple[Neurons, ...]

    @property
    def mean(self) -> dict[str, float]:
        """Mean of every figure over the draws; `pointing` becomes a share, figures that are None are left out."""
        return {name: float(np.mean([float(v) for v in self._of(name)])) for name in FIGURES if self._of(name)}

    def p_value(self, found: Localisation, figure: str) -> float:
        """(1 + draws that do at least as well) / (1 + draws): never 0 (METHODS G4 iii).

        Raises InvalidOption for a figure that is not in FIGURES or was not measured.
        """
        value = getattr(found, figure) if figure in FIGURES else None
        draws = self._of(figure) if value is not None else []
        if value is None or not draws:
            raise InvalidOption(f"figure={figure!r} was not measured. Choices: {', '.join(self.mean)}.")
        return (1 + sum(draw >= value for draw in draws)) / (1 + len(draws))

    def _of(self, figure: str) -> list[float]:
        return [value for value in (getattr(draw, figure) for draw in self.draws) if value is not None]


def random_control(
    vlm: VLM,
    image: ImageSource,
    neurons: Neurons,
    mask: Bool[np.ndarray, "height width"],
    draws: int = 20,
    seed: int = 0,
    *,
    top: int = 5,
    by: str = "activation",
    resize: Resize = "half_pixel",
    trace: Trace = "auto",
    decoding: Decoding = Decoding(),
    quantile: float = 0.95,
    dataset_cut: float | None = None,
    tolerance: float = 0.0,
) -> RandomControl:
    """Localise maps of random neurons: as many from each layer as the located map averages, none of them located.

    Args:
        vlm: the model.
        image: the original picture.
        neurons: the located set, whole.
        mask: the object, in the pixel frame of the user's image.
        draws: random sets; 20 or more for a p-value of 0.05.
        seed: of the first draw; each draw has a seed of its own, derived from it.
        top: how many neurons the located map averages, as for :func:`neuronscope.view.heatmap.heatmap`.
        by: the score they were chosen by.
        resize: as for the located map.
        trace: as for the located map.
        decoding: as for the located map.
        quantile: as for :func:`localise`.
        dataset_cut: as for :func:`localise`.
        tolerance: as for :func:`localise`.

    Raises InvalidOption for no draws, an empty set, or a layer with too few other neurons, and what :func:`localise`
    and `heatmap` raise.
    """
    if whole("draws", draws) < 1:
        raise InvalidOption(f"draws={draws} must be at least 1")
    picture = read_image(image)
    shown = neurons.top(top, by) if by in neurons.scores else neurons[:top]
    sets = matched_sets(vlm, neurons, shown, draws, seed)
    heats = heatmaps(vlm, picture, sets, resize=resize, trace=trace, decoding=decoding)
    results = [localise(heat, mask, quantile=quantile, dataset_cut=dataset_cut, tolerance=tolerance) for heat in heats]
    return RandomControl(tuple(results), sets)


def matched_sets(vlm: VLM, neurons: Neurons, shown: Neurons, draws: int, seed: int) -> tuple[Neurons, ...]:
    """Random sets, as many neurons of each layer as `shown` has there, none of them a member of `neurons`.

    Raises InvalidOption for a layer with too few other neurons.
    """
    seeds = [int(own) for own in np.random.SeedSequence(seed).generate_state(draws)]
    outside = layer_matched_sets(vlm, neurons, seeds)
    return tuple(_as_shown(one, shown, own) for one, own in zip(outside, seeds, strict=True))


def _as_shown(outside: Neurons, shown: Neurons, seed: int) -> Neurons:
    """Of random neurons outside the whole located set as many per layer as are shown of it."""
    rng = np.random.default_rng([seed, 1])
    wanted = shown.by_layer()
    picked = [
        (layer, int(unit))
        for layer, units in outside.by_layer().items()
        if layer in wanted
        for unit in np.sort(rng.choice(units, len(wanted[layer]), replace=False))
    ]
    return dataclasses.replace(outside, members=Neurons.of(picked).members)


def _above(values: Float[np.ndarray, "height width"], cut: float) -> Bool[np.ndarray, "height width"]:
    return np.nan_to_num(values, nan=-np.inf) > cut


def _object(
    mask: Bool[np.ndarray, "_height _width"], seen: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """The object's pixels that the model saw. Raises InvalidSample."""
    if mask.shape != seen.shape:
        given, needed = (" x ".join(map(str, shape)) for shape in (mask.shape, seen.shape))
        raise InvalidSample(f"mask is {given}, the heat map {needed} (height x width)")
    if not mask.any():
        raise InvalidSample("mask is empty: there is no object to localise")
    target = mask.astype(bool) & seen
    if not target.any():
        raise InvalidSample("the processor cropped the whole object away: the model never saw it")
    return target

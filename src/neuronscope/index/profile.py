"""One neuron of an index, and where it stands among all neurons of its layer.

    threshold          the lowest edge of a bin, above zero, from which on at most 1 - q of a neuron's activations at
                       image tokens lie; there it is called active
    density            share of image tokens, and of pictures, in which it is active
    scattered          share of pictures that as many active tokens would reach if they lay at random: 1 - (1 - d)^T
                       for T image tokens a picture
    spread             share of pictures / scattered; far below 1 it answers to something that few pictures have
    loud               share of image tokens at or above the same threshold of its whole layer
    standing out       (mean of its top pictures' activations - mean over pictures) / sd over pictures,
                       of the largest activation in each picture
    among the layer    share of the layer's neurons with a smaller number; ties count half

Every neuron has top pictures, so numbers say something only beside those of other neurons. Here these are all neurons
of its layer, which were read in the same passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..given import checked
from ..meaning.pictures import Moved
from ..types import Neuron
from .bins import BINS, SIDE, lower_edge, threshold_bins
from .file import NeuronIndex
from .summary import Summary


@dataclass(frozen=True)
class ProfileFigure:
    """A number of a neuron, the layer's median of the same, and the share of the layer's neurons with a smaller one."""

    value: float
    median: float
    among: float


@dataclass(frozen=True)
class Profile:
    """One neuron.

    Attributes:
        neuron: its address.
        threshold: activation from which on it counts as active.
        tokens, pictures: density: share of image tokens and of pictures in which it is active.
        scattered: share of pictures that as many active tokens would be in if they lay at random.
        spread: the one over the other; 0 where it is never active.
        loudness: the threshold of its whole layer; `loud`: share of image tokens that are at or above it.
        standing: how far its top pictures stand out, in standard deviations over pictures.
        mean, sd: of its activation at image tokens.
        histogram: [bins] of its activations at image tokens (bins.py), as shares.
        layer: the same of its whole layer.
        top, bottom: pictures by their number, with its largest and smallest activation there.
    """

    neuron: Neuron
    threshold: float
    tokens: float
    pictures: float
    scattered: float
    spread: ProfileFigure
    loudness: float
    loud: ProfileFigure
    standing: ProfileFigure
    mean: float
    sd: float
    histogram: tuple[float, ...]
    layer: tuple[float, ...]
    top: tuple[Moved, ...]
    bottom: tuple[Moved, ...]


@dataclass(frozen=True)
class LayerFigures:
    """The figures of all neurons of a layer, one array each, and the bins of their thresholds and of the layer's."""

    places: Int[np.ndarray, "width"]
    place: int
    tokens: Float[np.ndarray, "width"]
    pictures: Float[np.ndarray, "width"]
    scattered: Float[np.ndarray, "width"]
    loud: Float[np.ndarray, "width"]
    standing: Float[np.ndarray, "width"]

    @property
    def spread(self) -> Float[np.ndarray, "width"]:
        """Share of pictures over what scattered tokens would reach."""
        return self.pictures / np.where(self.scattered > 0, self.scattered, 1)


def layer_figures(found: Summary, quantile: float, pictures: int) -> LayerFigures:
    """Of a layer's summary over so many pictures."""
    places, place = threshold_bins(found.tokens, quantile), int(threshold_bins(found.tokens.sum(0), quantile))
    total = found.tokens.sum(1)
    tokens = _from(found.tokens, places) / total
    mean = found.peak_sum / pictures
    sd = np.sqrt(np.clip(found.peak_squares / pictures - mean**2, 0, None))
    flat = sd <= 1e-6 * np.abs(mean)  # the square of a number and its sum leave as much of one that never changes
    standing = np.where(flat, 0.0, (found.top_value.mean(1) - mean) / np.where(flat, 1.0, sd))
    return LayerFigures(
        places,
        place,
        tokens,
        _from(found.pictures, places) / pictures,
        1 - (1 - tokens) ** (total / pictures),
        found.tokens[:, place:].sum(1) / total,
        standing,
    )


def _from(counts: Int[np.ndarray, "width bins"], places: Int[np.ndarray, "width"]) -> Float[np.ndarray, "width"]:
    """How many of each row are in its bin of `places` or beyond."""
    above = np.flip(np.cumsum(np.flip(counts, 1), 1), 1)
    return np.take_along_axis(above, places[:, None], 1)[:, 0].astype(np.float64)


@checked
def profiles(index: NeuronIndex, neurons: Sequence[Neuron]) -> dict[Neuron, Profile]:
    """The profiles of some neurons; every layer is read once. Raises NeuronOutOfRange and RunMismatch."""
    made: dict[Neuron, Profile] = {}
    for layer, units in index.members(neurons).by_layer().items():
        summary = index.layer(layer)
        figures = layer_figures(summary, index.quantile, len(index.pictures))
        for unit in units:
            made[Neuron(layer, unit)] = _profile(Neuron(layer, unit), summary, figures)
    return made


def _profile(neuron: Neuron, found: Summary, layer: LayerFigures) -> Profile:
    unit = neuron.unit
    counts, whole = found.tokens[unit], found.tokens.sum(0)
    mean = found.sum[unit] / counts.sum()
    return Profile(
        neuron,
        lower_edge(int(layer.places[unit])),
        float(layer.tokens[unit]),
        float(layer.pictures[unit]),
        float(layer.scattered[unit]),
        _figure(layer.spread, unit),
        lower_edge(layer.place),
        _figure(layer.loud, unit),
        _figure(layer.standing, unit),
        float(mean),
        float(np.sqrt(max(0.0, found.squares[unit] / counts.sum() - mean**2))),
        _shares(counts),
        _shares(whole),
        _moved(found.top_picture[unit], found.top_value[unit]),
        _moved(found.bottom_picture[unit], found.bottom_value[unit]),
    )


def _figure(values: Float[np.ndarray, "width"], unit: int) -> ProfileFigure:
    value, others = values[unit], np.delete(values, unit)
    among = 0.5 if not len(others) else np.mean(others < value) + np.mean(others == value) / 2
    return ProfileFigure(float(value), float(np.median(values)), float(among))


def _shares(counts: Int[np.ndarray, "bins"]) -> tuple[float, ...]:
    return tuple((counts / counts.sum()).tolist())


def _moved(numbers: Int[np.ndarray, "kept"], values: Float[np.ndarray, "kept"]) -> tuple[Moved, ...]:
    return tuple(Moved(number, value) for number, value in zip(numbers.tolist(), values.tolist(), strict=True))


def bin_text(place: int) -> str:
    """The range of a bin, for people."""
    if place == SIDE:
        return f"within {lower_edge(SIDE + 1):.2g} of zero"
    distance = abs(place - SIDE)
    low = lower_edge(SIDE + distance)
    high = f" to {lower_edge(SIDE + distance + 1):.3g}" if SIDE + distance + 1 < BINS else " and beyond"
    return f"{'' if place > SIDE else 'minus '}{low:.3g}{high}"


def histogram_of(profile: Profile) -> Mapping[str, object]:
    """The bins that hold anything, for a file: lower edges of their size, signs, and shares."""
    places = [k for k, share in enumerate(profile.histogram) if share]
    return {
        "from": [0.0 if k == SIDE else (1 if k > SIDE else -1) * lower_edge(SIDE + abs(k - SIDE)) for k in places],
        "share": [profile.histogram[k] for k in places],
    }

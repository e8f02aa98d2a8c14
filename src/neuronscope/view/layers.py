"""How a set of neurons spreads over the layers (Sato & Takagi, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..files import replacing, require_picture
from ..types import Neurons


@dataclass(frozen=True)
class LayerDistribution:
    """Neurons per layer, and the number that uniform choice over all neurons would give."""

    counts: Int[np.ndarray, "layers"]
    expected: Float[np.ndarray, "layers"]

    @property
    def ratio(self) -> Float[np.ndarray, "layers"]:
        """Counts over expected counts; 0 for an empty set."""
        return np.divide(self.counts, self.expected, out=np.zeros(len(self.counts)), where=self.expected > 0)


def layer_distribution(neurons: Neurons, widths: Sequence[int]) -> LayerDistribution:
    """Count the neurons of each layer of a model with these FFN widths."""
    counts = np.zeros(len(widths), dtype=np.int64)
    for neuron in neurons:
        counts[neuron.layer] += 1
    return LayerDistribution(counts, len(neurons) * np.asarray(widths, dtype=np.float64) / sum(widths))


def plot_layers(sets: dict[str, LayerDistribution], path: str | Path) -> None:
    """A bar chart of neurons per layer, one group of bars per named set, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(6.0, 2.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / max(len(sets), 1)
    for k, (name, spread) in enumerate(sets.items()):
        layers = np.arange(len(spread.counts))
        axes.bar(layers + (k - (len(sets) - 1) / 2) * width, spread.counts, width, label=name)
    if sets:
        layers = np.arange(len(next(iter(sets.values())).counts))
        axes.set_xticks(layers)
    axes.set_xlabel("decoder layer")
    axes.set_ylabel("neurons")
    axes.spines[["top", "right"]].set_visible(False)
    if len(sets) > 1:
        axes.legend(frameon=False)
    require_picture(path)
    with replacing(path) as temporary:
        figure.savefig(temporary)

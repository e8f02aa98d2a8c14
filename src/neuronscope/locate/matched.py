"""Random neurons of the same layers: the control that every number needs (METHODS d, oracle 18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..errors import InvalidOption
from ..given import checked
from ..loading import VLM
from ..models.origin import require_own
from ..types import Neuron, Neurons


@checked
def layer_matched(vlm: VLM, neurons: Neurons, seed: int = 0) -> Neurons:
    """As many random neurons from each layer as `neurons` has there, none of them a member of it.

    Raises InvalidOption when a layer has too few other neurons and for a set of another part, and RunMismatch or
    NeuronOutOfRange for a set of another model.
    """
    return layer_matched_sets(vlm, neurons, [seed])[0]


def layer_matched_sets(vlm: VLM, neurons: Neurons, seeds: Sequence[int]) -> tuple[Neurons, ...]:
    """:func:`layer_matched` of each seed. Whose neurons they are is asked once for all: to say that reads all weights.

    Raises as :func:`layer_matched`.
    """
    if not seeds:
        return ()
    require_own(vlm, neurons, "text")
    drawn = [(seed, matched_members(vlm.widths, neurons, seed)) for seed in seeds]
    model = vlm.identity()
    return tuple(
        dataclasses.replace(
            Neurons(members, site=neurons.site),
            concept=neurons.concept,
            method="random-layer-matched",
            options={"seed": seed},
            model=model,
        )
        for seed, members in drawn
    )


def matched_members(widths: Sequence[int], neurons: Neurons, seed: int) -> tuple[Neuron, ...]:
    """The members alone, where nobody asks whose weights they are of: to say that reads all weights."""
    rng = np.random.default_rng(seed)
    members: list[Neuron] = []
    for layer, units in neurons.by_layer().items():
        others = np.setdiff1d(np.arange(widths[layer]), units)
        if len(others) < len(units):
            raise InvalidOption(f"layer {layer} has only {len(others)} neurons outside the set of {len(units)}")
        members += [Neuron(layer, int(unit)) for unit in np.sort(rng.choice(others, len(units), replace=False))]
    return tuple(members)

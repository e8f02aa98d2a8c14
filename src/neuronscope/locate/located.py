"""What every method returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..samples.inpaint import Counterfactual
from ..samples.validity import Validity
from ..types import Neurons
from .scores import Layout, Pooled

if TYPE_CHECKING:
    from ..models.vlm import VLM


@dataclass(frozen=True)
class Scores:
    """Scores of every neuron of the model, whether kept or not.

    Attributes:
        layout: how layers follow each other on the flat axis.
        arrays: score name -> pooled scores and the image token of each maximum.
    """

    layout: Layout
    arrays: Mapping[str, Pooled]

    def layer(self, name: str, layer: int) -> Float[np.ndarray, "width"]:
        """One score of one layer."""
        start = self.layout.starts[layer]
        return self.arrays[name].values[start : start + self.layout.widths[layer]]


@dataclass(frozen=True)
class Located:
    """The neurons found for one concept in one image.

    Attributes:
        neurons: the set, best first, with scores and the image token (`*_patch`) where each score is largest.
        scores: the same for all neurons; not saved.
        validity: the captions and the concept's place in them.
        notes: what a reader should know, such as thresholds that kept nothing.
        seconds: time spent, by step.
    """

    neurons: Neurons
    scores: Scores
    validity: Validity
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])


@runtime_checkable
class Method(Protocol):
    """How neurons are located. One file per method; add it to METHODS in registry.py."""

    @property
    def name(self) -> str:
        """What results call the method."""
        ...

    def locate(self, vlm: VLM, pair: Counterfactual) -> Located:
        """Find the neurons for `pair.sample.concept`. Raises InvalidSample for samples the method cannot use."""
        ...

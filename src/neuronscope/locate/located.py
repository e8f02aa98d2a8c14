"""What every method takes and returns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..fields import check_fields
from ..frames import data_frame, neuron_columns
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.finite import finite_scores
from ..notebook import lines_html
from ..reprs import short_repr
from ..samples.inpaint import Counterfactual
from ..types import Neuron, Neurons
from .scores import Layout, Pooled
from .validity import Validity

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Scores:
    """Scores of every neuron of the model, whether kept or not. Raises NotFinite where one is no number.

    Attributes:
        layout: how layers follow each other on the flat axis.
        arrays: score name -> pooled scores and the image token of each maximum.
    """

    layout: Layout
    arrays: Mapping[str, Pooled]

    __repr__ = short_repr

    def __post_init__(self) -> None:
        finite_scores({f"the score {name!r}": pooled.values for name, pooled in self.arrays.items()})

    def layer(self, name: str, layer: int) -> Float[np.ndarray, "width"]:
        """One score of one layer."""
        start = self.layout.starts[layer]
        return self.arrays[name].values[start : start + self.layout.widths[layer]]

    def to_dataframe(self) -> DataFrame:
        """All neurons with pandas, by layer and unit: every score, and the image token (`*_patch`) of its maximum.

        Raises InvalidOption where pandas is not installed.
        """
        widths = self.layout.widths
        columns = neuron_columns(Neuron(layer, unit) for layer in range(len(widths)) for unit in range(widths[layer]))
        scores: dict[str, Any] = {}
        for name, pooled in self.arrays.items():
            scores[name] = pooled.values
            if pooled.patch is not None:
                scores[f"{name}_patch"] = pooled.patch
        return data_frame({**columns, **scores})

    def members(self, order: Iterable[int]) -> tuple[tuple[Neuron, ...], dict[str, tuple[float, ...]]]:
        """The neurons at some flat indices, and what a set of them is saved with: each score and its `*_patch`."""
        flat = [int(f) for f in order]
        scores: dict[str, tuple[float, ...]] = {}
        for name, pooled in self.arrays.items():
            scores[name] = tuple(float(pooled.values[f]) for f in flat)
            if pooled.patch is not None:
                scores[f"{name}_patch"] = tuple(float(pooled.patch[f]) for f in flat)
        return tuple(Neuron(*self.layout.split(f)) for f in flat), scores


@dataclass(frozen=True)
class Located:
    """The neurons found for one concept in one image.

    Attributes:
        neurons: the set, best first, with scores and the image token (`*_patch`) where each score is largest.
        scores: the same for all neurons; not saved.
        validity: the captions and the concept's place in them.
        ranked_by: which of the score arrays the neurons are ordered by.
        notes: what a reader should know, such as thresholds that kept nothing.
        seconds: time spent, by step.
    """

    neurons: Neurons
    scores: Scores
    validity: Validity
    ranked_by: str
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def doubt(self) -> str:
        """Why the word that was asked for may not be that of what was removed; empty where nothing speaks for it."""
        return "" if self.validity.removal is None else self.validity.removal.doubt

    def __repr__(self) -> str:
        return f"<Located {self.neurons!r}, ranked by {self.ranked_by}, notes: {len(self.notes)}>"

    def _repr_html_(self) -> str:
        captions = [("original", self.validity.original.full), ("edited", self.validity.edited.full)]
        notes = [("note", note) for note in (self.doubt, *self.notes) if note]
        return lines_html([*captions, *notes]) + self.neurons.to_html()


@runtime_checkable
class Method(Protocol):
    """How neurons are located. One file per method; registry.py lists them by name.

    A method is a frozen dataclass of its options, so that :func:`dataclasses.replace` changes one of them.
    """

    @property
    def name(self) -> str:
        """What results call the method."""
        ...

    def locate(self, vlm: VLM, pair: Counterfactual, *, validity: Validity | None = None) -> Located:
        """Find the neurons for `pair.sample.concept`. Raises InvalidSample for samples the method cannot use.

        `validity` is the result of :func:`check_validity` for the same pair, where it is known: methods that are
        compared then share its captions. Without it the captions are made.
        """
        ...


def decoding_of(chosen: Method) -> Decoding:
    """What a method asks, and how its captions are written; the usual for one that writes none."""
    found: object = getattr(chosen, "decoding", None)
    return found if isinstance(found, Decoding) else Decoding()


def asked_of(neurons: Neurons) -> Decoding:
    """What was asked when a set was located, from its options; the usual for a set that does not say."""
    found: Any = neurons.options.get("decoding")
    method: Any = neurons.options.get("method")
    if found is None and isinstance(method, dict):  # of a set from several photographs
        found = cast("dict[str, Any]", method).get("decoding")
    return Decoding.from_dict(cast("dict[str, Any]", found)) if isinstance(found, dict) else Decoding()


class Clock:
    """Measures the steps of a method, for `Located.seconds`."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now

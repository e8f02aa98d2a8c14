"""One teacher-forced row with sets of neurons exchanged, read from the first exchanged layer on (METHODS h, 2, and n2).

Below that layer nothing changes, and before the image nothing does: of a neuron of layer l only the layers above l are
run, at the image tokens and the text behind them. The vision tower is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import DynamicCache

from ..caption.clean import Clean, Unfit, read_row
from ..caption.memory import row_bytes, rows_that_fit
from ..caption.reading import RowReading
from ..caption.shortcuts import Engine
from ..cures import out_of_memory
from ..errors import MODEL_ERRORS
from ..hooks import Tap
from ..hooks.skip import Enough
from ..models.inputs import Row
from ..models.loaded import LoadedModel
from ..models.placing import placing
from ..models.rounding import departs
from ..types import Site
from .picture_row import Activations
from .scores import Layout

#: Rows of one forward pass at most; more are no faster once the layers' matrix products are large.
ROWS = 64
#: Model -> what was tried, and under which settings -> what is left out, or why kept states are not used.
_PROVED: WeakKeyDictionary[LoadedModel, dict[object, Engine | str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Sets(RowReading):
    """Rows of one prompt, each with its own set of neurons exchanged.

    Attributes:
        state: the prompt and the caption so far, read without a change.
        chosen: [rows, neurons] on the flat axis of :class:`Layout`.
        values: what neurons are exchanged for.
        site: where.
        inert: whether what the last layer has at the image tokens is read by nothing.
        last: how many positions at the end have logits.
    """

    state: Clean
    chosen: Bool[Tensor, "rows neurons"]
    values: Activations
    site: Site
    last: int
    inert: bool

    @property
    def states(self) -> list[Clean]:
        """The one state for every row."""
        return [self.state] * len(self.chosen)

    @property
    def drafts(self) -> list[tuple[int, ...]]:
        """The caption so far."""
        return [self.state.fed] * len(self.chosen)

    @property
    def layers(self) -> frozenset[int]:
        """The layers in which some row has a neuron exchanged."""
        return layers_of(self.vlm, self.chosen.any(0).numpy(), inert=self.inert)

    @property
    def predictions(self) -> int:
        """As many as are asked for."""
        return self.last

    @property
    def plain(self) -> bool:
        """Whether neurons are exchanged, the coefficients of value vectors."""
        return self.site == "neuron"

    def add(self, hidden: Float[Tensor, "rows positions hidden"], at: Tensor) -> None:
        """sum_i (n'_i - n_i) w_i over each row's own neurons of the first layer."""
        chosen = self._of(self.first)
        columns = chosen.any(0).nonzero()[:, 0]
        matrix = self.vlm.structure.ffns[self.first].value_vectors().to(hidden)
        columns = columns.to(matrix.device)
        old = self.state.neurons(self.vlm, self.first)
        difference = (self.values[self.first].to(old) - old)[:, columns]
        own = chosen.to(difference.device)[:, None, columns]
        hidden[:, at] += ((difference * own) @ matrix[:, columns].T).to(hidden)

    def taps(self, begin: int) -> list[Tap]:
        """What exchanges neurons in the layers that are run."""
        at = torch.as_tensor(self.state.row.image.positions - begin)
        return [
            Tap(layer, self.site, exchange_at(at, self._of(layer), self.values[layer]))
            for layer in self.layers
            if layer >= self.start
        ]

    def _of(self, layer: int) -> Bool[Tensor, "rows width"]:
        start = Layout(self.vlm.widths).starts[layer]
        return self.chosen[:, start : start + self.vlm.widths[layer]]


#: The sets as they were read, keys and values, and logits of each: [rows, predictions, vocabulary].
_Read: TypeAlias = tuple[Sets, DynamicCache, Tensor]


def exchange_at(
    at: Tensor, chosen: Bool[Tensor, "rows width"], values: Float[Tensor, "positions width"]
) -> Callable[[Tensor], Tensor]:
    """Gives each row's own neurons the values at some positions, and leaves all else as it is."""

    def run(z: Float[Tensor, "rows sequence width"]) -> Tensor:
        where, own = at.to(z.device), chosen.to(z.device)[:, None, :]
        return z.index_copy(1, where, torch.where(own, values.to(z.device), z.index_select(1, where)))

    return run


def layers_of(vlm: LoadedModel, chosen: Bool[np.ndarray, "neurons"], *, inert: bool) -> frozenset[int]:
    """The layers of some neurons; without the last where nothing reads it (METHODS a, identity 4)."""
    starts = Layout(vlm.widths).starts
    studied = [layer for layer in vlm.structure.studied if not (inert and layer == vlm.layers - 1)]
    return frozenset(layer for layer in studied if chosen[starts[layer] : starts[layer] + vlm.widths[layer]].any())


@dataclass
class KeptStates:
    """Reads sets from the clean states of one row, where a trial shows that it gives what a plain pass gives.

    Attributes:
        vlm: the model.
        row: the prompt.
        fed: the caption so far.
        values: what neurons are exchanged for.
        site: where.
        last: how many positions at the end have logits.
        inert: whether what the last layer has at the image tokens is read by nothing.
        plain: layer -> why plain passes are made of sets that begin there; empty where kept states are used.
        used: layer -> what is left out.
    """

    vlm: LoadedModel
    row: Row
    fed: tuple[int, ...]
    values: Activations
    site: Site
    last: int
    inert: bool
    plain: dict[int, str] = field(default_factory=dict[int, str])
    used: dict[int, Engine] = field(default_factory=dict[int, Engine])

    @cached_property
    def state(self) -> Clean | str:
        """The clean states, or why there are none."""
        row = self.row
        if self.vlm.family.no_image or row.encoded or self.vlm.structure.generator is not None:
            return f"{self.vlm.family.title} does not read image and text in one decoder"
        if row.image.positions[-1] == row.length - 1 and not self.fed:
            return "the prompt ends with the image"
        try:
            return read_row(self.vlm, row, self.fed, ())
        except (*MODEL_ERRORS, Unfit) as error:
            return f"its states are not kept: {type(error).__name__}: {error}"

    @property
    def why(self) -> str:
        """Why there are no clean states; empty where there are."""
        return self.state if isinstance(self.state, str) else ""

    def rows(self, most: int) -> int:
        """How many sets are read together."""
        state = self.state
        if isinstance(state, str) or self.row.alone:
            return 1 if self.row.alone else most  # plain passes hold few rows each by themselves
        numbers = sum(k[:, 0].numel() + v[:, 0].numel() for k, v in zip(state.keys, state.values, strict=True))
        need = row_bytes(
            cached=numbers,
            width=6 * self.vlm.structure.hidden + 3 * max(self.vlm.widths),
            positions=self.row.length + len(self.fed),
            vocabulary=int(getattr(self.vlm.structure.unembedding, "out_features", 0)),
            predictions=self.last,
            itemsize=state.keys[0].element_size(),
        )
        return min(most, rows_that_fit(need, self.vlm.device))

    def read(
        self,
        chosen: Bool[np.ndarray, "rows neurons"],
        plainly: Callable[[Bool[np.ndarray, "rows neurons"]], Float[Tensor, "rows predictions vocabulary"]],
    ) -> _Read | None:
        """The sets as they were read, keys and values, and logits of each; None where plain passes are made.

        Every set has a neuron that is not inert. For each layer in which sets begin one is read by `plainly` as well,
        and kept states are used where the two agree: some models put the picture into their first layers again.
        """
        state = self.state
        if isinstance(state, str):
            return None
        first = min(layers_of(self.vlm, np.any(chosen, 0), inert=self.inert))
        reading: _Read | None = None
        if first not in self.plain:
            known, key = _PROVED.setdefault(self.vlm, {}), (first, self._settings)
            if key not in known:
                # One neuron changes little: all of the layers in which a set is are exchanged, so that a difference
                # shows.
                owner = np.repeat(np.arange(self.vlm.layers), self.vlm.widths)
                whole = np.isin(owner, list(layers_of(self.vlm, chosen[0], inert=self.inert)))
                known[key], tried = self._tried(state, whole[None], plainly)
                reading = tried if len(chosen) == 1 and bool(chosen[0][whole].all()) else None
            found = known[key]
            self.plain[first] = found if isinstance(found, str) else ""
            if isinstance(found, Engine):
                self.used[first] = found
        if self.plain[first]:
            return None
        return reading or self._read(state, chosen, self.used[first])

    @property
    def _settings(self) -> tuple[object, ...]:
        """What may decide whether kept states do; the weights do not: it is how the model is called."""
        vlm, row = self.vlm, self.row
        config: Any = vlm.model.config
        attention = getattr(config, "_attn_implementation", None)
        placed = (row.length, row.image.positions.tobytes(), len(self.fed), self.last, self.inert)
        return (self.site, vlm.dtype, str(vlm.device), attention, placing(vlm), *placed)

    def _tried(
        self, state: Clean, whole: Bool[np.ndarray, "one neurons"], plainly: Callable[..., Tensor]
    ) -> tuple[Engine | str, _Read | None]:
        """The strongest engine that gives what plain passes give, and what it read; or why none does."""
        expected, why = plainly(whole).float(), ""
        for engine in self._engines():
            try:
                reading = self._read(state, whole, engine)
                why = departs(self.vlm, reading[2], expected, "kept")
            except (*MODEL_ERRORS, Unfit, Enough) as error:
                if out_of_memory(error):
                    raise
                why = f"it cannot go on from kept states: {type(error).__name__}: {error}"
            else:
                if not why:
                    return engine, reading
        return why, None

    def _engines(self) -> Iterator[Engine]:
        vlm, engine = self.vlm, Engine()
        if any(weight.device.type == "meta" for weight in vlm.model.parameters()):
            # Accelerate takes the weights of a layer away when it ends; a pass that is cut short would keep them.
            engine = replace(engine, low_rank=False, short_last=False)
        if any(ffn.after is not None or ffn.experts for ffn in vlm.structure.ffns):
            engine = replace(engine, low_rank=False)
        yield from (weaker for weaker in engine.weaker() if weaker.draft)

    @torch.no_grad()
    def _read(self, state: Clean, chosen: Bool[np.ndarray, "rows neurons"], engine: Engine) -> _Read:
        rows = torch.from_numpy(chosen.copy())
        sets = Sets(self.vlm, engine, state, rows, self.values, self.site, self.last, self.inert)
        cache, logits = sets.read()
        assert logits is not None
        return sets, cache, logits


def by_first_layer(vlm: LoadedModel, sets: Sequence[Bool[np.ndarray, "neurons"]], *, inert: bool) -> list[int]:
    """Numbers of the sets in order of their first layers; those that change nothing are left out."""
    layers = [layers_of(vlm, one, inert=inert) for one in sets]
    return sorted((n for n, own in enumerate(layers) if own), key=lambda n: min(layers[n]))

"""Prompts and their known continuation read from the first changed layer on, out of clean states (METHODS h, 2).

With f the first changed layer, the residual stream behind it is

    x[p] = clean[p] + sum_i (n'_i[p] - n_i[p]) w_i          at image positions p

so that, where the FFN is added plainly, layer f itself is not run. What is run: the image positions, down to the keys
and values of the last layer; then the text behind the image, with tokens that are known already read ahead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from ..held import hooked
from ..hooks import HookSession, Tap
from ..hooks.skip import Enough, starting_at
from ..models.loaded import LoadedModel
from .clean import Clean, EndingCache, part_of, place_rows
from .shortcuts import Engine


@dataclass(frozen=True)
class RowReading(ABC):
    """Rows that are read together; what is changed in them a subclass says.

    Attributes:
        vlm: the model.
        engine: what is left out.
    """

    vlm: LoadedModel
    engine: Engine

    @property
    @abstractmethod
    def states(self) -> Sequence[Clean]:
        """The image of each row; prompts of one shape."""

    @property
    @abstractmethod
    def drafts(self) -> Sequence[tuple[int, ...]]:
        """The tokens that are read ahead in each row."""

    @property
    @abstractmethod
    def layers(self) -> frozenset[int]:
        """The layers in which some row is changed."""

    @property
    @abstractmethod
    def plain(self) -> bool:
        """Whether all changes of the first changed layer are of the coefficients of its value vectors."""

    @abstractmethod
    def add(self, hidden: Float[Tensor, "rows positions hidden"], at: Tensor) -> None:
        """Add what the first changed layer's changes do behind it to the residual stream at the image positions."""

    @abstractmethod
    def taps(self, begin: int) -> list[Tap]:
        """The changes of layers that are run; the first position of the pass is `begin`."""

    @cached_property
    def first(self) -> int:
        """The first changed layer of all rows."""
        return min(self.layers)

    @cached_property
    def start(self) -> int:
        """The first layer that is run."""
        low = self.engine.low_rank and self.first < self.vlm.layers - 1
        return self.first + 1 if low and self.plain else self.first

    @property
    @abstractmethod
    def predictions(self) -> int:
        """How many positions at the end have logits."""

    @property
    def length(self) -> int:
        """Positions of the prompt."""
        return self.states[0].row.length

    @torch.no_grad()
    def read(self) -> tuple[DynamicCache, Float[Tensor, "rows predictions vocabulary"] | None]:
        """Keys and values from layer `start` on, and the logits of the last `predictions` positions.

        Without a draft no logits, and the keys and values of all positions but the prompt's last.
        """
        vlm, layers = self.vlm, self.vlm.structure.layers
        image = self.states[0].row.image.positions
        begin = int(image[0]) if self.engine.prefix else 0
        end = int(image[-1]) + 1 if self.engine.draft else self.length - 1
        cache = EndingCache(vlm.model.config)
        if begin:
            self._fill(cache, range(vlm.layers), 0, begin)
        last = vlm.layers - 1
        changed = last in self.layers  # in vain, but then the layer is to be reached
        cache.ends_at = last if self.engine.short_last and not changed else None
        hidden = self._changed_residual(begin, end)
        taps = HookSession(vlm.structure, self.taps(begin))
        with vlm.frozen(), taps, starting_at(layers, self.start, hidden), suppress(Enough):
            self._forward(part_of(self.states, begin, end), cache)
        cache.ends_at = None
        if not self.engine.draft:
            return cache, None
        self._fill(cache, range(self.start), begin, end)
        longest = max(map(len, self.drafts))
        ids = torch.tensor([[*draft, *[0] * (longest - len(draft))] for draft in self.drafts], dtype=torch.long)
        until = self.length + longest
        place_rows(vlm, self.states)
        text = part_of(self.states, end, until, ids.to(vlm.device))
        head = hooked(vlm.structure.unembedding, "before", _in_one_product)
        with vlm.frozen(), head, starting_at(layers, self.start, self._clean_residual(end, until)):
            output = self._forward(text, cache, predictions=self.predictions)
        return cache, output.logits[:, -self.predictions :]

    def resumed(self, cache: DynamicCache, rows: Sequence[int], length: int) -> DynamicCache:
        """Keys and values of the first `length` positions of some rows in all layers, to go on from."""
        config: Any = self.vlm.model.config
        result = DynamicCache(config=config)
        states = [self.states[row] for row in rows]
        every = list(rows) == list(range(len(self.states)))
        for layer in range(self.vlm.layers):
            if layer < self.start:
                keys, values = (stacked(states, name, layer, 0, length) for name in ("keys", "values"))
            else:
                held: Any = cache.layers[layer]
                keys, values = held.keys[..., :length, :], held.values[..., :length, :]
                if not every:
                    at = torch.tensor(list(rows), device=keys.device)
                    keys, values = keys.index_select(0, at), values.index_select(0, at)
            result.update(keys, values, layer)
        return result

    def _forward(self, text: dict[str, Tensor], cache: DynamicCache, predictions: int = 1) -> Any:
        return self.vlm.model(**text, **self.vlm.last_only(predictions), past_key_values=cache, use_cache=True)

    def _fill(self, cache: DynamicCache, layers: range, begin: int, end: int) -> None:
        for layer in layers:
            keys, values = (stacked(self.states, name, layer, begin, end) for name in ("keys", "values"))
            cache.update(keys, values, layer)

    def _clean_residual(self, begin: int, end: int) -> Float[Tensor, "rows positions hidden"]:
        """What enters layer `start`; behind the end of a row's own caption its last position again, never read."""
        rows = [state.before[self.start] for state in self.states]
        longest = min(end, max(len(row) for row in rows))
        parts = [
            torch.cat([row, row[-1:].expand(longest - len(row), -1)]) if len(row) < longest else row for row in rows
        ]
        return torch.stack([part[begin:end] for part in parts])

    def _changed_residual(self, begin: int, end: int) -> Float[Tensor, "rows positions hidden"]:
        """The clean residual with the low-rank update of the first changed layer, where that layer is not run."""
        hidden = self._clean_residual(begin, end)
        if self.start > self.first:
            self.add(hidden, torch.as_tensor(self.states[0].row.image.positions - begin, device=hidden.device))
        return hidden


def _in_one_product(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    """Positions that were cut out of longer rows as one block of memory.

    From rows that lie apart torch makes one product each, and so reads the whole matrix anew for every row: 64 rows of
    one position took 0.69 s, and take 0.06 in one product (49,152 tokens, 576 numbers each).
    """
    return tuple(one.contiguous() if isinstance(one, Tensor) else one for one in given), named


def stacked(states: Sequence[Clean], name: str, layer: int, begin: int, end: int) -> Tensor:
    """Keys or values of a layer for each row; those of one image are one tensor that is seen several times."""
    held: list[Tensor] = [getattr(state, name)[layer] for state in states]
    if all(one is held[0] for one in held):
        return held[0][:, begin:end].expand(len(held), -1, -1, -1)
    return torch.stack([one[:, begin:end] for one in held])

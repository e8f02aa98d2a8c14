"""Prompts read under interventions, from the first changed layer on, out of clean states (METHODS h, 2).

With f the first changed layer, the residual stream behind it is

    x[p] = clean[p] + sum_i (n'_i[p] - n_i[p]) w_i          at image positions p

so that, where the FFN is added plainly, layer f itself is not run. What is run: the image positions, down to the keys
and values of the last layer; then the text behind the image, with the clean caption read ahead. Where the model's
prediction differs from that caption, writing begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from ..hooks import HookSession, Tap
from ..hooks.skip import Enough, starting_at
from ..intervene.operations import Intervention, Moment
from ..models.loaded import LoadedModel
from .clean import Clean, EndingCache, part_of, place_rows
from .shortcuts import Engine


@dataclass(frozen=True)
class Change:
    """An intervention as far as it can be noticed.

    Attributes:
        intervention: what is done.
        layers: layer -> units that are changed; without those that nothing reads.
    """

    intervention: Intervention
    layers: dict[int, tuple[int, ...]]

    @property
    def first(self) -> int:
        """The first changed layer."""
        return min(self.layers)


@dataclass(frozen=True)
class Job:
    """One row of a batch: a caption to be written.

    Attributes:
        state: the image.
        change: the intervention.
        draw: which of its draws.
    """

    state: Clean
    change: Change
    draw: int


@dataclass(frozen=True)
class Pass:
    """Rows that are read together.

    Attributes:
        vlm: the model.
        engine: what is left out.
        jobs: the rows; their prompts are of one shape, rows of one change stand together.
        ahead: how many tokens of the clean captions are read ahead at most.
    """

    vlm: LoadedModel
    engine: Engine
    jobs: tuple[Job, ...]
    ahead: int = 2**31

    @cached_property
    def drafts(self) -> list[tuple[int, ...]]:
        """The tokens of the clean caption that are read ahead in each row."""
        return [state.fed[: self.ahead] for state in self.states]

    @cached_property
    def states(self) -> list[Clean]:
        """The image of each row."""
        return [job.state for job in self.jobs]

    @cached_property
    def first(self) -> int:
        """The first changed layer of all rows."""
        return min(job.change.first for job in self.jobs)

    @cached_property
    def start(self) -> int:
        """The first layer that is run."""
        low = self.engine.low_rank and self.first < self.vlm.layers - 1
        return self.first + 1 if low and all(plainly_at(job.change, self.first) for job in self.jobs) else self.first

    @property
    def length(self) -> int:
        """Positions of the prompt."""
        return self.states[0].row.length

    @torch.no_grad()
    def read(self) -> tuple[DynamicCache, Float[Tensor, "rows predictions vocabulary"] | None]:
        """Keys and values from layer `start` on, and the logits behind the prompt and each token read ahead.

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
        changed = any(last in job.change.layers for job in self.jobs)  # in vain, but then the layer is to be reached
        cache.ends_at = last if self.engine.short_last and not changed else None
        hidden = self._changed_residual(begin, end)
        taps = HookSession(vlm.structure, self._taps(begin))
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
        with vlm.frozen(), starting_at(layers, self.start, self._clean_residual(end, until)):
            output = self._forward(text, cache, predictions=longest + 1)
        return cache, output.logits[:, -longest - 1 :]

    def resumed(self, cache: DynamicCache, rows: Sequence[int], length: int) -> DynamicCache:
        """Keys and values of the first `length` positions of some rows in all layers, to go on from."""
        config: Any = self.vlm.model.config
        result = DynamicCache(config=config)
        states = [self.states[row] for row in rows]
        every = list(rows) == list(range(len(self.jobs)))
        for layer in range(self.vlm.layers):
            if layer < self.start:
                keys, values = (_stacked(states, name, layer, 0, length) for name in ("keys", "values"))
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
            keys, values = (_stacked(self.states, name, layer, begin, end) for name in ("keys", "values"))
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
        """The clean residual with the low-rank update of layer `first`, where that layer is not run."""
        hidden = self._clean_residual(begin, end)
        if self.start == self.first:
            return hidden
        matrix = self.vlm.structure.ffns[self.first].value_vectors().to(hidden)
        at = torch.as_tensor(self.states[0].row.image.positions - begin, device=hidden.device)
        for rows, change, draws in self._groups:
            units = change.layers.get(self.first)
            if units is None:
                continue
            columns = torch.tensor(units, device=matrix.device)
            picked = [state.neurons(self.vlm, self.first)[:, columns] for state in self.states[rows]]
            old = torch.stack(picked)
            new = self._new(change, self.first, units, draws, old)
            hidden[rows, at] += ((new - old) @ matrix[:, columns].T).to(hidden)
        return hidden

    @cached_property
    def _groups(self) -> list[tuple[slice, Change, list[int]]]:
        """Rows of one change, and their draws."""
        result: list[tuple[slice, Change, list[int]]] = []
        start = 0
        for _, group in groupby(self.jobs, key=lambda job: id(job.change)):
            same = list(group)
            result.append((slice(start, start + len(same)), same[0].change, [job.draw for job in same]))
            start += len(same)
        return result

    def _new(self, change: Change, layer: int, units: tuple[int, ...], draws: list[int], old: Tensor) -> Tensor:
        rank = torch.arange(old.shape[1], device=old.device).expand(old.shape[:2])
        return change.intervention.change(old, Moment(layer, units, rank, torch.tensor(draws)))

    def _taps(self, begin: int) -> list[Tap]:
        wanted: dict[tuple[int, Any], list[tuple[slice, Change, list[int]]]] = {}
        for group in self._groups:
            for layer in group[1].layers:
                if layer >= self.start:
                    wanted.setdefault((layer, group[1].intervention.site), []).append(group)
        return [Tap(layer, site, self._tap(begin, layer, groups)) for (layer, site), groups in wanted.items()]

    def _tap(self, begin: int, layer: int, groups: list[tuple[slice, Change, list[int]]]):
        places = self.states[0].row.image.positions - begin

        def apply(z: Float[Tensor, "batch positions width"]) -> Tensor:
            z = z.clone()
            at = torch.as_tensor(places, device=z.device)[:, None]
            for rows, change, draws in groups:
                units = change.layers[layer]
                columns = torch.tensor(units, device=z.device)
                z[rows, at, columns] = self._new(change, layer, units, draws, z[rows, at, columns])
            return z

        return apply


def plainly_at(change: Change, layer: int) -> bool:
    """Whether a change of a layer is a sum of value vectors: it does nothing there, or acts on their coefficients."""
    return layer not in change.layers or change.intervention.site == "neuron"


def _stacked(states: Sequence[Clean], name: str, layer: int, begin: int, end: int) -> Tensor:
    """Keys or values of a layer for each row; those of one image are one tensor that is seen several times."""
    held: list[Tensor] = [getattr(state, name)[layer] for state in states]
    if all(one is held[0] for one in held):
        return held[0][:, begin:end].expand(len(held), -1, -1, -1)
    return torch.stack([one[:, begin:end] for one in held])

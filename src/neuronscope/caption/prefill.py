"""Prompts read under interventions out of clean states (reading.py), with the clean caption read ahead.

Where the model's prediction differs from that caption, writing begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..hooks import Tap
from ..intervene.operations import Intervention, Moment
from .clean import Clean
from .reading import RowReading


@dataclass(frozen=True)
class NoticedChange:
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
class CaptionRow:
    """One row of a batch: a caption to be written.

    Attributes:
        state: the image.
        change: the intervention.
        draw: which of its draws.
    """

    state: Clean
    change: NoticedChange
    draw: int


@dataclass(frozen=True)
class Pass(RowReading):
    """Rows under interventions that are read together.

    Attributes:
        jobs: the rows; their prompts are of one shape, rows of one change stand together.
        ahead: how many tokens of the clean captions are read ahead at most.
    """

    jobs: tuple[CaptionRow, ...]
    ahead: int = 2**31

    @property
    def drafts(self) -> list[tuple[int, ...]]:
        """The tokens of the clean caption that are read ahead in each row."""
        return [state.fed[: self.ahead] for state in self.states]

    @property
    def states(self) -> list[Clean]:
        """The image of each row."""
        return [job.state for job in self.jobs]

    @property
    def layers(self) -> frozenset[int]:
        """The layers in which some row is changed; those of the last layer in vain, but then it is to be reached."""
        return frozenset(layer for job in self.jobs for layer in job.change.layers)

    @property
    def predictions(self) -> int:
        """Behind the prompt and every token that is read ahead there are logits."""
        return max(map(len, self.drafts)) + 1

    @property
    def plain(self) -> bool:
        """Whether the first changed layer is changed at neurons."""
        return all(plainly_at(job.change, self.first) for job in self.jobs)

    def add(self, hidden: Float[Tensor, "rows positions hidden"], at: Tensor) -> None:
        """The low-rank update of each group of rows."""
        matrix = self.vlm.structure.ffns[self.first].value_vectors().to(hidden)
        for rows, change, draws in self._groups:
            units = change.layers.get(self.first)
            if units is None:
                continue
            columns = torch.tensor(units, device=matrix.device)
            picked = [state.neurons(self.vlm, self.first)[:, columns] for state in self.states[rows]]
            old = torch.stack(picked)
            new = self._new(change, self.first, units, draws, old)
            hidden[rows, at] += ((new - old) @ matrix[:, columns].T).to(hidden)

    @cached_property
    def _groups(self) -> list[tuple[slice, NoticedChange, list[int]]]:
        """Rows of one change, and their draws."""
        result: list[tuple[slice, NoticedChange, list[int]]] = []
        start = 0
        for _, group in groupby(self.jobs, key=lambda job: id(job.change)):
            same = list(group)
            result.append((slice(start, start + len(same)), same[0].change, [job.draw for job in same]))
            start += len(same)
        return result

    def _new(self, change: NoticedChange, layer: int, units: tuple[int, ...], draws: list[int], old: Tensor) -> Tensor:
        rank = torch.arange(old.shape[1], device=old.device).expand(old.shape[:2])
        return change.intervention.change(old, Moment(layer, units, rank, torch.tensor(draws)))

    def taps(self, begin: int) -> list[Tap]:
        """The interventions at the layers that are run."""
        wanted: dict[tuple[int, Any], list[tuple[slice, NoticedChange, list[int]]]] = {}
        for group in self._groups:
            for layer in group[1].layers:
                if layer >= self.start:
                    wanted.setdefault((layer, group[1].intervention.site), []).append(group)
        return [Tap(layer, site, self._tap(begin, layer, groups)) for (layer, site), groups in wanted.items()]

    def _tap(self, begin: int, layer: int, groups: list[tuple[slice, NoticedChange, list[int]]]):
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


def plainly_at(change: NoticedChange, layer: int) -> bool:
    """Whether a change of a layer is a sum of value vectors: it does nothing there, or acts on their coefficients."""
    return layer not in change.layers or change.intervention.site == "neuron"

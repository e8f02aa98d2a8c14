"""Which neurons are exchanged where not all can be: the best of every method for sure, the others by chance.

Of the others a neuron has the size

    x_i = 2/5 mean_m |a_m,i| / sum_j |a_m,j|      what methods score high may do much: precision, Pearson
        + 2/5 mean_m [rank_m,i < 500] / n_m       what methods rank high decides their recall
        + 1/5 / n                                 all of them: rank correlation, and what every method overlooks

and they are asked in the order of u_i / x_i with u_i drawn from (0, 1): sequential Poisson sampling (Ohlsson 1998). The
first m of that order are a sample in which a neuron is with chance pi_i = min(1, x_i tau), sum_i pi_i = m; so however
far a run has come, what it has asked is a sample with known chances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..errors import InvalidOption
from ..locate.scores import best_first
from .ordering import WITHIN


@dataclass(frozen=True)
class Drawing:
    """The order in which neurons are asked.

    Attributes:
        flat: [neurons] on the flat axis: those asked for sure, then the others.
        sizes: [others] x of the others, in that order.
    """

    flat: Int[np.ndarray, "neurons"]
    sizes: Float[np.ndarray, "others"]

    @classmethod
    def of(cls, scores: Mapping[str, Float[np.ndarray, "neurons"]], *, total: int, best: int, seed: int) -> Drawing:
        """By the scores of all `total` neurons of each method, whose `best` are asked for sure."""
        orders = {name: best_first(values) for name, values in scores.items()}
        sure = np.unique(np.concatenate([np.zeros(0, int), *(order[:best] for order in orders.values())]))
        others = np.setdiff1d(np.arange(total), sure)
        sizes = np.full(len(others), 0.2 / max(1, len(others)))
        for name, values in scores.items():
            inside = np.isin(others, orders[name][:WITHIN])
            for part in (np.abs(values[others].astype(float)), inside.astype(float)):
                sizes += 0.4 / len(scores) * part / max(float(part.sum()), np.finfo(float).tiny)
        keys = np.random.default_rng(seed).uniform(np.finfo(float).tiny, 1, len(others)) / sizes
        order = np.argsort(keys)
        return cls(np.concatenate([sure, others[order]]), sizes[order])

    @property
    def sure(self) -> int:
        """How many are asked for sure."""
        return len(self.flat) - len(self.sizes)

    def chances(self, asked: int) -> Float[np.ndarray, "neurons"]:
        """With what chance each neuron is among the first `asked`. Raises InvalidOption for fewer than are sure."""
        left = min(asked, len(self.flat)) - self.sure
        if left < 0:
            raise InvalidOption(f"{asked} neurons are fewer than the {self.sure} that are asked for sure")
        chances = np.zeros(len(self.sizes))
        certain = np.zeros(len(self.sizes), dtype=bool)
        while left > certain.sum():  # those of the largest sizes are in every sample of as many
            rest = self.sizes[~certain]
            chances[~certain] = rest / rest.sum() * (left - certain.sum())
            over = ~certain & (chances >= 1)
            if not over.any():
                break
            certain |= over
            chances[over] = 1
        return np.concatenate([np.ones(self.sure), chances])

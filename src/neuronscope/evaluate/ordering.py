"""How well a score orders the exact effects of single neurons, from all of them or from a sample.

Some neurons are asked for sure, others with a chance pi each (:mod:`.drawing`), so that each that was asked stands for
w = 1 / pi (Horvitz-Thompson), brought to the known number of the others (Hajek). With W(t) = sum of w over the neurons
whose effect is at least t:

    t_k              the largest t with W(t) >= k: the effect of the k-th best neuron
    precision at k   sum of w over the best k of the score with effect >= t_k, over k
    recall of k in n sum of w over the best n of the score with effect >= t_k, over W(t_k)
    Spearman         Pearson's correlation of ranks, both ranks and the correlation weighted by w

With all neurons asked w = 1, and these are the plain figures. Intervals resample the neurons that were drawn by chance;
what was asked for sure is the same in every replicate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InvalidOption
from ..fields import whole
from .statistics.estimate import Estimate, bootstrap_mean

#: Where precision is taken, and in how many of the best of a score the best true ones are looked for.
DEPTHS = (20, 100)
WITHIN = 500


@dataclass(frozen=True)
class Sampled:
    """Exact effects of some neurons.

    Attributes:
        values: [n] their effects.
        weights: [n] how many neurons each stands for; 1 for those that were asked for sure.
        drawn: [n] which were drawn by chance.
    """

    values: Float[np.ndarray, "n"]
    weights: Float[np.ndarray, "n"]
    drawn: Bool[np.ndarray, "n"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "n"], chances: Float[np.ndarray, "n"], total: int) -> Sampled:
        """Of `total` neurons: those with chance 1 were asked for sure, the others stand for all that were not."""
        drawn = chances < 1
        weights = 1 / chances
        if drawn.any():
            weights[drawn] *= (total - int((~drawn).sum())) / weights[drawn].sum()
        return cls(values, weights, drawn)


def precision(ranks: Int[np.ndarray, "n"], sampled: Sampled, k: int) -> float:
    """Of the best k of a score, the share that is among the k largest effects.

    Args:
        ranks: [n] the place of each asked neuron in the score's order over all neurons, 0 for the best.
        sampled: their effects.
        k: how many.
    """
    hits = (sampled.values >= kth_effect(sampled, k)) & (ranks < k)
    return min(1.0, float(sampled.weights[hits].sum()) / k)


def recall(ranks: Int[np.ndarray, "n"], sampled: Sampled, k: int, within: int = WITHIN) -> float:
    """Of the k largest effects, the share that is among the best `within` of a score; arguments as of precision."""
    true = sampled.values >= kth_effect(sampled, k)
    return float(sampled.weights[true & (ranks < within)].sum() / sampled.weights[true].sum())


def spearman(score: Float[np.ndarray, "n"], sampled: Sampled) -> float:
    """Rank correlation of a score and the effects over all neurons."""
    return _correlation(_ranks(score, sampled.weights), _ranks(sampled.values, sampled.weights), sampled.weights)


def pearson(score: Float[np.ndarray, "n"], sampled: Sampled) -> float:
    """Correlation of a score and the effects over all neurons."""
    return _correlation(score, sampled.values, sampled.weights)


#: Name -> figure of the asked neurons' scores, their ranks, and their effects.
FIGURES: Mapping[str, Callable[[Float[np.ndarray, "n"], Int[np.ndarray, "n"], Sampled], float]] = {
    **{f"precision at {k}": lambda _, ranks, sampled, k=k: precision(ranks, sampled, k) for k in DEPTHS},
    f"recall of {DEPTHS[-1]} in {WITHIN}": lambda _, ranks, sampled: recall(ranks, sampled, DEPTHS[-1]),
    "Spearman": lambda score, _, sampled: spearman(score, sampled),
    "Pearson": lambda score, _, sampled: pearson(score, sampled),
}


def figures(
    score: Float[np.ndarray, "n"],
    ranks: Int[np.ndarray, "n"],
    sampled: Sampled,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every figure of FIGURES of one score, with its 95 % interval; without width where nothing was drawn by chance.

    Args:
        score: [n] of the asked neurons.
        ranks: [n] their places in the score's order over all neurons, 0 for the best.
        sampled: their exact effects.
        replicates: of the bootstrap.
        seed: of the same.

    Raises InvalidOption for other numbers of scores than of effects, and for fewer than two.
    """
    if not len(score) == len(ranks) == len(sampled.values) or len(score) < 2:
        counts = f"{len(score)} scores, {len(ranks)} ranks and {len(sampled.values)} effects"
        raise InvalidOption(f"{counts}: at least 2, of the same neurons")
    rng, drawn = np.random.default_rng(seed), np.nonzero(sampled.drawn)[0]
    times = whole("replicates", replicates) if len(drawn) else 0
    samples: list[Sampled] = []
    for _ in range(times):
        counts = np.bincount(rng.integers(0, len(drawn), len(drawn)), minlength=len(drawn))
        weights = sampled.weights.copy()
        weights[drawn] *= counts
        samples.append(Sampled(sampled.values, weights, sampled.drawn))
    found: dict[str, Estimate] = {}
    for name, figure in FIGURES.items():
        value = figure(score, ranks, sampled)
        data = np.array([figure(score, ranks, one) for one in samples] or [value])
        found[name] = Estimate.of(value, data)
    return found


def mean_figures(pictures: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of every figure over several pictures, with intervals over pictures."""
    return {name: bootstrap_mean([one[name].value for one in pictures]) for name in FIGURES}


def kth_effect(sampled: Sampled, k: int) -> float:
    """t_k, the effect of the k-th best neuron; the smallest effect where there are not as many."""
    order = np.argsort(-sampled.values, kind="stable")
    reached = np.cumsum(sampled.weights[order])
    place = min(int(np.searchsorted(reached, k - 1e-9)), len(order) - 1)
    return float(sampled.values[order[place]])


def _ranks(values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Weighted ranks; ties share their mean."""
    levels, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights=weights, minlength=len(levels))
    return (np.cumsum(mass) - mass / 2)[place]


def _correlation(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], w: Float[np.ndarray, "n"]) -> float:
    """NaN where one of them is constant."""
    x, y = (v - np.average(v, weights=w) for v in (a, b))
    scale = float(np.sqrt((w * x * x).sum() * (w * y * y).sum()))
    return float((w * x * y).sum()) / scale if scale else float("nan")

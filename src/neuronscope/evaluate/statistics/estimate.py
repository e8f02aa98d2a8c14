"""A mean with its interval: of independent values, and of single effects (METHODS G4 i)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...errors import InvalidOption
from ..aggregate import j_of
from ..effect import Effect


@dataclass(frozen=True)
class Estimate:
    """A mean with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(values: Sequence[float], *, replicates: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of independent values; percentile bootstrap. Raises InvalidOption for no values."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise InvalidOption("there are no values to average")
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (replicates, len(data)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high))


def bootstrap_effects(effects: Sequence[Effect], *, replicates: int = 2_000, seed: int = 0) -> dict[str, Estimate]:
    """Mean S_se, S_re and J over concepts, with hierarchical bootstrap: concepts, then images, then draws.

    Raises InvalidOption for no effects.
    """
    if not effects:
        raise InvalidOption("there are no effects to average")
    rng = np.random.default_rng(seed)
    resampled = np.zeros((replicates, 2))
    for r in range(replicates):
        chosen = rng.integers(0, len(effects), len(effects))
        parts = [(1 - _resample(effects[k].own, rng), _resample(effects[k].others, rng)) for k in chosen]
        resampled[r] = np.mean(parts, axis=0)
    scores: dict[str, tuple[Callable[[Effect], float], Float[np.ndarray, "replicates"]]] = {
        "S_se": (lambda e: e.s_se, resampled[:, 0]),
        "S_re": (lambda e: e.s_re, resampled[:, 1]),
        "J": (lambda e: e.j, j_of(resampled[:, 0], resampled[:, 1])),
    }
    result: dict[str, Estimate] = {}
    for name, (score, draws) in scores.items():
        low, high = np.percentile(draws, [2.5, 97.5])
        result[name] = Estimate(float(np.mean([score(e) for e in effects])), float(low), float(high))
    return result


def _resample(hits: Bool[np.ndarray, "images draws"], rng: np.random.Generator) -> float:
    images, draws = hits.shape
    rows = rng.integers(0, images, images)
    return float(hits[rows[:, None], rng.integers(0, draws, (images, draws))].mean())

"""A mean with its interval: of independent values, and of single effects (METHODS G4 i)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...errors import InvalidOption
from ..aggregate import scores_of
from ..effect import Effect


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """For a file."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def of(cls, value: float, data: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
        """With percentiles of the replicates that are numbers. Raises InvalidOption for a confidence outside 0 to 1."""
        if not 0 < confidence < 1:
            raise InvalidOption(f"confidence={confidence} must lie between 0 and 1")
        low, high = np.nanpercentile(data, [50 * (1 - confidence), 50 * (1 + confidence)])
        return cls(value, float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(values: Sequence[float], *, replicates: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of independent values; percentile bootstrap. Raises InvalidOption for no values."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise InvalidOption("there are no values to average")
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (replicates, len(data)))].mean(1)
    return Estimate.of(float(data.mean()), means)


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
        parts = [(_resample(effects[k].own, rng), _resample(effects[k].others, rng)) for k in chosen]
        resampled[r] = np.mean(parts, axis=0)
    own = float(np.mean([effect.own.mean() for effect in effects]))
    others = float(np.mean([effect.others.mean() for effect in effects]))
    found = scores_of(*resampled.T)
    return {name: Estimate.of(value, found[name]) for name, value in scores_of(own, others).items()}


def _resample(hits: Bool[np.ndarray, "images draws"], rng: np.random.Generator) -> float:
    images, draws = hits.shape
    rows = rng.integers(0, images, images)
    return float(hits[rows[:, None], rng.integers(0, draws, (images, draws))].mean())

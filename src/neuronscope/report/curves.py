"""What a threshold had to choose from: how many neurons lie above each value, in the sample and in its controls.

accepted(t) = #{ S > t }          neurons of the sample above t
decoys(t)   = mean_m #{ D_m > t } the same in the controls, in which the concept cannot be the reason
share(t)    = (1 + decoys(t)) / max(1, accepted(t))   estimated share of false finds (METHODS G1 i)

It is kept while a method runs: a rule is asked with all of these scores, and answers with one number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..held import in_turn
from ..loading import VLM
from ..locate import Located, Method, TwoStage
from ..locate.thresholds import Cut, Threshold
from ..locate.validity import Validity
from ..samples.inpaint import Counterfactual
from ..types import Json

#: Points that a curve is thinned to; a page is about 600 pixels wide.
_POINTS = 240


@dataclass(frozen=True)
class Curve:
    """Counts by threshold, thresholds ascending.

    Attributes:
        thresholds: values of the score from 0 to its largest.
        accepted: neurons of the sample above each.
        decoys: mean over the controls; empty where the rule looked at none.
        chosen: the threshold; None where it keeps nothing.
        rule: the rule's own words.
        q: the accepted share of false finds, where the rule has one.
    """

    thresholds: tuple[float, ...]
    accepted: tuple[int, ...]
    decoys: tuple[float, ...]
    chosen: float | None
    rule: str
    q: float | None = None

    @classmethod
    def of(
        cls, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets _n"], cut: Cut, q: float | None = None
    ) -> Curve:
        """The curve of the scores that a rule was given; the chosen threshold is one of its points."""
        chosen = float(cut.threshold) if np.isfinite(cut.threshold) else None
        observed = np.unique(np.concatenate([[0.0], target[target > 0], decoys[decoys > 0].ravel()]))
        at = np.unique(np.linspace(0, len(observed) - 1, _POINTS).round().astype(int))
        # The right end, where few are left, is where thresholds are: keep every point of it.
        few = np.arange(max(0, len(observed) - _POINTS), len(observed))
        points = np.unique(np.concatenate([observed[np.union1d(at, few)], [] if chosen is None else [max(chosen, 0)]]))
        return cls(
            tuple(map(float, points)),
            tuple(map(int, _above(target, points))),
            tuple(map(float, _above(decoys.ravel(), points) / len(decoys))) if decoys.size else (),
            chosen,
            cut.rule,
            q,
        )

    @property
    def share(self) -> tuple[float, ...]:
        """Estimated share of false finds at each threshold, at most 1; empty without controls."""
        pairs = zip(self.accepted, self.decoys, strict=False)
        return tuple(min(1.0, (1 + wrong) / max(1, right)) for right, wrong in pairs)

    def to_dict(self) -> dict[str, Json]:
        """For a file."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        """The inverse of :meth:`to_dict`."""
        numbers = {name: tuple(data[name]) for name in ("thresholds", "accepted", "decoys")}
        return cls(**numbers, chosen=data["chosen"], rule=data["rule"], q=data["q"])


def _above(values: Float[np.ndarray, "n"], points: Float[np.ndarray, "_points"]) -> Float[np.ndarray, "_points"]:
    ordered = np.sort(values)
    return (len(ordered) - np.searchsorted(ordered, points, side="right")).astype(np.float64)


class _Watched:
    """A rule that remembers what it was asked; it decides nothing itself."""

    def __init__(self, rule: Threshold) -> None:
        self.rule = rule
        self.curve: Curve | None = None

    @property
    def needs_decoys(self) -> bool:
        return self.rule.needs_decoys

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        cut = self.rule.choose(target, decoys)
        self.curve = Curve.of(target, decoys, cut, getattr(self.rule, "q", None))
        return cut


@in_turn
def locate_watched(
    method: Method, vlm: VLM, pair: Counterfactual, validity: Validity | None = None
) -> tuple[Located, dict[str, Curve]]:
    """What a method locates and, for two-stage filtering, the curve behind each threshold, by name of the score.

    The result is what the method itself gives, its options included. Raises what the method raises.
    """
    if not isinstance(method, TwoStage) or not method.filters:
        return method.locate(vlm, pair, validity=validity), {}
    rules = dict(zip(("activation", "gradient"), map(_Watched, method.thresholds), strict=True))
    found = dataclasses.replace(method, **rules).locate(vlm, pair, validity=validity)  # pyright: ignore[reportArgumentType]
    neurons = dataclasses.replace(found.neurons, options=method.to_dict())
    curves = {name: rule.curve for name, rule in rules.items() if rule.curve is not None}
    return dataclasses.replace(found, neurons=neurons), curves

"""Where to cut a score: fixed numbers, a budget, the knee, or target-decoy control of the share of false finds.

A rule sees the scores of the sample (`target`) and of controls in which the concept cannot be the reason (`decoys`:
inpaintings elsewhere for stage 1, other nouns' logits for stage 2), and answers with a threshold and how it came
about. All comparisons are strict (METHODS b: at least one patch, strictly greater).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields
from ..given import checked_methods
from ..types import Json, one_of

#: A threshold whose finds are as likely false as true is no threshold.
_WORST = 0.5


@dataclass(frozen=True)
class Cut:
    """A threshold and its provenance.

    Attributes:
        threshold: keep scores strictly above; infinite when the rule can keep nothing.
        rule: the rule and its settings, in words a file can hold.
        achieved: estimated share of false finds among those kept; None where the rule has no estimate.
        decoys: how many control sets the estimate rests on.
    """

    threshold: float
    rule: str
    achieved: float | None = None
    decoys: int = 0

    def to_dict(self) -> dict[str, Json]:
        """For neurons.json; an infinite threshold is written as null."""
        value = self.threshold if np.isfinite(self.threshold) else None
        return {"threshold": value, "rule": self.rule, "achieved": self.achieved, "decoys": self.decoys}


@runtime_checkable
class Threshold(Protocol):
    """A way to choose the threshold of one stage."""

    @property
    def needs_decoys(self) -> bool:
        """Whether controls have to be computed for it."""
        ...

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """The cut for these scores."""
        ...


@checked_methods
@dataclass(frozen=True)
class Fixed:
    """A number set by hand (the paper sets two per sample; Table IV)."""

    value: float
    needs_decoys: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """The number itself."""
        return Cut(float(self.value), f"fixed({self.value:g})")


@checked_methods
@dataclass(frozen=True)
class Budget:
    """The threshold that keeps the `count` highest scores (fewer where the next one ties)."""

    count: int
    needs_decoys: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.count < 1:
            raise InvalidOption(f"count={self.count}: Budget needs at least one neuron")

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """The largest score that is not kept."""
        ordered = np.sort(target)[::-1]
        cut = float(ordered[self.count]) if self.count < len(ordered) else -np.inf
        return Cut(max(cut, 0.0), f"budget({self.count})")


@checked_methods
@dataclass(frozen=True)
class Knee:
    """The knee of the sorted positive scores: the point farthest below the line from the largest to the smallest."""

    needs_decoys: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """The score at the knee."""
        ordered = np.sort(target[target > 0])[::-1]
        if len(ordered) < 3:
            return Cut(0.0, "knee")
        x = np.linspace(0, 1, len(ordered))
        y = (ordered - ordered[-1]) / max(ordered[0] - ordered[-1], 1e-30)
        return Cut(float(ordered[int(np.argmax(1 - x - y))]), "knee")


@checked_methods
@dataclass(frozen=True)
class TargetDecoy:
    """The lowest threshold whose estimated share of false finds is at most q (METHODS G1 i).

        t = min { t >= 0 : [1 + mean_m #{D_m > t}] / max(1, #{S > t}) <= q }

    The 1 keeps the estimate honest when no decoy exceeds t: it is then 1 / #accepted, never 0.

    Going down from the top, the estimate first falls below q, rises above it where true finds end, and can fall again
    near 0, where hundreds of neurons have some tiny effect on the concept's word and fewer on any one other word.

    Attributes:
        q: accepted share of false finds.
        scan: "lowest" is the formula: the estimate made monotone by its running minimum from the laxest threshold, as
            q-values are (Kall et al. 2008), so that a laxer q never keeps fewer (METHODS n7). "down" stops at that
            rise, at the lowest threshold down to which the estimate stays at most q: fewer false finds where a crowd of
            tiny effects lies near 0, but not monotone, for under a laxer q the way may begin higher up and end there.
        fallback: what to do when no threshold reaches q: keep nothing ("none"), or take the threshold with the lowest
            estimate, as long as that is at most a half ("best"). The achieved estimate is stored either way.
    """

    q: float = 0.1
    scan: Literal["lowest", "down"] = "lowest"
    fallback: Literal["best", "none"] = "best"
    needs_decoys: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.q < 1:
            raise InvalidOption(f"TargetDecoy needs 0 < q < 1, got {self.q}")
        one_of("scan", self.scan, ("lowest", "down"))
        one_of("fallback", self.fallback, ("best", "none"))

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """See the formula above; the estimate only changes at observed scores, so those are the candidates."""
        rule = f"target_decoy({self.q:g}, {self.scan})"
        if not len(decoys):
            raise InvalidSample(
                "target-decoy thresholds need at least one control, and none could be made for this sample: the edit "
                "leaves nothing of the picture to inpaint elsewhere, or changes no activation. photographs=... "
                "(--control PICTURE) takes them from other pictures; Budget, Knee and Fixed need none"
            )
        pool = np.sort(decoys.ravel())
        kept = np.sort(target)
        candidates = np.unique(np.concatenate([[0.0], target[target > 0], pool[pool > 0]]))
        accepted = len(kept) - np.searchsorted(kept, candidates, side="right")
        exceed = (len(pool) - np.searchsorted(pool, candidates, side="right")) / len(decoys)
        estimate = (1 + exceed) / np.maximum(1, accepted)
        good = np.nonzero((estimate <= self.q) & (accepted > 0))[0]
        if len(good):
            run = np.nonzero(np.diff(good) > 1)[0]  # where the estimate was above q in between
            chosen = good[run[-1] + 1] if self.scan == "down" and len(run) else good[0]
            return Cut(float(candidates[chosen]), rule, float(estimate[chosen]), len(decoys))
        best = int(estimate.argmin())
        if self.fallback == "none" or estimate[best] > _WORST or not accepted[best]:
            return Cut(float("inf"), rule, float(estimate[best]), len(decoys))
        return Cut(float(candidates[best]), f"{rule}, not reached: best", float(estimate[best]), len(decoys))

"""What a finished evaluation found, in the form that the tables and figures are made from.

Trials, not scores, are kept: shares, intervals and tests all come from the same hits. A method's name may carry options
("two-stage:site=act"); what stands before the colon is the method that the published tables know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import InvalidOption
from ...evaluate import Scored, Trials, average
from ...types import Json, one_of
from ...view.figures import LayerCounts, SweepPoint
from .settings import REFERENCE


@dataclass(frozen=True)
class CaptionScore:
    """How alike the captions of one group and their references are.

    Attributes:
        value: mean over pairs, in the metric's unit.
        pairs: how many pairs it is the mean of.
        provenance: how it was made; equal in all scores that are averaged.
    """

    value: float
    pairs: int
    provenance: Mapping[str, Json]


@dataclass(frozen=True)
class PlantedAgreement:
    """How a method's sets agree with the planted neurons: one number per sample, 0 to 1."""

    precision: Sequence[float]
    recall: Sequence[float]
    average_precision: Sequence[float]


@dataclass(frozen=True)
class GroupTest:
    """One group against layer-matched random sets (METHODS G4 iii).

    Attributes:
        concept, source: the group's concept, and the image it was located in.
        p: empirical p.
        adjusted: after Benjamini-Hochberg over all groups.
    """

    concept: str
    source: str
    p: float
    adjusted: float


@dataclass(frozen=True)
class Scope:
    """Conditions that are averaged, each with the same weight.

    Attributes:
        name: what tables call it.
        conditions: their names.
        pooled: whether these are all noise levels, as in the last row of Table II.
    """

    name: str
    conditions: tuple[str, ...]
    pooled: bool = False


@dataclass(frozen=True)
class Results:
    """Everything that is known at the end of a run, or so far.

    Attributes:
        methods, concepts, conditions: names, in the order of the tables.
        hits: (method, condition) -> the trials of every concept, in the order of `concepts`, each of the one level of
            the condition: the noise level, or 0 for what has none (an ablation). Pairs that are not there are not
            finished, and named in the tables.
        captions: (method, condition, metric) -> concept -> one score per group.
        agreement: method -> agreement with planted neurons; None for models whose neurons nobody knows.
        layers: method -> neurons per layer.
        widths: neurons that each layer has.
        localisation: method -> one mapping per sample from figures (see meaning/localisation.py) to numbers.
        sizes: method -> number of neurons of every sample's set.
        refusals: method -> why it refused samples, one reason for each; it has no set there.
        unpaired: samples that are in no comparison, because some method refused them.
        rejections: condition that samples failed -> how many candidates.
        settings: those of run.json.
        missing: concept that has too few samples -> how many it lacks and why. A concept without any sample is in
            `concepts` only where the run stopped because of it.
        environments: versions and machines of run.json.
        random_p: empirical p of every group of the method under study, where random sets were run.
        sweeps: option that was varied -> its values and what they led to.
        matching: way to match a concept's name -> `hits` of the same captions by it; what the tables use is one.
    """

    methods: tuple[str, ...]
    concepts: tuple[str, ...]
    conditions: tuple[str, ...]
    hits: Mapping[tuple[str, str], Sequence[Trials]]
    captions: Mapping[tuple[str, str, str], Mapping[str, Sequence[CaptionScore]]]
    agreement: Mapping[str, PlantedAgreement] | None
    layers: Mapping[str, LayerCounts]
    widths: tuple[int, ...]
    localisation: Mapping[str, Sequence[Mapping[str, float | None]]]
    sizes: Mapping[str, Sequence[int]]
    rejections: Mapping[str, int]
    settings: Mapping[str, Json]
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    refusals: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    unpaired: int = 0
    environments: Sequence[Mapping[str, Json]] = ()
    random_p: Sequence[GroupTest] | None = None
    sweeps: Mapping[str, Sequence[SweepPoint]] = field(default_factory=dict[str, Sequence[SweepPoint]])
    matching: Mapping[str, Mapping[tuple[str, str], Sequence[Trials]]] = field(
        default_factory=dict[str, Mapping[tuple[str, str], Sequence[Trials]]]
    )

    def __post_init__(self) -> None:
        """Raise InvalidOption for names that are not listed, and trials that are not those of the concepts."""
        for name, listed in (("methods", self.methods), ("concepts", self.concepts), ("conditions", self.conditions)):
            if not listed or len(set(listed)) < len(listed):
                raise InvalidOption(f"{name}={list(listed)} must list at least one, each once")
        by_method = (self.layers, self.localisation, self.sizes, self.agreement or {})
        for method in (name for table in by_method for name in table):
            one_of("method", method, self.methods)
        for method, condition in [*self.hits, *((m, c) for m, c, _ in self.captions)]:
            one_of("method", method, self.methods)
            one_of("condition", condition, self.conditions)
        for (method, condition), trials in self.hits.items():
            self._check(f"hits of {method!r} under {condition!r}", trials)
        for (method, condition, metric), scores in self.captions.items():
            for concept in scores:
                one_of(f"concept of {metric!r} of {method!r} under {condition!r}", concept, self.concepts)
        for method, counts in self.layers.items():
            if len(counts.unique) != len(self.widths):
                raise InvalidOption(
                    f"layers of {method!r} are counted in {len(counts.unique)} layers; there are {len(self.widths)}"
                )

    def _check(self, what: str, trials: Sequence[Trials]) -> None:
        found = [one.concept for one in trials]
        if found != list(self.concepts):
            raise InvalidOption(f"{what} are of the concepts {found}; expected {list(self.concepts)}")
        levels = {one.levels for one in trials}
        if len(levels) > 1 or len(trials[0].levels) != 1:
            raise InvalidOption(f"{what} have the levels {sorted(levels)}; expected one level, the same everywhere")

    @property
    def reference(self) -> str | None:
        """The method under study: the first two-stage filtering."""
        return next((method for method in self.methods if base(method) == REFERENCE), None)

    @property
    def controls(self) -> frozenset[str]:
        """The methods that choose at random."""
        return frozenset(method for method in self.methods if base(method).startswith("random"))

    def level(self, condition: str) -> float | None:
        """The noise level of a condition; None for an ablation, and while nothing of it is finished."""
        found = (self.hits[m, c][0].levels[0] for m, c in self.hits if c == condition)
        return next(found, None) or None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What means are taken over: all noise levels, where there are several, then every condition by itself."""
        noise = tuple(name for name in self.conditions if self.level(name) is not None)
        pooled = (Scope("mean of noise levels", noise, pooled=True),) if len(noise) > 1 else ()
        done = {condition for _, condition in self.hits}
        return (*pooled, *(Scope(name, (name,)) for name in self.conditions if name in done))

    @property
    def unfinished(self) -> tuple[tuple[str, str], ...]:
        """Pairs of method and condition that have no trials yet; a method that refused every sample has none."""
        able = [m for m in self.methods if self.sizes.get(m) or not self.refusals.get(m)]
        return tuple((m, c) for m in able for c in self.conditions if (m, c) not in self.hits)

    def finished(self, scope: Scope) -> tuple[str, ...]:
        """Methods that have every condition of a scope."""
        return tuple(m for m in self.methods if all((m, c) in self.hits for c in scope.conditions))

    def trials(self, method: str, scope: Scope) -> tuple[Trials, ...] | None:
        """A method's trials with the conditions of a scope as levels; None when some are not finished."""
        parts = [self.hits.get((method, condition)) for condition in scope.conditions]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        return tuple(_stacked([part[k] for part in found]) for k in range(len(self.concepts)))

    def caption_means(self, method: str, scope: Scope, metric: str) -> Mapping[str, float] | None:
        """Concept -> mean over conditions and groups; None when something is not there.

        Raises RunMismatch when scores were made differently.
        """
        means = [self.captions.get((method, condition, metric)) for condition in scope.conditions]
        found = [part for part in means if part is not None]
        if len(found) < len(means) or any(concept not in part for part in found for concept in self.concepts):
            return None
        return {k: average([_scored(score) for part in found for score in part[k]]) for k in self.concepts}

    def caption_pairs(self, method: str, scope: Scope, metric: str) -> int:
        """How many pairs of captions such means are made of."""
        parts = (self.captions.get((method, condition, metric), {}) for condition in scope.conditions)
        return sum(score.pairs for part in parts for scores in part.values() for score in scores)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the caption metrics, in the order in which they were given."""
        return tuple(dict.fromkeys(metric for _, _, metric in self.captions))

    def provenance(self, metric: str) -> Iterable[Mapping[str, Json]]:
        """How the scores of a metric were made: one entry per score."""
        for (_, _, name), concepts in self.captions.items():
            if name == metric:
                yield from (score.provenance for scores in concepts.values() for score in scores)


def base(method: str) -> str:
    """The method without its options."""
    return method.partition(":")[0]


def _stacked(parts: Sequence[Trials]) -> Trials:
    """Trials of one concept under several conditions as levels of one. Raises InvalidOption where they differ."""
    shapes = {part.hits.shape for part in parts}
    if len(shapes) > 1:
        raise InvalidOption(f"hits of {parts[0].concept!r} have different shapes in the noise levels: {sorted(shapes)}")
    levels = tuple(level for part in parts for level in part.levels)
    return replace(parts[0], hits=np.concatenate([part.hits for part in parts], axis=1), levels=levels)


def _scored(score: CaptionScore) -> Scored:
    return Scored(np.array([score.value]), score.provenance)

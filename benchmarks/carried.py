"""The tables of benchmarks.carry_over: what was recovered, by where the neurons come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from neuronscope.evaluate import Estimate, bootstrap_mean
from neuronscope.locate.pooling import Scale
from neuronscope.report.markdown import table
from neuronscope.types import Json

#: Resamples of photographs.
REPLICATES = 10_000


@dataclass(frozen=True)
class Row:
    """Where a set of neurons comes from.

    Attributes:
        origin: "own", "one of the concept", "one of another", "pooled", "pooled, another", or "random".
        ranking: of the scores.
        scale, join: how they were pooled; "against" in the join: less the same of all photographs of other concepts.
        photographs: how many.
    """

    origin: str
    ranking: str
    scale: Scale = "effect"
    join: str = "mean"
    photographs: int = 1


@dataclass(frozen=True)
class Tested:
    """One photograph that was patched.

    Attributes:
        name, concept, kind: which one, and whether it is "plain" or a "composite".
        caption, edited: what the model says to both pictures.
        effect: of the edit.
        shares: recovered by every set.
    """

    name: str
    concept: str
    kind: str
    caption: str
    edited: str
    effect: float
    shares: tuple[tuple[Row, float], ...]

    def mean(self, origin: str, ranking: str, scale: str | None = None, join: str = "mean") -> float:
        """Of the sets of one kind, with as many photographs as there were; NaN where there is none."""
        rows = [
            (row.photographs, share)
            for row, share in self.shares
            if (row.origin, row.ranking) == (origin, ranking) and scale in (None, row.scale) and row.join == join
        ]
        most = max((count for count, _ in rows), default=0)
        return float(np.mean([share for count, share in rows if count == most] or [np.nan]))

    def to_dict(self) -> dict[str, Json]:
        """For the file of numbers."""
        sets: list[Json] = [{**asdict(row), "share": share} for row, share in self.shares]
        return {**{key: value for key, value in vars(self).items() if key != "shares"}, "shares": sets}


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Mean of one over mean of the other, photographs resampled together."""
    pairs = np.array([above, below]).T
    rng = np.random.default_rng(0)
    means = pairs[rng.integers(0, len(pairs), (REPLICATES, len(pairs)))].mean(1)
    return Estimate.of(float(pairs[:, 0].mean() / pairs[:, 1].mean()), means[:, 0] / means[:, 1])


def over_concepts(tested: Sequence[Tested], value: Callable[[Tested], float]) -> Estimate:
    """Mean over concepts of means over their photographs, concepts resampled."""
    groups: dict[str, list[float]] = defaultdict(list)
    for one in tested:
        groups[one.concept].append(value(one))
    return bootstrap_mean([float(np.mean(values)) for values in groups.values()])


def pages(tested: Sequence[Tested], main: str, rankings: Sequence[str], ways: Sequence[tuple[str, str]]) -> str:
    """All tables, as Markdown."""
    kinds = {kind: [one for one in tested if one.kind == kind] for kind in ("plain", "composite")}
    counts = " and ".join(f"{len(of)} {kind}" for kind, of in kinds.items())
    concepts = sorted({one.concept for one in tested})
    return "\n\n".join(
        [
            f"{len(tested)} photographs ({counts}) of {len(concepts)} concepts: {', '.join(concepts)}.",
            "## By origin\n\n" + _origins(tested, kinds, main),
            "## Differences\n\n" + _differences(tested, kinds, main),
            "## By ranking\n\n" + _rankings(tested, rankings),
            "## Ways to pool\n\n" + _ways(tested, main, ways),
            "## By number of photographs\n\n" + _growth(tested, main),
            "## By concept\n\n" + _concepts(tested, main, concepts),
        ]
    )


def _origins(tested: Sequence[Tested], kinds: dict[str, list[Tested]], main: str) -> str:
    origins = ("own", "pooled", "one of the concept", "pooled, another", "one of another", "random")
    groups = {"all": list(tested), **{kind: of for kind, of in kinds.items() if of}}
    lines = [
        (origin, *(str(bootstrap_mean([_of(one, origin, main) for one in of])) for of in groups.values()))
        for origin in origins
    ]
    return table(("neurons from", *groups), lines)


def _of(one: Tested, origin: str, main: str) -> float:
    if origin == "random":
        return one.mean(origin, "")
    return one.mean(origin, main, "effect")


def _differences(tested: Sequence[Tested], kinds: dict[str, list[Tested]], main: str) -> str:
    def lines() -> Iterator[tuple[str, str, str]]:
        groups = {"all": list(tested), **{kind: of for kind, of in kinds.items() if of}}
        for above, below in (("one of the concept", "one of another"), ("pooled", "pooled, another")):
            for name, of in groups.items():

                def less(one: Tested, above: str = above, below: str = below) -> float:
                    return _of(one, above, main) - _of(one, below, main)

                each = bootstrap_mean([less(one) for one in of])
                yield f"{above} - {below}, {name}", str(each), str(over_concepts(of, less))
        for name, of in groups.items():
            above, below = ([_of(one, origin, main) for one in of] for origin in ("pooled", "pooled, another"))
            yield f"pooled / pooled, another, {name}", str(ratio(above, below)), ""

    return table(("", "over photographs", "over concepts"), lines())


def _rankings(tested: Sequence[Tested], rankings: Sequence[str]) -> str:
    origins = ("own", "pooled", "one of the concept", "pooled, another", "one of another")
    lines = [
        (ranking, *(str(bootstrap_mean([one.mean(origin, ranking, "effect") for one in tested])) for origin in origins))
        for ranking in rankings
    ]
    return table(("ranking", *origins), lines)


def _ways(tested: Sequence[Tested], main: str, ways: Sequence[tuple[str, str]]) -> str:
    def line(scale: str, join: str) -> tuple[str, ...]:
        same, other = (
            [one.mean(origin, main, scale, join) for one in tested] for origin in ("pooled", "pooled, another")
        )
        less = bootstrap_mean([a - b for a, b in zip(same, other, strict=True)])
        return f"{scale}, {join}", *map(str, (bootstrap_mean(same), bootstrap_mean(other), less, ratio(same, other)))

    return table(("way", "pooled", "pooled, another", "difference", "ratio"), [line(*way) for way in ways])


def _growth(tested: Sequence[Tested], main: str) -> str:
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in tested:
        for row, share in one.shares:
            of = row.ranking, row.scale, row.join
            if of == (main, "effect", "mean") and row.origin in ("pooled", "one of the concept"):
                found[row.photographs][one.name].append(share)
    lines = [
        (str(count), str(len(of)), str(bootstrap_mean([float(np.mean(shares)) for shares in of.values()])))
        for count, of in sorted(found.items())
    ]
    return table(("photographs pooled", "tested on", "share"), lines)


def _concepts(tested: Sequence[Tested], main: str, concepts: Sequence[str]) -> str:
    origins = ("own", "pooled", "one of the concept", "pooled, another", "one of another")

    def line(concept: str) -> tuple[str, ...]:
        of = [one for one in tested if one.concept == concept]
        plain = sum(one.kind == "plain" for one in of)
        means = (np.mean([_of(one, origin, main) for one in of]) for origin in origins)
        return concept, f"{plain} + {len(of) - plain}", *(f"{mean:.2f}" for mean in means)

    return table(("concept", "plain + composite", *origins), [line(concept) for concept in concepts])

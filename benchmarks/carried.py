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


#: The ranking, and the way to pool, were chosen on so many photographs, the first.
CHOSEN_ON = 14
#: How photographs are pooled where nothing else is said.
WAY: tuple[Scale, str] = ("largest", "mean")


@dataclass(frozen=True)
class Row:
    """Where a set of neurons comes from.

    Attributes:
        origin: "own", "one of the concept", "one of another", "pooled", "pooled, another", or "random".
        ranking: of the scores.
        scale, join: how they were pooled; "less w" in the join: less w times the same of other concepts, their mean.
        photographs: how many.
    """

    origin: str
    ranking: str
    scale: Scale = WAY[0]
    join: str = WAY[1]
    photographs: int = 1


@dataclass(frozen=True)
class Carried:
    """What one set does to the photograph that was left out.

    Attributes:
        row: where the set comes from.
        share: of the edit's effect that it recovers.
        gone: whether the caption no longer names the object; None where none was written.
    """

    row: Row
    share: float
    gone: bool | None = None


@dataclass(frozen=True)
class Tested:
    """One photograph that was patched.

    Attributes:
        name, concept, kind: which one, and whether it is "plain" or a "composite".
        caption, edited: what the model says to both pictures.
        effect: of the edit.
        sets: what every set does.
    """

    name: str
    concept: str
    kind: str
    caption: str
    edited: str
    effect: float
    sets: tuple[Carried, ...]

    def mean(self, origin: str, ranking: str, scale: str, join: str) -> float:
        """Of the sets of one kind, with as many photographs as there were; NaN where there is none."""
        some = [
            one
            for one in self.sets
            if (one.row.origin, one.row.ranking) == (origin, ranking) and (one.row.scale, one.row.join) == (scale, join)
        ]
        most = max((one.row.photographs for one in some), default=0)
        return float(np.mean([one.share for one in some if one.row.photographs == most] or [np.nan]))

    def gone(self, origin: str) -> float:
        """Whether the object's word was gone with a set of one kind, the mean over those captioned."""
        return float(np.mean([one.gone for one in self.sets if one.row.origin == origin and one.gone is not None]))

    def captioned(self, origin: str) -> bool:
        """Whether a caption was written with a set of one kind."""
        return any(one.gone is not None for one in self.sets if one.row.origin == origin)

    def to_dict(self) -> dict[str, Json]:
        """For the file of numbers."""
        sets: list[Json] = [{**asdict(one.row), "share": one.share, "gone": one.gone} for one in self.sets]
        return {**vars(self), "sets": sets}


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
    kinds["not chosen on"] = list(tested[CHOSEN_ON:])
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
        (
            origin,
            *(str(bootstrap_mean([_of(one, origin, main) for one in of])) for of in groups.values()),
            str(bootstrap_mean([one.gone(origin) for one in tested])) if tested[0].captioned(origin) else "",
        )
        for origin in origins
    ]
    return table(("neurons from", *(f"share, {name}" for name in groups), "word gone"), lines)


def _of(one: Tested, origin: str, main: str) -> float:
    if origin == "random":
        return one.mean(origin, "", *WAY)
    return one.mean(origin, main, *WAY)


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
        (ranking, *(str(bootstrap_mean([one.mean(origin, ranking, *WAY) for one in tested])) for origin in origins))
        for ranking in rankings
    ]
    return table(("ranking", *origins), lines)


def _ways(tested: Sequence[Tested], main: str, ways: Sequence[tuple[str, str]]) -> str:
    """Every way, and what comes of choosing one for each concept by the difference on all other concepts."""

    def both(one: Tested, way: tuple[str, str]) -> tuple[float, float]:
        return one.mean("pooled", main, *way), one.mean("pooled, another", main, *way)

    def line(name: str, pairs: Sequence[tuple[float, float]]) -> tuple[str, ...]:
        same, other = zip(*pairs, strict=True)
        less = bootstrap_mean([a - b for a, b in pairs])
        return name, *map(str, (bootstrap_mean(same), bootstrap_mean(other), less, ratio(same, other)))

    def best(concept: str) -> tuple[str, str]:
        rest = [one for one in tested if one.concept != concept] or tested
        return max(ways, key=lambda way: float(np.mean([np.subtract(*both(one, way)) for one in rest])))

    chosen = {concept: best(concept) for concept in {one.concept for one in tested}}
    lines = [line(", ".join(way), [both(one, way) for one in tested]) for way in ways]
    lines.append(line("chosen on the other concepts", [both(one, chosen[one.concept]) for one in tested]))
    return table(("way", "pooled", "pooled, another", "difference", "ratio"), lines)


def _growth(tested: Sequence[Tested], main: str) -> str:
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in tested:
        for row, share in ((each.row, each.share) for each in one.sets):
            of = row.ranking, row.scale, row.join
            if of == (main, *WAY) and row.origin in ("pooled", "one of the concept"):
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

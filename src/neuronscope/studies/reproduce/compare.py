"""Methods side by side: scores with intervals, differences with tests (METHODS d, G4).

value      the table's own: groups, then levels, then concepts
interval   95 %, hierarchical bootstrap of all methods together (statistics/bootstrap.py), so differences are paired
S_mean     (J + 1) / 2, and so are the ends of its interval
p          sign flips of the differences of concepts, two-sided
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import InvalidSample
from ...evaluate import Estimate, Resampled, ScoreCell, ScoreTable, Trials, aggregate, bootstrap_trials, sign_flip
from ...fields import check_fields
from .results import Results, Scope

#: Name of a score -> the same of a cell.
SCORES = {"S_se": "s_se", "S_re": "s_re", "J": "j"}
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statistics:
    """How sure the tables are.

    Attributes:
        replicates: of the bootstrap behind means and differences.
        cell_replicates: of the bootstrap behind single cells, of which there are many.
        seed: of both.
    """

    replicates: int = 10_000
    cell_replicates: int = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Compared:
    """All methods that are finished in one scope.

    Attributes:
        scope: what the means are taken over.
        tables: method -> its cells.
        resampled: their scores.
        held_out: the same without each group's own image in S_se; a sentence where that cannot be had.
    """

    scope: Scope
    tables: Mapping[str, ScoreTable]
    resampled: Resampled
    held_out: Resampled | str

    def estimates(self, method: str) -> dict[str, Estimate]:
        """S_se, S_re, S_mean and J of a method, under the names that cells use."""
        return _estimates(self.resampled, method)

    def held_out_s_se(self, method: str) -> Estimate | None:
        """S_se on images that the groups were not located in."""
        if isinstance(self.held_out, str):
            return None
        return self.held_out.estimate(method, "S_se", confidence=CONFIDENCE)


@dataclass(frozen=True)
class Difference:
    """A score of one method minus that of another.

    Attributes:
        estimate: mean over concepts, paired.
        p: of the sign-flip test.
        exact: whether all sign patterns were counted.
    """

    estimate: Estimate
    p: float
    exact: bool


def compare(results: Results, scope: Scope, statistics: Statistics) -> Compared:
    """Score all methods that have every condition of a scope, resampled together.

    Raises InvalidOption when their trials do not correspond.
    """
    found = {method: results.trials(method, scope) for method in results.methods}
    trials = {method: those for method, those in found.items() if those is not None}
    tables = {method: aggregate(those) for method, those in trials.items()}
    resampled = bootstrap_trials(trials, replicates=statistics.replicates, seed=statistics.seed)
    return Compared(scope, tables, resampled, _held_out(trials, statistics))


def difference(compared: Compared, first: str, second: str, score: str) -> Difference:
    """A score (of SCORES) of the first method minus that of the second."""
    pairs = zip(compared.tables[first].concepts, compared.tables[second].concepts, strict=True)
    test = sign_flip([_get(a, score) - _get(b, score) for a, b in pairs])
    estimate = compared.resampled.difference(first, second, score, confidence=CONFIDENCE)
    return Difference(estimate, test.p, test.exact)


def cell_estimates(trials: Mapping[str, Trials], statistics: Statistics) -> dict[str, dict[str, Estimate]]:
    """Method -> score -> estimate for one concept: its groups, images and draws are resampled.

    Args:
        trials: method -> trials of the concept.
        statistics: how.
    """
    several = {method: [one] for method, one in trials.items()}
    found = bootstrap_trials(several, replicates=statistics.cell_replicates, seed=statistics.seed)
    return {method: _estimates(found, method) for method in trials}


def _estimates(resampled: Resampled, method: str) -> dict[str, Estimate]:
    found = {key: resampled.estimate(method, name, confidence=CONFIDENCE) for name, key in SCORES.items()}
    j = found.pop("j")
    return {**found, "s_mean": Estimate((j.value + 1) / 2, (j.low + 1) / 2, (j.high + 1) / 2), "j": j}


def _held_out(trials: Mapping[str, tuple[Trials, ...]], statistics: Statistics) -> Resampled | str:
    try:
        return bootstrap_trials(trials, held_out=True, replicates=statistics.replicates, seed=statistics.seed)
    except InvalidSample as reason:  # one image per concept, or groups that come from none
        return str(reason)


def _get(cell: ScoreCell, score: str) -> float:
    return float(getattr(cell, SCORES[score]))

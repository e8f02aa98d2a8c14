"""Every number of the tables as one JSON document; the text and the figures show nothing that is not in it.

A section that cannot be made is a sentence that says why, under `absent`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeAlias

import numpy as np

from ...evaluate import Estimate, Scored, aggregate, bootstrap_mean, published
from ...evaluate.captions import alike
from ...meaning.localisation import FIGURES
from ...run.settings import json_value
from ...view.figures import LayerCounts, layer_distribution
from .compare import CONFIDENCE, SCORES, Compared, Statistics, cell_estimates, compare, difference
from .results import Results, Scope, base
from .verdict import verdict

SCHEMA = "neuronscope.tables/1"

#: A section of the document, or the reason why there is none.
Section: TypeAlias = dict[str, Any] | str

#: False discovery rate at which groups count as different from random sets.
RATE = 0.05

_MATCHED = ("s_se", "s_re", "j")

#: Metrics whose published figures were made in the same way, as far as the paper says. Its BLEU has no stated order.
_PUBLISHED_METRICS = {"rouge-1": "rouge_1", "rouge-l": "rouge_l", "bertscore": "bertscore"}


def compare_all(results: Results, statistics: Statistics) -> tuple[Compared, ...]:
    """The methods in every scope."""
    found = ((scope, results.finished(scope)) for scope in results.scopes)
    return tuple(compare(results, scope, statistics) for scope, methods in found if methods)


def document(results: Results, compared: Sequence[Compared], statistics: Statistics) -> dict[str, Any]:
    """All sections. Raises InvalidOption, naming its place, for a number that is not finite."""
    makers: Mapping[str, Callable[[], Section]] = {
        "table_2": lambda: _table_2(results, compared, statistics),
        "differences": lambda: _differences(results, compared),
        "table_3": lambda: _table_3(results, compared, statistics),
        "layers": lambda: _layers(results),
        "sizes": lambda: _sizes(results),
        "rejections": lambda: _rejections(results),
        "localisation": lambda: _localisation(results, statistics),
        "agreement": lambda: _agreement(results, statistics),
        "random_sets": lambda: _random_sets(results),
        "sweeps": lambda: _sweeps(results),
        "matching": lambda: _matching(results),
    }
    sections = {name: make() for name, make in makers.items()}
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "methods": list(results.methods),
        "concepts": list(results.concepts),
        "missing": dict(results.missing),
        "conditions": [{"name": name, "level": results.level(name)} for name in results.conditions],
        "reference": results.reference,
        "controls": sorted(results.controls),
        "unpaired": results.unpaired,
        "unfinished": [{"method": method, "condition": condition} for method, condition in results.unfinished],
        "statistics": {**asdict(statistics), "confidence": CONFIDENCE},
        **{name: section for name, section in sections.items() if not isinstance(section, str)},
        "absent": {name: section for name, section in sections.items() if isinstance(section, str)},
        "published": _published(),
        "settings": dict(results.settings),
        "environments": [dict(one) for one in results.environments],
    }
    json_value(found, "tables.json")  # refuses NaN by the name of its place
    return {"verdict": verdict(found), **found}


def _table_2(results: Results, compared: Sequence[Compared], statistics: Statistics) -> Section:
    if not compared:
        return "No captions under intervention are finished."
    reasons = [one.held_out for one in compared if isinstance(one.held_out, str)]
    return {
        "means": [_mean_row(results, one, method) for one in compared for method in one.tables],
        "concepts": [row for one in compared for row in _concept_rows(results, one, statistics)],
        "held_out_absent": reasons[0] if reasons else None,
    }


def _mean_row(results: Results, compared: Compared, method: str) -> dict[str, Any]:
    cell, held_out = compared.tables[method].overall, compared.held_out_s_se(method)
    noise = all(results.level(name) is not None for name in compared.scope.conditions)
    known = published.TABLE_II_MEAN.get(base(method)) if noise and compared.scope.pooled else None
    return {
        **_scope(compared.scope),
        "method": method,
        **{name: one.to_dict() for name, one in compared.estimates(method).items()},
        "held_out_s_se": None if held_out is None else held_out.to_dict(),
        "own_trials": cell.own_trials,
        "other_trials": cell.other_trials,
        "published": known and asdict(known),
    }


def _concept_rows(results: Results, compared: Compared, statistics: Statistics) -> Iterable[dict[str, Any]]:
    """One row per concept and method."""
    trials = {method: results.trials(method, compared.scope) or () for method in compared.tables}
    for k, concept in enumerate(results.concepts):
        estimates = cell_estimates({method: those[k] for method, those in trials.items()}, statistics)
        for method, table in compared.tables.items():
            cell = table.concept(concept)
            known = _published_cell(results, compared.scope, concept, method)
            yield {
                "concept": concept,
                **_scope(compared.scope),
                "method": method,
                **{name: one.to_dict() for name, one in estimates[method].items()},
                "own_trials": cell.own_trials,
                "other_trials": cell.other_trials,
                "published": known and asdict(known),
            }


def _published_cell(results: Results, scope: Scope, concept: str, method: str) -> published.PublishedScores | None:
    """The paper's cell of a single level, where levels count in the paper's unit."""
    level = None if scope.pooled else results.level(scope.conditions[0])
    if level is None or not level.is_integer() or results.settings.get("scale") != "absolute":
        return None
    return published.TABLE_II.get((concept, int(level)), {}).get(base(method))


def _differences(results: Results, compared: Sequence[Compared]) -> Section:
    first = results.reference
    if first is None:
        return "No method of this run is two-stage filtering, with which the others would be compared."
    rows = [
        {
            **_scope(one.scope),
            "first": first,
            "second": second,
            **{key: _difference(one, first, second, name) for name, key in SCORES.items()},
        }
        for one in compared
        if first in one.tables
        for second in one.tables
        if second != first
    ]
    return {"rows": rows, "concepts": len(results.concepts)} if rows else "No two methods are finished."


def _difference(compared: Compared, first: str, second: str, score: str) -> dict[str, Any]:
    found = difference(compared, first, second, score)
    return {**found.estimate.to_dict(), "p": found.p, "exact": found.exact}


def _table_3(results: Results, compared: Sequence[Compared], statistics: Statistics) -> Section:
    """Nothing is here that has no S_se beside it: no effect at all makes captions alike, too (METHODS d)."""
    if not results.captions:
        return "No captions were compared with those of the edited images."
    rows = [
        row
        for one in compared
        for metric in results.metrics
        for method in one.tables
        for row in _caption_rows(results, one, metric, method, statistics)
    ]
    if not rows:
        return "No comparison of captions is finished in all samples."
    return {"rows": rows, "provenance": {metric: _provenance(results, metric) for metric in results.metrics}}


def _caption_rows(
    results: Results, compared: Compared, metric: str, method: str, statistics: Statistics
) -> Iterable[dict[str, Any]]:
    """One row, or none where scores are missing."""
    means = results.caption_means(method, compared.scope, metric)
    if means is None:
        return
    attribute, known = _PUBLISHED_METRICS.get(metric), published.TABLE_III.get(base(method))
    yield {
        **_scope(compared.scope),
        "metric": metric,
        "method": method,
        **_mean(list(means.values()), statistics).to_dict(),
        "pairs": results.caption_pairs(method, compared.scope, metric),
        "s_se": compared.tables[method].overall.s_se,
        "published": getattr(known, attribute) if attribute and known and compared.scope.pooled else None,
    }


def _provenance(results: Results, metric: str) -> dict[str, Any]:
    """How a metric was made. Raises RunMismatch when not all of its scores were made alike."""
    return dict(alike([Scored(np.zeros(0), provenance) for provenance in results.provenance(metric)]))


def _layers(results: Results) -> Section:
    if not results.layers:
        return "No neurons were located."
    return {
        "widths": list(results.widths),
        "uniform": _thirds(results.widths),
        "methods": {method: _layer_numbers(found, results.widths) for method, found in results.layers.items()},
    }


def _layer_numbers(found: LayerCounts, widths: Sequence[int]) -> dict[str, Any]:
    ratio = layer_distribution(found.weighted, widths).ratio
    total = sum(found.weighted)
    peak = int(ratio.argmax())
    return {
        "weighted": list(found.weighted),
        "unique": list(found.unique),
        "weighted_over_expected": ratio.tolist(),
        "unique_over_expected": layer_distribution(found.unique, widths).ratio.tolist(),
        "total": total,
        "different": sum(found.unique),
        "thirds": _thirds(found.weighted),
        "last_layer": found.weighted[-1] / total if total else None,
        "median_layer": int(np.searchsorted(np.cumsum(found.weighted), total / 2)) if total else None,
        "peak": {"layer": peak, "over_expected": float(ratio[peak])} if total else None,
    }


def _thirds(counts: Sequence[int]) -> list[float] | None:
    """Shares of the lower, middle and upper third of the layers; None of nothing."""
    sums = [0, 0, 0]
    for layer, count in enumerate(counts):
        sums[layer * 3 // len(counts)] += count
    return [one / sum(sums) for one in sums] if sum(sums) else None


def _sizes(results: Results) -> Section:
    if not any(results.sizes.values()) and not any(results.refusals.values()):
        return "No neurons were located."
    empty: dict[str, Any] = dict.fromkeys(("mean", "median", "smallest", "largest"))
    found = {
        method: {
            "samples": len(sizes),
            "mean": float(np.mean(sizes)),
            "median": float(np.median(sizes)),
            "smallest": int(min(sizes)),
            "largest": int(max(sizes)),
            "empty": sum(size == 0 for size in sizes),
            **_refused(results, method),
        }
        if sizes
        else {"samples": 0, **empty, "empty": 0, **_refused(results, method)}
        for method, sizes in results.sizes.items()
    }
    return {method: row for method, row in found.items() if row["samples"] or row["refused"]}


def _refused(results: Results, method: str) -> dict[str, Any]:
    """How many samples a method refused, and for which reasons."""
    reasons = results.refusals.get(method, ())
    return {"refused": len(reasons), "reasons": dict(Counter(reasons).most_common())}


def _rejections(results: Results) -> Section:
    """How many candidates were kept is known once a method has run on all samples."""
    rejected = sum(results.rejections.values())
    each = ((len(sizes) + len(results.refusals.get(method, ()))) for method, sizes in results.sizes.items())
    kept = max(each, default=0)
    if not kept and not rejected:
        return "No candidates were looked at."
    return {
        "reasons": dict(results.rejections),
        "rejected": rejected,
        "kept": kept or None,
        "accepted": kept / (kept + rejected) if kept else None,
    }


def _localisation(results: Results, statistics: Statistics) -> Section:
    if not any(results.localisation.values()):
        return "Heat maps were not compared with the objects."
    return {
        method: {name: _over_samples([s.get(name) for s in samples], statistics) for name in (*FIGURES, "object_share")}
        for method, samples in results.localisation.items()
    }


def _agreement(results: Results, statistics: Statistics) -> Section:
    if not results.agreement:
        return "The model has no planted neurons, so nobody knows which ones are right."
    names = ("precision", "recall", "average_precision")
    return {
        method: {name: _over_samples(getattr(truth, name), statistics) for name in names}
        for method, truth in results.agreement.items()
    }


def _random_sets(results: Results) -> Section:
    if not results.random_p:
        return "No random sets were run beside the single groups."
    return {
        "groups": [asdict(test) for test in results.random_p],
        "rate": RATE,
        "below_rate": sum(test.adjusted <= RATE for test in results.random_p),
    }


def _matching(results: Results) -> Section:
    """Means of Table II by every way to match names; the scores hang on it (METHODS d, target matching)."""
    rows: list[dict[str, Any]] = []
    for mode, hits in results.matching.items():
        again = replace(results, hits=hits)
        for scope in again.scopes:
            for method in again.finished(scope):
                cell = aggregate(again.trials(method, scope) or ()).overall
                rows.append(
                    {**_scope(scope), "method": method, "match": mode} | {k: getattr(cell, k) for k in _MATCHED}
                )
    return {"rows": rows} if rows else "No captions under intervention are finished."


def _sweeps(results: Results) -> Section:
    if not results.sweeps:
        return "No threshold was varied."
    return {name: [asdict(point) for point in points] for name, points in results.sweeps.items()}


def _published() -> dict[str, Any]:
    return {
        "source": "Sato & Takagi, arXiv 2503.22941",
        "model": "MiniGPT-4",
        "data": "COCO",
        "levels": list(published.LEVELS),
        "draws": published.DRAWS,
        "images_per_concept": published.IMAGES_PER_CONCEPT,
        "table_2": [
            {"concept": concept, "level": level, "method": method, **asdict(scores)}
            for (concept, level), row in published.TABLE_II.items()
            for method, scores in row.items()
        ],
        "table_2_mean": [{"method": m, **asdict(s), "j": s.j} for m, s in published.TABLE_II_MEAN.items()],
        "table_3": [{"method": method, **asdict(scores)} for method, scores in published.TABLE_III.items()],
    }


def _scope(scope: Scope) -> dict[str, Any]:
    return {"scope": scope.name, "conditions": list(scope.conditions)}


def _over_samples(values: Sequence[float | None], statistics: Statistics) -> dict[str, Any] | None:
    """Mean over the samples that have the figure, with its interval; None where none has."""
    found = [float(value) for value in values if value is not None]
    return {**_mean(found, statistics).to_dict(), "samples": len(found)} if found else None


def _mean(values: Sequence[float], statistics: Statistics) -> Estimate:
    return bootstrap_mean(values, replicates=statistics.replicates, seed=statistics.seed)

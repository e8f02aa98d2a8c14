"""From the parts of a run, finished or not, to what its tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...evaluate import Trials, aggregate, benjamini_hochberg, empirical_p
from ...parsing import parse_json
from ...run.understood import only_row, understood
from ...samples.lexicon import MODES
from ...types import Neurons
from ...view.figures import LayerCounts, SweepPoint
from ...words import wordless
from .kept import Kept
from .results import CaptionScore, GroupTest, PlantedAgreement, Results
from .settings import REFERENCE, Condition
from .specs import MethodSpec
from .work import Reproduction

_TRUTH = ("precision", "recall", "average_precision")


def collect(work: Reproduction) -> Results:
    """Everything that is finished. Pairs of method and condition that lack a unit are left out as a whole.

    Raises RunMismatch for parts that hold something else than this program writes.
    """
    with understood(work.run):
        return _collected(work)


def _collected(work: Reproduction) -> Results:
    plan, layers = work.experiment, len(work.widths)
    located = {text: _located(work, text) for text in plan.methods}
    found = {text: rows for text, rows in located.items() if rows is not None}
    refusals = {
        text: {key: row["refused"] for key, row in rows.items() if row["refused"]} for text, rows in found.items()
    }
    able = {text: [row for row in rows.values() if not row["refused"]] for text, rows in found.items()}
    paired = _paired(work, refusals)
    concepts = tuple(concept for concept in work.concepts if any(kept.concept == concept for kept in paired))
    trials = {
        (text, condition.name): made
        for text in plan.methods
        for condition in plan.conditions
        if (made := _trials(work, text, condition, paired)) is not None
    }
    matching = {mode: {pair: made[mode] for pair, made in trials.items()} for mode in MODES}
    return Results(
        methods=plan.methods,
        concepts=concepts or work.concepts,
        missing={concept: work.found.lacks(concept) for concept in work.found.missing},
        conditions=tuple(condition.name for condition in plan.conditions),
        hits=matching[plan.match],
        captions=_captions(work, paired),
        agreement=_agreement(able),
        layers={text: LayerCounts.of(_sets(work, text), layers) for text in found},
        widths=work.widths,
        localisation=_localisation(work),
        sizes={text: [row["count"] for row in rows] for text, rows in able.items()},
        refusals={text: tuple(those.values()) for text, those in refusals.items()},
        unpaired=len(work.samples) - len(paired),
        rejections=work.found.rejected(),
        settings=work.run.settings,
        environments=work.run.record.environments,
        random_p=_random_p(work),
        sweeps=_sweeps(plan.methods, matching[plan.match], able),
        matching=matching,
    )


def collect_samples(work: Reproduction) -> Results:
    """What became of the candidates, of a run that goes no further because concepts have too few samples."""
    plan, found = work.experiment, work.found
    return Results(
        methods=plan.methods,
        concepts=plan.concepts,
        conditions=tuple(condition.name for condition in plan.conditions),
        missing={concept: found.lacks(concept) for concept in found.missing},
        hits={},
        captions={},
        agreement=None,
        layers={},
        widths=work.widths,
        localisation={},
        sizes={},
        rejections=found.rejected(),
        settings=work.run.settings,
        environments=work.run.record.environments,
    )


def _located(work: Reproduction, text: str) -> dict[tuple[str, str], dict[str, Any]] | None:
    """Concept and image -> the row of the sample; None while one is missing."""
    keys = {(kept.concept, kept.image_id): work.key(text, kept) for kept in work.samples}
    if work.run.missing("located", list(keys.values())):
        return None
    return {name: only_row(work.run, "located", key) for name, key in keys.items()}


def _paired(work: Reproduction, refusals: Mapping[str, Mapping[tuple[str, str], str]]) -> tuple[Kept, ...]:
    """The samples that no method refused: what methods are compared on, each with the same groups.

    A method that refused them all has nothing to compare, and leaves the others as they are.
    """
    hindered = [those for those in refusals.values() if len(those) < len(work.samples)]
    return tuple(kept for kept in work.samples if not any((kept.concept, kept.image_id) in those for those in hindered))


def _sets(work: Reproduction, text: str) -> Iterator[Neurons]:
    """Those that a method found."""
    return (found for kept in work.samples if (found := work.neurons(text, kept)) is not None)


def _trials(
    work: Reproduction, text: str, condition: Condition, paired: Sequence[Kept]
) -> Mapping[str, tuple[Trials, ...]] | None:
    """By each way to match a concept's name: all hits of a method under a condition, one entry per concept.

    On the samples that are compared. None while a unit is missing, and where the method, or the one that its noise
    levels count by, refused every sample.
    """
    if work.run.missing("captions", [work.captions_key(text, kept, condition) for kept in work.samples]):
        return None
    samples = work.samples
    images = tuple(map(_label(samples), samples))
    found: dict[str, list[Trials]] = {mode: [] for mode in MODES}
    for concept in dict.fromkeys(kept.concept for kept in paired):
        groups = [kept for kept in paired if kept.concept == concept]
        written = [work.captions(text, kept, condition) for kept in groups]
        if not all(written):
            return None
        for mode, trials in found.items():
            hits = np.stack([_hits(rows, samples, concept, f"hit_{mode}") for rows in written])
            trials.append(
                Trials(
                    concept,
                    hits[:, None],
                    own=np.array([kept.concept == concept for kept in samples]),
                    levels=(condition.level or 0.0,),
                    images=images,
                    sources=tuple(map(_label(samples), groups)),
                    shown=np.array([concept in kept.shown for kept in samples]),
                )
            )
    return {mode: tuple(trials) for mode, trials in found.items()} if paired else None


def _label(samples: Sequence[Kept]) -> Callable[[Kept], str]:
    """What samples are called: by their image, and by their concept too where an image stands for several."""
    if len({kept.image_id for kept in samples}) == len(samples):
        return lambda kept: kept.image_id
    return lambda kept: f"{kept.image_id} as {kept.concept}"


def _hits(
    rows: Sequence[dict[str, Any]], samples: Sequence[Kept], concept: str, column: str
) -> Bool[np.ndarray, "draws images"]:
    """As :func:`neuronscope.evaluate.effect.counts` has them: without a word, an image's own concept is not erased."""
    by_place = {
        (row["draw"], row["names"], row["of"]): row[column] or (row["names"] == concept and wordless(row["caption"]))
        for row in rows
    }
    draws = sorted({draw for draw, _, _ in by_place})
    return np.array([[by_place[draw, kept.concept, kept.image_id] for kept in samples] for draw in draws])


def _captions(work: Reproduction, paired: Sequence[Kept]) -> dict[tuple[str, str, str], dict[str, list[CaptionScore]]]:
    compared = {(kept.concept, kept.image_id) for kept in paired}
    found: dict[tuple[str, str, str], dict[str, list[CaptionScore]]] = {}
    for metric in work.experiment.metrics:
        for text in work.experiment.methods:
            key = {"metric": metric, "method": text}
            for row in work.run.read("similarity", key).to_pylist() if work.run.done("similarity", key) else ():
                if (row["concept"], row["image"]) not in compared:
                    continue
                score = CaptionScore(row["value"], row["pairs"], parse_json(row["provenance"]))
                concepts = found.setdefault((text, row["condition"], metric), {})
                concepts.setdefault(row["concept"], []).append(score)
    return found


def _agreement(located: dict[str, list[dict[str, Any]]]) -> dict[str, PlantedAgreement] | None:
    """Agreement with planted neurons, over the samples that each method did not refuse."""
    if not any(row["precision"] is not None for rows in located.values() for row in rows):
        return None
    return {
        text: PlantedAgreement(*([float(row[name] or 0.0) for row in rows] for name in _TRUTH))
        for text, rows in located.items()
    }


def _localisation(work: Reproduction) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {}
    for text in work.experiment.methods:
        if work.run.done("localisation", {"method": text}):
            rows = work.run.read("localisation", {"method": text}).to_pylist()
            names = [name for name in rows[0] if name not in ("method", "concept", "image")] if rows else []
            found[text] = [{name: row[name] for name in names} for row in rows]
    return found


def _random_p(work: Reproduction) -> list[GroupTest] | None:
    """For every reference set p of its J among random sets, all set to zero, and p after Benjamini-Hochberg."""
    keys = [work.key(work.experiment.reference, kept) for kept in work.samples]
    if not work.experiment.random_sets or work.run.missing("random", keys):
        return None
    found = [(kept, p) for kept in work.samples if (p := _p(work, kept)) is not None]
    if not found:
        return None
    adjusted = benjamini_hochberg([p for _, p in found]).adjusted
    return [GroupTest(kept.concept, kept.image_id, p, q) for (kept, p), q in zip(found, adjusted, strict=True)]


def _p(work: Reproduction, kept: Kept) -> float | None:
    """None where the method refused the sample."""
    rows = work.run.read("random", work.key(work.experiment.reference, kept)).to_pylist()
    if not rows:
        return None
    observed = next(row["j"] for row in rows if row["set"] < 0)
    return empirical_p(observed, [row["j"] for row in rows if row["set"] >= 0])


def _sweeps(
    methods: Iterable[str], hits: dict[tuple[str, str], tuple[Trials, ...]], located: dict[str, list[dict[str, Any]]]
) -> dict[str, list[SweepPoint]]:
    """Two-stage filtering with one threshold given as a number, by threshold: the mean over noise levels."""
    found: dict[str, list[SweepPoint]] = {}
    for text in methods:
        spec = MethodSpec.parse(text)
        value = _number(next(iter(spec.options.values()), ""))
        done = [trials for (method, _), trials in hits.items() if method == text]
        if spec.name == REFERENCE and len(spec.options) == 1 and value is not None and done and located.get(text):
            noise = [trials for trials in done if trials[0].levels[0]]
            cells = [aggregate(trials).overall for trials in noise or done]
            s_se, s_re, j = (float(np.mean([getattr(cell, name) for cell in cells])) for name in ("s_se", "s_re", "j"))
            size = float(np.mean([row["count"] for row in located[text]]))
            point = SweepPoint(value, size, s_se, s_re, j)
            found.setdefault(next(iter(spec.options)), []).append(point)
    return {option: sorted(points, key=lambda point: point.threshold) for option, points in found.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

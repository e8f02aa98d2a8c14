"""From the parts of a discovery run to its measurements; nothing is run through the model (METHODS f, "Metrics")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ...evaluate import Estimate
from ...evaluate.captions import Scored
from ...evaluate.captions.scored import alike
from ...evaluate.discovery import (
    CONTROLS,
    ControlledMean,
    CrossImage,
    Specificity,
    cross_image,
    measured,
    region_invariance,
    specificity,
)
from ...evaluate.discovery.invariance import Pair
from ...evaluate.discovery.sensitivity import FOUND
from ...parsing import parse_json
from ...run.understood import understood
from ...types import Json, Neuron
from ...view.figures import LayerCounts
from .concepts import Found, SharedNoun, nouns_of, order_of, rows_of
from .work import DiscoveryRun

Matrix = Float[np.ndarray, "_rows _columns"]


@dataclass(frozen=True)
class SimilarTexts:
    """Semantic sensitivity by one metric, with all that has to be equal for numbers to compare."""

    value: ControlledMean
    provenance: Mapping[str, Json]


@dataclass(frozen=True)
class DiscoveryFigures:
    """What a discovery run measured. None, or empty, where `absent` says why.

    Attributes:
        images: pictures of the job.
        captioned: image -> its caption.
        nouns: noun -> its rows, as :func:`neuronscope.studies.discover.concepts.nouns_of` gives them.
        layers: k -> neurons per layer of the k best of every noun of every image.
        named: share of nouns whose token is among those that their neurons promote.
        similar: metric -> similarity of texts to captions or images.
        region: k -> region invariance.
        kept: (nouns that both captions name, nouns of the captions of the images as they are), over permutations.
        cross: invariance over images that share a concept.
        in_image: specificity among the nouns of one caption.
        among: specificity among concepts, on images that did not choose their neurons.
        matrix: its matrix, not normalised, rows and columns as in `concepts`.
        concepts: nouns that several captions name.
        absent: measurement -> why there is none.
    """

    images: int
    captioned: Mapping[str, str]
    nouns: Mapping[str, Sequence[Found]]
    layers: Mapping[int, LayerCounts]
    named: ControlledMean | None = None
    similar: Mapping[str, SimilarTexts] = field(default_factory=dict[str, SimilarTexts])
    region: Mapping[int, ControlledMean] = field(default_factory=dict[int, ControlledMean])
    kept: tuple[int, int] = (0, 0)
    cross: CrossImage | None = None
    in_image: Specificity | None = None
    among: Specificity | None = None
    matrix: Matrix | None = None
    concepts: tuple[SharedNoun, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict[str, str])


def collect_discoveries(work: DiscoveryRun) -> DiscoveryFigures:
    """Everything that the finished parts of a job tell.

    Raises RunMismatch where they are not finished, or hold something else than this program writes.
    """
    with understood(work.run):
        return _collected(work)


def _collected(work: DiscoveryRun) -> DiscoveryFigures:
    run, plan, pictures = work.run, work.plan, work.pictures
    nouns = nouns_of(run, pictures)
    widths, seed = work.vlm.widths, plan.seed
    absent: dict[str, str] = {}
    orders = [order_of(row) for rows in nouns.values() for row in rows]
    pairs, kept = _pairs(work, nouns)
    region = region_invariance(pairs, plan.ks, widths, seed) if pairs else {}
    if not plan.shuffles:
        absent["region"] = "no permutation was asked for"
    elif not pairs:
        absent["region"] = "no noun is in the captions of both orders of an image"
    groups = {noun: [order_of(row) for row in rows] for noun, rows in nouns.items()}
    most = max(map(len, groups.values()), default=0)
    cross = cross_image(groups, plan.group_k, widths, seed, images=plan.group) if most >= plan.group else None
    if cross is None:
        absent["cross"] = f"no noun is named in {plan.group} captions; the most frequent one is in {most}"
    by_image = _in_image(rows_of(run, "matrices", pictures))
    in_image = _summary(by_image, seed) if by_image else None
    if in_image is None:
        absent["in_image"] = "no caption has two nouns"
    matrices = _among(work)
    among = _summary([matrices], seed) if matrices else None
    if among is None:
        absent["among"] = "fewer than two nouns are in at least two captions each"
    if not plan.metrics:
        absent["similar"] = "no model for BERTScore or CLIPScore was given; the texts are saved"
    texts = rows_of(run, "texts", pictures)
    if not texts:
        absent["named"] = "no caption has a noun"
    return DiscoveryFigures(
        images=len(pictures),
        captioned={row["image"]: row["caption"] for row in rows_of(run, "captions", pictures)},
        nouns=nouns,
        layers={k: _layers(orders, k, len(widths)) for k in plan.ks},
        named=_over_images(texts, "named", seed) if texts else None,
        similar=_similar(work) if texts else {},
        region=region,
        kept=kept,
        cross=cross,
        in_image=in_image,
        among=among,
        matrix=matrices[FOUND][0] if matrices else None,
        concepts=work.concepts,
        absent=absent,
    )


def _layers(orders: Sequence[Sequence[Neuron]], k: int, layers: int) -> LayerCounts:
    """Different neurons, and all, of the k best of every noun, per layer (Pan et al., Fig. 2)."""
    members = [neuron for order in orders for neuron in order[:k]]

    def count(neurons: Iterable[Neuron]) -> tuple[int, ...]:
        return tuple(np.bincount([neuron.layer for neuron in neurons] or [0], minlength=layers).tolist())

    none = (0,) * layers
    return LayerCounts(count(set(members)), count(members)) if members else LayerCounts(none, none)


def _pairs(work: DiscoveryRun, nouns: Mapping[str, Sequence[Found]]) -> tuple[list[list[Pair]], tuple[int, int]]:
    """For each image that has any, the two rankings of the nouns that both captions name; all permutations together."""
    plain = {(row["image"], noun): order_of(row) for noun, rows in nouns.items() for row in rows}
    if not work.plan.shuffles:
        return [], (0, 0)
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for row in rows_of(work.run, "shuffled", work.pictures):
        where = row["image"], row["noun"]
        if row["shuffle"] < work.plan.shuffles and where in plain:
            pairs[row["image"]].append((plain[where], order_of(row)))
    return list(pairs.values()), (sum(map(len, pairs.values())), len(plain) * work.plan.shuffles)


def _over_images(rows: Sequence[Mapping[str, Any]], name: str, seed: int) -> ControlledMean:
    """Mean over the nouns of an image, then over images."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        values[row["of"]][row["image"]].append(float(row[name]))
    means = {of: [float(np.mean(given)) for given in images.values()] for of, images in values.items()}
    return measured(means.pop(FOUND), means, seed)


def _similar(work: DiscoveryRun) -> dict[str, SimilarTexts]:
    found: dict[str, SimilarTexts] = {}
    rows = work.similar()
    for name in work.plan.metrics:
        mine = [row for row in rows if row["metric"] == name]
        made = {row["provenance"]: Scored(np.zeros(0), parse_json(row["provenance"])) for row in mine}
        found[name] = SimilarTexts(_over_images(mine, "value", work.plan.seed), alike(list(made.values())))
    return found


# ---- specificity


def _in_image(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, list[Matrix]]]:
    """For each image, set -> its matrices, one for each draw."""
    images: dict[str, dict[tuple[str, int], list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        images[row["image"]][row["of"], row["draw"]].append(row["values"])
    found: list[dict[str, list[Matrix]]] = []
    for image in images.values():
        sets: dict[str, list[Matrix]] = defaultdict(list)
        for (of, _), values in sorted(image.items()):
            sets[of].append(np.array(values))
        found.append(dict(sets))
    return found


def _among(work: DiscoveryRun) -> dict[str, list[Matrix]]:
    """Set -> its matrices, one for each draw: means over the images that a column's concept is tested on."""
    if not work.probed:
        return {}
    place = {concept.noun: number for number, concept in enumerate(work.concepts)}
    tested = {(name, concept.noun) for concept in work.concepts for name in concept.tested}
    sums: dict[tuple[str, int], Matrix] = {}
    for row in rows_of(work.run, "specificity", work.pictures):
        if row["probes"] != work.probes_digest or (row["image"], row["noun"]) not in tested:
            continue
        column = place[row["noun"]]
        matrix = sums.setdefault((row["of"], row["draw"]), np.zeros((len(place), len(place))))
        matrix[:, column] += np.array(row["values"]) / len(work.concepts[column].tested)
    found: dict[str, list[Matrix]] = defaultdict(list)
    for (of, _), matrix in sorted(sums.items()):
        found[of].append(matrix)
    return dict(found)


def _summary(images: Sequence[Mapping[str, Sequence[Matrix]]], seed: int) -> Specificity:
    controls = {name: [image[name] for image in images] for name in CONTROLS}
    return specificity([image[FOUND][0] for image in images], controls, seed)


def estimates(one: ControlledMean) -> dict[str, Estimate]:
    """The found neurons' figure, and those of the controls."""
    return {FOUND: one.found, **one.controls}

"""Located neurons against the planted truth: 30 concepts, three held-out scenes each, nothing tuned per sample.

    python -m benchmarks.truth [--model demo] [--draws 10] [--seeds 7 20 21] [--methods two-stage]

For two-stage filtering and each of its stages alone: precision and recall against the planted set, J under zero
ablation and under the recommended noise, and J of layer-matched random sets, with 95 % intervals over concepts. A scene
in which a method finds nothing counts as precision 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.evaluate import Estimate, Labelled, agreement, bootstrap_mean, measure, planted
from neuronscope.intervene.operations import recommended_level
from neuronscope.locate.validity import check_validity
from neuronscope.samples import Counterfactual
from neuronscope.samples.scenes import CONCEPTS, scene_sample
from neuronscope.studies.demo.scenes import scene_stream

METHODS = {
    "two-stage": ns.TwoStage(),
    "stage 1 alone": ns.TwoStage(stages=(1,)),
    "stage 2 alone": ns.TwoStage(stages=(2,)),
}
LIMITS = {
    "precision": ">= 0.90",
    "recall": ">= 0.80",
    "J zero": ">= 0.60",
    "J noise": ">= 0.50",
    "J random": "|.| <= 0.05",
}
TRIES = 40
SEEDS = (7, 20, 21)


def valid_pair(vlm: ns.VLM, concept: str, seed: int) -> tuple[Counterfactual, tuple[str, ...], int]:
    """The first held-out scene of a concept that meets the method's conditions, what it shows, and how many failed."""
    for refused, scene in zip(range(TRIES), scene_stream(concept, seed), strict=False):
        pair = ns.counterfactual(scene_sample(scene, concept))
        try:
            check_validity(vlm, pair)
        except InvalidSample:
            continue
        return pair, scene.concepts, refused
    raise InvalidSample(f"none of {TRIES} scenes of {concept!r} meets the conditions")


def run(
    vlm: ns.VLM, draws: int, seeds: Sequence[int], methods: Sequence[str]
) -> tuple[dict[str, dict[str, Estimate]], int]:
    """method -> figure -> estimate, and how many scenes were refused before each concept had its valid ones."""
    truth, names = planted(vlm), sorted(CONCEPTS)
    pairs = {(seed, k): valid_pair(vlm, k, seed) for seed in seeds for k in names}
    images = {seed: [Labelled(pairs[seed, k][0].original, k, pairs[seed, k][1]) for k in names] for seed in seeds}
    result: dict[str, dict[str, Estimate]] = {}
    for method in methods:
        values: dict[str, dict[str, list[float]]] = {name: {} for name in (*LIMITS, "neurons")}
        for seed, k in track(list(pairs), description=method, console=Console(stderr=True)):
            found = METHODS[method].locate(vlm, pairs[seed, k][0]).neurons
            for name, value in _figures(vlm, k, found, truth[k], images[seed], draws, names.index(k)).items():
                values[name].setdefault(k, []).append(value)
        # Scenes of one concept are alike: the interval is over concepts.
        result[method] = {
            name: bootstrap_mean([float(np.mean(v)) for v in by_concept.values()])
            for name, by_concept in values.items()
            if by_concept
        }
    return result, sum(refused for _, _, refused in pairs.values())


def _figures(
    vlm: ns.VLM, k: str, found: ns.Neurons, planted_for: ns.Neurons, images: list[Labelled], draws: int, seed: int
) -> dict[str, float]:
    score = agreement(found, planted_for)
    figures = {"precision": score.precision, "recall": score.recall, "neurons": float(len(found))}
    if not len(found):  # nothing to change: every caption stays
        return figures | {"J zero": 0.0, "J noise": 0.0, "J random": 0.0}
    noise = ns.Noise(found, level=recommended_level(found), draws=draws)
    figures |= {"J zero": measure(vlm, k, images, ns.Zero(found)).j, "J noise": measure(vlm, k, images, noise).j}
    if _room(vlm, found):
        control = ns.Zero(ns.layer_matched(vlm, found, seed=seed))
        figures["J random"] = measure(vlm, k, images, control).j
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    args = parser.parse_args()
    rows, refused = run(ns.load(args.model), args.draws, args.seeds, args.methods)
    table = Table(
        "method",
        *LIMITS,
        "neurons",
        title=f"{args.model}: {30 * len(args.seeds)} scenes, {refused} scenes refused on the way",
    )
    for method, estimates in rows.items():
        table.add_row(method, *(str(estimates.get(name, "-")) for name in (*LIMITS, "neurons")))
    table.add_section()
    table.add_row("asked of two-stage", *LIMITS.values(), "")
    Console().print(table)


def _room(vlm: ns.VLM, found: ns.Neurons) -> bool:
    """Whether every layer has as many neurons outside the set as in it."""
    return all(2 * len(units) <= vlm.widths[layer] for layer, units in found.by_layer().items())


if __name__ == "__main__":
    main()

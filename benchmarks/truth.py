"""Located neurons against the planted truth: 30 concepts, one held-out scene each, nothing tuned per sample.

    python -m benchmarks.truth [--model demo] [--draws 10] [--json FILE]

For two-stage filtering and each of its stages alone: precision and recall against the planted set, J under zero
ablation and under the recommended noise, and J of layer-matched random sets, with 95 % intervals over concepts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.evaluate import Labelled, agreement, bootstrap_mean, measure, planted
from neuronscope.run.showcase import scene_stream
from neuronscope.run.study import recommended_level
from neuronscope.samples import Counterfactual
from neuronscope.samples.scenes import CONCEPTS, scene_sample
from neuronscope.samples.validity import check_validity

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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    vlm = ns.load(args.model)
    truth, names = planted(vlm), sorted(CONCEPTS)
    pairs = {k: valid_pair(vlm, k, args.seed) for k in names}
    images = [Labelled(pair.original, k, shown) for k, (pair, shown, _) in pairs.items()]
    rows: dict[str, dict[str, list[float]]] = {}
    for method, locate in METHODS.items():
        values = rows.setdefault(method, {name: [] for name in (*LIMITS, "neurons")})
        for index, k in enumerate(track(names, description=method, console=Console(stderr=True))):
            found = locate.locate(vlm, pairs[k][0]).neurons
            score = agreement(found, truth[k])
            values["precision"].append(score.precision)
            values["recall"].append(score.recall)
            values["neurons"].append(len(found))
            if not len(found):  # nothing to change: every caption stays
                for name in ("J zero", "J noise", "J random"):
                    values[name].append(0.0)
                continue
            level = recommended_level(found)
            values["J zero"].append(measure(vlm, k, images, ns.Zero(found)).j)
            noise = ns.Noise(found, level=level, draws=args.draws)
            values["J noise"].append(measure(vlm, k, images, noise).j)
            control = ns.layer_matched(vlm, found, seed=index) if _room(vlm, found) else None
            values["J random"].append(measure(vlm, k, images, ns.Zero(control)).j if control else float("nan"))
    refused = sum(count for _, _, count in pairs.values())
    table = Table("method", *LIMITS, "neurons", title=f"{args.model}: 30 concepts, {refused} scenes refused on the way")
    document = {"refused": refused, "fingerprint": vlm.fingerprint, "methods": {}}
    for method, values in rows.items():
        estimates = {n: bootstrap_mean([x for x in v if not np.isnan(x)] or [float("nan")]) for n, v in values.items()}
        table.add_row(method, *(str(e) for e in estimates.values()))
        document["methods"][method] = {n: vars(e) for n, e in estimates.items()}
    table.add_section()
    table.add_row("asked of two-stage", *LIMITS.values(), "")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(document, indent=1))


def _room(vlm: ns.VLM, found: ns.Neurons) -> bool:
    """Whether every layer has as many neurons outside the set as in it."""
    return all(2 * len(units) <= vlm.widths[layer] for layer, units in found.by_layer().items())


if __name__ == "__main__":
    main()

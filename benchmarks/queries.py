"""A Q-Former model with planted knowledge: what two-stage filtering finds, and where the three traces point.

    python -m benchmarks.queries [runs/queries/model] [--scenes 200] [--seeds 7] [--jobs 1] [--out docs/results/queries]

The model is that of `python -m training.queries`. Three tables: what it names, and J of its planted sets; two-stage
filtering against the planted neurons, as in `benchmarks.truth`; and heat maps traced back to the picture by input x
gradient, attention rollout and occlusion (and from grey), for planted and for located neurons, against the
object's pixels, beside as many random neurons of the same layers; of the planted ones also the rank correlation of the
other traces with occlusion (`trace_agreement`). Intervals are over concepts in the last two tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.evaluate import Estimate, Labelled, bootstrap_effects, bootstrap_mean, measure, planted
from neuronscope.files import output_folder, write_text
from neuronscope.meaning.localisation import localise
from neuronscope.report.markdown import table
from neuronscope.run.settings import environment
from neuronscope.samples.scenes import CONCEPTS, render, sample_scene
from neuronscope.view.agreement import rank_correlation
from neuronscope.view.heatmap import Trace, heatmaps

from . import organism, truth

TRACES: tuple[Trace, ...] = ("gradient", "from-grey", "rollout", "occlusion")
FIGURES = ("iou_area", "iou_per_image", "pointing", "energy")


def traces(vlm: ns.VLM, seeds: Sequence[int]) -> dict[str, dict[str, Estimate]]:
    """ "set, trace" -> figure -> estimate."""
    known = planted(vlm)
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for number, concept in enumerate(track(sorted(CONCEPTS), "traces", console=Console(stderr=True))):
        for seed in seeds:
            pair = truth.valid_pair(vlm, concept, seed)[0]
            mask = np.asarray(pair.sample.mask, dtype=bool)
            found = ns.TwoStage().locate(vlm, pair).neurons
            sets = {"planted": known[concept], "random": ns.layer_matched(vlm, known[concept], seed=number)}
            sets |= {"located": found} if len(found) else {}
            grids: dict[str, np.ndarray] = {}
            for trace in TRACES:
                heats = heatmaps(vlm, pair.original, list(sets.values()), trace=trace)
                for name, heat in zip(sets, heats, strict=True):
                    result = localise(heat, mask)
                    for figure in (*FIGURES, "object_share"):
                        of = values.setdefault(f"{name}, {trace}", {}).setdefault(figure, {})
                        of.setdefault(concept, []).append(float(getattr(result, figure)))
                grids[trace] = heats[0].grids[0].ravel()
            # What `trace_agreement` computes, with the maps that are there.
            for trace in ("gradient", "from-grey", "rollout"):
                of = values.setdefault(f"planted, {trace}", {}).setdefault("agreement", {})
                of.setdefault(concept, []).append(rank_correlation(grids[trace], grids["occlusion"]))
    return {
        key: {figure: bootstrap_mean([float(np.nanmean(v)) for v in by.values()]) for figure, by in figures.items()}
        for key, figures in values.items()
    }


def _asked(model: str, count: int, seed: int) -> list[organism.Figure]:
    """Held-out scenes' objects named, and J of the planted sets over the scenes of one seed."""
    torch.set_num_threads(1)
    vlm = ns.load(model)
    scenes = [sample_scene(organism.FIRST_SEED + n) for n in range(count)]
    figures = organism.naming(vlm, scenes, [render(scene) for scene in scenes])
    pairs = {concept: truth.valid_pair(vlm, concept, seed) for concept in sorted(CONCEPTS)}
    images = [Labelled(pair.original, concept, shown) for concept, (pair, shown, _) in pairs.items()]
    for name, sets in (
        ("G_k, zero: J", planted(vlm)),
        ("12 layer-matched random, zero: J", {k: ns.layer_matched(vlm, g, seed=0) for k, g in planted(vlm).items()}),
    ):
        effects = [measure(vlm, concept, images, ns.Zero(sets[concept])) for concept in pairs]
        limit = "<= 0.03" if "random" in name else ">= 0.90"
        figures.append(organism.Figure(name, bootstrap_effects(effects)["J"], limit))
    return figures


def _located(model: str, draws: int, seeds: Sequence[int]) -> tuple[dict[str, Estimate], int]:
    torch.set_num_threads(1)
    methods, refused = truth.run(ns.load(model), draws, seeds, ["two-stage"])
    return methods["two-stage"], refused


def _traced(model: str, seeds: Sequence[int]) -> dict[str, dict[str, Estimate]]:
    torch.set_num_threads(1)
    return traces(ns.load(model), seeds)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", nargs="?", default="runs/queries/model")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="of the three tables at once")
    parser.add_argument("--seeds", type=int, nargs="+", default=(7,))
    parser.add_argument("--out", type=Path, default=Path("docs/results/queries"))
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        first = pool.submit(_asked, args.model, args.scenes, args.seeds[0])
        second = pool.submit(_located, args.model, args.draws, args.seeds)
        third = pool.submit(_traced, args.model, args.seeds)
        asked, (found, refused), maps = first.result(), second.result(), third.result()
    columns = (*FIGURES, "agreement")
    text = "\n\n".join(
        (
            "# A planted Q-Former model",
            f"## What it is ({args.scenes} held-out scenes)",
            table(
                ("figure", "value", "asked", "holds"),
                [(f.name, str(f.estimate), f.limit, "yes" if f.holds else "**no**") for f in asked],
            ),
            f"## Two-stage filtering against the truth ({len(CONCEPTS) * len(args.seeds)} scenes, {refused} refused)",
            table(("figure", "value", "asked"), [(k, str(v), truth.LIMITS.get(k, "")) for k, v in found.items()]),
            "## Where the traces point",
            table(
                ("neurons, trace", *columns),
                [(key, *(str(row.get(name, "")) for name in columns)) for key, row in maps.items()],
            ),
            f"The object covers {next(iter(maps.values()))['object_share']} of the picture.",
        )
    )
    folder = output_folder(args.out)
    document = {
        "model": [{"figure": f.name, **f.estimate.to_dict(), "asked": f.limit, "holds": f.holds} for f in asked],
        "two-stage": {name: one.to_dict() for name, one in found.items()},
        "refused": refused,
        "traces": {key: {name: one.to_dict() for name, one in row.items()} for key, row in maps.items()},
        "environment": environment(),
    }
    write_text(folder / "tables.json", json.dumps(document, indent=1) + "\n")
    write_text(folder / "tables.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()

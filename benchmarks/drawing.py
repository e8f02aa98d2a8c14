"""How good samples of exact effects are: figures and intervals of two ways to draw, beside those of all neurons.

    python -m benchmarks.drawing FOLDER RESULT [--budget 1500] [--draws 40]

RESULT is a photograph's folder, DIR/CONCEPT-IMAGE, of `python -m benchmarks.exact FOLDER... --work DIR` without a
budget: in its effects.json every neuron was exchanged. Of that a budget is drawn again and again, beside the 100 best
of each method the others with even chances, or by size as `truth` does (evaluate/drawing.py). Printed are how often the
95 % interval holds the figure of all neurons, how wide it is, and the error of the estimate (root mean square).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console

import neuronscope as ns
from neuronscope.evaluate import Sampled, figures
from neuronscope.evaluate.drawing import Drawing
from neuronscope.evaluate.ordering import FIGURES
from neuronscope.locate import Ranking, method
from neuronscope.locate.scores import best_first
from neuronscope.locate.validity import valid_pair
from neuronscope.report.markdown import table
from neuronscope.samples import CocoFolder
from neuronscope.studies.locate.truth import BEST, METHODS


def scores_of(folder: Path, concept: str, image: str) -> dict[str, np.ndarray]:
    """method -> its scores of all neurons of the natural model on one photograph."""
    vlm = ns.load("natural")
    samples = CocoFolder.open(folder).everything().samples(concept)
    pair, validity = valid_pair(vlm, next(one for one in samples if Path(one.image_id).stem == image))
    found: dict[str, np.ndarray] = {}
    for name in METHODS:
        ranking = method(name)
        assert isinstance(ranking, Ranking)
        ranked = ranking.score(vlm, pair, validity)
        found[name] = ranked.arrays[ranked.by].values
    return found


def drawn(drawing: Drawing, budget: int, seed: int, *, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Neurons, and with what chance each is among them."""
    if not even:
        return drawing.flat[:budget], drawing.chances(budget)[:budget]
    others, count = drawing.flat[drawing.sure :], budget - drawing.sure
    some = np.random.default_rng(seed).choice(others, count, replace=False)
    chances = np.concatenate([np.ones(drawing.sure), np.full(count, count / len(others))])
    return np.concatenate([drawing.flat[: drawing.sure], some]), chances


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--budget", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=40)
    args = parser.parse_args()
    concept, _, image = args.result.name.rpartition("-")
    held = json.loads((args.result / "effects.json").read_text(encoding="utf-8"))
    effects = np.full(len(held["flat"]), np.nan)
    effects[held["flat"]] = held["values"]
    scores = scores_of(args.folder, concept, image)
    ranks = {name: np.argsort(best_first(values)) for name, values in scores.items()}
    total = len(effects)
    whole = Sampled.of(effects, np.ones(total), total)
    true = np.array([[of(values, ranks[name], whole) for of in FIGURES.values()] for name, values in scores.items()])
    rows: list[tuple[str, ...]] = []
    for even in (True, False):
        inside, width, error = (np.zeros((args.draws, *true.shape)) for _ in range(3))
        for seed in range(args.draws):
            drawing = Drawing.of(scores, total=total, best=BEST, seed=seed)
            flat, chances = drawn(drawing, args.budget, seed, even=even)
            sampled = Sampled.of(effects[flat], chances, total)
            for n, (name, values) in enumerate(scores.items()):
                found = list(figures(values[flat], ranks[name][flat], sampled, replicates=100, seed=seed).values())
                low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
                inside[seed, n] = (low - 1e-9 <= true[n]) & (true[n] <= high + 1e-9)
                width[seed, n] = high - low
                error[seed, n] = np.array([one.value for one in found]) - true[n]
        for title, of in (
            ("interval holds it", inside.mean((0, 1))),
            ("its width", width.mean((0, 1))),
            ("error", np.sqrt((error**2).mean((0, 1)))),
        ):
            rows.append((f"{'even chances' if even else 'by size'}: {title}", *(f"{number:.3f}" for number in of)))
    Console().print(table(("over methods", *FIGURES), rows), soft_wrap=True)


if __name__ == "__main__":
    main()

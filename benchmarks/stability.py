"""How much of what is found in a photograph is found again under another edit of the same object.

    python -m benchmarks.stability FOLDER... [--photographs 12] [--count 200] [--out docs/results/natural]

The object is taken out four ways: inpainted by Telea and by Navier-Stokes, filled with the mean colour, and by a box
that is shifted by 15 % of its size. For each photograph the overlap of the best `count` neurons with those under the
first edit, beside that of as many random ones of the same layers (chance), and how many members hold in k of the edits.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.evaluate import bootstrap_mean
from neuronscope.locate import Ranking, layer_matched, method
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.report.markdown import table
from neuronscope.samples import Counterfactual
from neuronscope.samples.inpaint import inpaint

from .natural import MATCHED, valid_pairs

#: By how much of its size a box is shifted.
SHIFT = 0.15


def edits(pair: Counterfactual) -> dict[str, Counterfactual]:
    """The same object taken out in other ways: the same mask, or one that is shifted."""
    down, right = (round(SHIFT * side) for side in _size(pair.mask))
    shifted = np.zeros_like(pair.mask)
    shifted[down:, right:] = pair.mask[: len(pair.mask) - down, : pair.mask.shape[1] - right]
    ways: dict[str, tuple[str, np.ndarray]] = {
        "navier_stokes": ("navier_stokes", pair.mask),
        "mean_fill": ("mean_fill", pair.mask),
        "shifted by 15 %": ("telea", shifted),
    }
    return {
        name: dataclasses.replace(pair, edited=inpaint(pair.original, mask, way), mask=mask, method=way)
        for name, (way, mask) in ways.items()
    }


def _size(mask: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def best(vlm: ns.VLM, pair: Counterfactual, validity: Validity, count: int) -> set[int]:
    """The best neurons of the ranking of two-stage filtering."""
    chosen = method(MATCHED)
    assert isinstance(chosen, Ranking)
    ranked = chosen.score(vlm, pair, validity)
    return set(best_first(ranked.arrays[ranked.by].values)[:count].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console = ns.load("natural"), Console(stderr=True)
    layout, found, held, done = Layout(vlm.widths), defaultdict[str, list[float]](list), list[list[float]](), 0
    refused: dict[str, int] = defaultdict(int)
    for pair, validity in track(valid_pairs(vlm, args.folders, {}), console=console):
        sets = [best(vlm, pair, validity, args.count)]
        for name, other in edits(pair).items():
            try:
                known = check_validity(vlm, other)
            except InvalidSample as error:  # the word stays under this edit
                refused[f"{name}: {type(error).__name__}"] += 1
                continue
            sets.append(best(vlm, other, known, args.count))
            found[name].append(len(sets[0] & sets[-1]) / args.count)
        matched = layer_matched(vlm, ns.Neurons.of(layout.split(flat) for flat in sorted(sets[0])), seed=done)
        drawn = {layout.starts[neuron.layer] + neuron.unit for neuron in matched}
        # Random sets exclude the members themselves: their overlap is with the sets of the other edits.
        found["chance: random neurons of the same layers"] += [len(drawn & other) / args.count for other in sets[1:]]
        if len(sets) == 4:
            times = np.array([sum(flat in other for other in sets) for flat in sets[0]])
            held.append([float((times >= k).mean()) for k in (2, 3, 4)])
        done += 1
        console.print(f"{done}: {pair.sample.concept} {pair.sample.image_id}")
        if done == args.photographs:
            break
    lines = [(name, str(len(values)), str(bootstrap_mean(values))) for name, values in found.items()]
    lines += [
        (
            f"members that hold in at least {k} of 4 edits",
            str(len(held)),
            str(bootstrap_mean([row[k - 2] for row in held])),
        )
        for k in (2, 3, 4)
    ]
    head = f"Of the best {args.count} neurons under Telea, {done} photographs; refused: {dict(refused) or 'none'}."
    text = f"{head}\n\n{table(('also found under', 'photographs', 'share'), lines)}"
    Console().print(text, soft_wrap=True)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "stability.md").write_text(text + "\n", encoding="utf-8")
        document = {"overlaps": found, "held": held, "refused": refused}
        (args.out / "stability.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

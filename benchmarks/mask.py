"""How few neurons could recover half of an edit's effect: a learned mask beside the default's ranking.

    python -m benchmarks.mask FOLDER... [--photographs N] [--steps 60] [--candidates 500] [--out FOLDER]

FOLDERs are photographs with boxes in COCO's form; of each concept the first is taken. The fewest of the ranking's best
neurons that recover half of what the edit does to the word, and the fewest of the gates that learning leaves open among
these (METHODS n4): whether the caption loses the word is not asked of either, as a mask learns the share alone. Beside
them random neurons of the same layers, as many as the mask's. Intervals are over photographs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import neuronscope as ns
from neuronscope.evaluate import bootstrap_mean
from neuronscope.locate import LearnedMask, Located, edit_effect
from neuronscope.locate.target import concept_word
from neuronscope.models import Decoding
from neuronscope.report.markdown import table

from .natural import SMALLEST, valid_pairs

#: Half of the effect, by the fewest that do it, and nothing else.
HALF = ns.Recovery(share=0.5, rest=None, word=False, gap=None)


@dataclass
class Row:
    """One photograph: the sizes of both sets, and what they and random ones recover.

    Where no set was kept its size is 0; the random ones' share is None where there was none to match.
    """

    concept: str
    image: str
    effect: float
    open: int
    ranking: int
    ranking_share: float
    mask: int
    mask_share: float
    random: float | None


def record(found: Located, name: str) -> dict[str, Any]:
    """One of the records that a method leaves with its set."""
    told = found.neurons.provenance[name]
    assert isinstance(told, dict)
    return dict(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console, rows, seen = ns.load("natural"), Console(stderr=True), list[Row](), set[str]()
    mask = LearnedMask(candidates=args.candidates, steps=args.steps, draws=args.draws, cut=HALF)
    for pair, validity in valid_pairs(vlm, args.folders, {}):
        sample = pair.sample
        effect = edit_effect(vlm, pair, concept_word(validity), Decoding())
        if effect < SMALLEST or sample.concept in seen:
            continue
        seen.add(sample.concept)
        ranked = record(ns.TwoStage(cut=HALF).locate(vlm, pair, validity=validity), "recovery")
        found = mask.locate(vlm, pair, validity=validity)
        learned, left = record(found, "recovery"), int(record(found, "mask")["open"])
        random = float(np.mean(learned["random"])) if learned["random"] else None
        sizes = (int(ranked["count"]), float(ranked["share"]), int(learned["count"]), float(learned["share"]))
        rows.append(Row(sample.concept, sample.image_id, effect, left, *sizes, random))
        console.print(rows[-1])
        if len(rows) == args.photographs:
            break
    text = described(rows)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        document = {"options": {k: v for k, v in vars(args).items() if k in ("candidates", "steps", "draws")}}
        document["photographs"] = [vars(row) for row in rows]
        (args.out / "mask.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (args.out / "mask.md").write_text(text + "\n", encoding="utf-8")
    Console().print(text, soft_wrap=True)


def described(rows: list[Row]) -> str:
    """The sentence and the table."""
    kept = [row for row in rows if row.mask and row.ranking]
    head = f"On {len(kept)} of {len(rows)} photographs both ranking and open gates recover half of the edit's effect"
    if kept:
        ratio = bootstrap_mean([row.mask / row.ranking for row in kept])
        head += f", the gates with {ratio} of the neurons that the ranking needs for it"
    lines = [
        (
            row.concept,
            f"{row.effect:.2f}",
            f"{row.ranking}",
            f"{row.ranking_share:.2f}",
            f"{row.open}",
            f"{row.mask}",
            f"{row.mask_share:.2f}",
            "" if row.random is None else f"{row.random:.3f}",
        )
        for row in rows
    ]
    columns = ("photograph of", "effect", "ranking", "recovers", "open gates", "mask", "recovers", "random")
    return f"{head}.\n\n{table(columns, lines)}"


if __name__ == "__main__":
    main()

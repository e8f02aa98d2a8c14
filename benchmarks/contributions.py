"""How much one neuron adds to a noun's logit, in three units, and whether the best one is that of any noun.

    python -m benchmarks.contributions FOLDER... [--model natural] [--limit N] [--out docs/results/natural]

FOLDERs are COCO folders, of which only the photographs are used. Each is captioned, and the neurons of each noun are
discovered (Pan et al.) as published, with the final norm's gain, and divided by the norm's scale at the position.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.caption import clean_captions
from neuronscope.evaluate import bootstrap_mean
from neuronscope.locate.discovery import UNITS, Discovery, discover_in
from neuronscope.report.markdown import table
from neuronscope.samples import CocoFolder


def measure(vlm: ns.VLM, paths: list[Path], console: Console) -> list[dict[str, Any]]:
    """One row for every noun of every caption and every unit."""
    rows: list[dict[str, Any]] = []
    for path in track(paths, "photographs", console=console):
        (caption,) = clean_captions(vlm, [path])
        for norm in UNITS:
            found = discover_in(vlm, path, caption, Discovery(top=10, norm=norm))
            for noun, scores in zip(found.nouns, found.scores, strict=True):
                best = noun.neurons.scores["contribution"][0]
                rows.append(
                    {
                        "image": path.stem,
                        "noun": noun.noun.text,
                        "norm": norm,
                        "best": str(noun.neurons[0]),
                        "contribution": best,
                        "all": float(scores.sum()),
                    }
                )
    return rows


def best_for(rows: list[dict[str, Any]]) -> Counter[str]:
    """Neuron -> nouns it is best for, by its mean over the images of a noun."""
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        sums[row["noun"]][row["best"]].append(row["contribution"])
    return Counter(max(of, key=lambda neuron: (sum(of[neuron]), neuron)) for of in sums.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="natural")
    parser.add_argument("--limit", type=int, default=None, help="photographs, at most")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    paths = [path for f in args.folders for path, _ in CocoFolder.open(f).showing(CocoFolder.open(f).concepts()[0])]
    order = np.random.default_rng(0).permutation(len(paths))[: args.limit]
    rows = measure(ns.load(args.model), [paths[k] for k in order], Console(stderr=True))
    lines: list[tuple[str, ...]] = []
    numbers: dict[str, Any] = {}
    for norm, unit in UNITS.items():
        own = [row for row in rows if row["norm"] == norm]
        best, total = bootstrap_mean([r["contribution"] for r in own]), bootstrap_mean([r["all"] for r in own])
        often = best_for(own)
        nouns = len({row["noun"] for row in own})
        most = ", ".join(f"{neuron} for {count}" for neuron, count in often.most_common(2))
        lines.append((norm, unit, str(best), str(total), f"{most} of {nouns}"))
        numbers[norm] = {
            "best": best.to_dict(),
            "all": total.to_dict(),
            "best for": often.most_common(),
            "nouns": nouns,
        }
    text = table(("norm", "unit", "best neuron adds", "all neurons", "best for how many nouns"), lines)
    Console().print(f"{len(order)} photographs.\n\n{text}", soft_wrap=True)
    if args.out is not None:
        document = {"photographs": len(order), "numbers": numbers, "rows": rows}
        (args.out / "contributions.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

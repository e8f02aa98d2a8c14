"""Measure the bundled model and write what came out into its model card.

    python -m benchmarks.card [--truth-only]

Replaces the section between the marks of docs/model-card.md and writes figures.json beside the weights, so that a test
can tell whether the card speaks of the weights that are shipped. `--truth-only` measures the located neurons anew and
keeps the figures of the organism, which must be of the same weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import neuronscope as ns
from neuronscope.evaluate import Estimate
from neuronscope.loading.load import BUNDLED

from . import organism, truth

CARD = Path(__file__).parent.parent / "docs" / "model-card.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SCENES, DRAWS = 500, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--truth-only", action="store_true")
    args = parser.parse_args()
    vlm = ns.load("demo")
    figures = _kept(vlm) if args.truth_only else organism.run(vlm, SCENES, DRAWS)
    methods, refused = truth.run(vlm, 5, truth.SEEDS)
    names = (*truth.LIMITS, "neurons")
    lines = [
        f"`python -m benchmarks.organism`: {SCENES} held-out scenes, mean [95 % bootstrap interval].",
        "",
        "| figure | value | asked | holds |",
        "|---|---|---|---|",
        *(_row(f.name, f.estimate, f.limit, "yes" if f.holds else "**no**") for f in figures),
        "",
        "`python -m benchmarks.truth`: located neurons against the planted truth: 30 concepts, three held-out scenes",
        f"each, default settings; {refused} scenes on the way to three per concept did not meet the conditions.",
        "A scene in which nothing is found counts as precision 0.",
        "",
        _row("method", *names),
        "|---" * (len(names) + 1) + "|",
        *(_row(method, *(row.get(name, "-") for name in names)) for method, row in methods.items()),
        _row("asked of two-stage", *truth.LIMITS.values(), ""),
    ]
    text = CARD.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    CARD.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1], encoding="utf-8")
    document = {
        "fingerprint": vlm.fingerprint,
        "organism": {f.name: {**vars(f.estimate), "limit": f.limit, "holds": f.holds} for f in figures},
        "truth": {method: {name: vars(e) for name, e in row.items()} for method, row in methods.items()},
    }
    (BUNDLED / "figures.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _kept(vlm: ns.VLM) -> list[organism.Figure]:
    """The organism's figures as they were measured before on the same weights."""
    document = json.loads((BUNDLED / "figures.json").read_text(encoding="utf-8"))
    if document["fingerprint"] != vlm.fingerprint:
        raise SystemExit("figures.json is of other weights: run without --truth-only")
    return [
        organism.Figure(name, Estimate(row["value"], row["low"], row["high"]), row["limit"])
        for name, row in document["organism"].items()
    ]


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()

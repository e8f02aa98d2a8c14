"""Measure the bundled model and write what came out into its model card.

    python -m benchmarks.card

Replaces the section between the marks of docs/model-card.md and writes figures.json beside the weights, so that a test
can tell whether the card speaks of the weights that are shipped.
"""

from __future__ import annotations

import json
from pathlib import Path

import neuronscope as ns
from neuronscope.models.load import BUNDLED

from . import organism, truth

CARD = Path(__file__).parent.parent / "docs" / "model-card.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SCENES, DRAWS, SEED = 500, 3, 7


def main() -> None:
    vlm = ns.load("demo")
    figures = organism.run(vlm, SCENES, DRAWS)
    methods, refused = truth.run(vlm, 5, SEED)
    names = (*truth.LIMITS, "neurons")
    lines = [
        f"`python -m benchmarks.organism`: {SCENES} held-out scenes, mean [95 % bootstrap interval].",
        "",
        "| figure | value | asked | holds |",
        "|---|---|---|---|",
        *(_row(f.name, f.estimate, f.limit, "yes" if f.holds else "**no**") for f in figures),
        "",
        "`python -m benchmarks.truth`: located neurons against the planted truth: 30 concepts, a held-out scene each,",
        f"default settings; {refused} scenes were refused on the way to one per concept that meets the conditions.",
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


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()

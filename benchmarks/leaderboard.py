"""Every method against the exact effect of every neuron of the bundled model, one scene of each of its 30 concepts.

    python -m benchmarks.leaderboard [--add my_method.py] [--work leaderboard] [--out docs/results/scores]
        [--natural docs/results/natural/exact.json]

Each scene is one `neuronscope truth` without a budget: all 6,144 neurons are exchanged one by one (METHODS n2), 20 CPU
seconds a scene, and the figures are those of evaluate/ordering.py; intervals are over concepts. What is done lies under
--work, from where the same command goes on: another method costs its scores only. A method of your own is one file
that calls `ns.register_method` (docs/howto/own-method.md); what it registers is judged beside the others. The second
table is of the natural model, from what `python -m benchmarks.exact` wrote.
"""

from __future__ import annotations

import argparse
import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

import neuronscope as ns
from neuronscope.evaluate import Estimate, bootstrap_mean
from neuronscope.locate import METHODS
from neuronscope.locate.validity import check_validity
from neuronscope.report.markdown import table
from neuronscope.samples.scenes import CONCEPTS
from neuronscope.studies.locate.judged import Judged
from neuronscope.studies.locate.truth import Truth, truth_into

from .truth import valid_pair

SEED = 7
JUDGED = (
    *("difference-x-gradient", "difference-x-gradient-averaged", "difference-x-gradient-refined"),
    *("integrated-gradients", "integrated-gradients-published", "two-stage", "grad-x-activation", "activation"),
    *("activation-difference", "schwettmann", "schwettmann-max", "schwettmann-published", "pan", "pan-max"),
    *("pan-predict", "random"),
)
#: The figures of the table, and how many of a method's best are exchanged together.
SHOWN, TOGETHER = ("precision at 20", "precision at 100", "recall of 100 in 500", "Spearman"), 20


def mean(rows: list[Mapping[str, Any]], method: str, figure: str) -> Estimate | None:
    """Of `truth.json` documents that judge a method: a figure, or what its best recover together."""
    values = [
        row["recovered"][method][str(TOGETHER)] if figure == "recovered" else row["figures"][method][figure]["value"]
        for row in rows
        if method in row["figures"]
    ]
    return bootstrap_mean(values) if values else None


def tables(bundled: list[Mapping[str, Any]], natural: list[Mapping[str, Any]]) -> str:
    """Both models, the methods in the order of their precision on the bundled one."""
    columns = (*SHOWN, "recovered")
    methods = [name for name in bundled[0]["figures"] if all(name in row["figures"] for row in bundled)]

    def place(name: str) -> float:
        found = mean(bundled, name, "precision at 100")
        return -1.0 if found is None else -found.value

    methods.sort(key=place)

    def shown(rows: list[Mapping[str, Any]]) -> str:
        held = [(name, [mean(rows, name, column) for column in columns]) for name in methods]
        heads = ("method", *SHOWN, f"its best {TOGETHER} recover")
        return table(heads, [(name, *map(str, of)) for name, of in held if all(one is not None for one in of)])

    parts = [f"Bundled model, {len(bundled)} scenes, all {bundled[0]['total']:,} neurons:", shown(bundled)]
    if natural:
        asked = f"{natural[0]['asked']:,} of {natural[0]['total']:,} neurons of each"
        parts += [f"Natural model, {len(natural)} photographs, {asked}:", shown(natural)]
    return "\n\n".join(parts)


def judge(vlm: ns.VLM, concept: str, methods: tuple[str, ...], work: Path) -> Judged:
    """One scene of a concept."""
    pair, _, _ = valid_pair(vlm, concept, SEED)
    asked = Truth(image=f"{concept}.png", concept=concept, model="demo", methods=methods)
    folder = work / concept.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    return truth_into(folder, vlm, pair, check_validity(vlm, pair), asked)


def main() -> None:
    """Write the tables, scene by scene."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--add", type=Path, default=None, help="a file that registers a method of your own")
    parser.add_argument("--concepts", nargs="+", default=sorted(CONCEPTS), choices=sorted(CONCEPTS))
    parser.add_argument("--work", type=Path, default=Path("leaderboard"))
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--natural", type=Path, default=Path("docs/results/natural/exact.json"))
    args = parser.parse_args()
    before = set(METHODS)
    if args.add is not None:
        runpy.run_path(str(args.add))
    methods = (*JUDGED, *(name for name in METHODS if name not in before))
    natural = list(json.loads(args.natural.read_text(encoding="utf-8")).values()) if args.natural.exists() else []
    vlm, console = ns.load("demo"), Console(stderr=True)
    bundled: dict[str, Any] = {}
    text = ""
    for concept in args.concepts:
        judged = judge(vlm, concept, methods, args.work)
        bundled[concept] = judged.to_dict()
        console.print(f"{len(bundled)} {concept}: {judged.sentence} {judged.seconds:.0f} s", soft_wrap=True)
        text = tables(list(bundled.values()), natural)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "exact.md").write_text(text + "\n", encoding="utf-8")
            (args.out / "exact.json").write_text(json.dumps(bundled, indent=1) + "\n", encoding="utf-8")
    Console().print(text, soft_wrap=True)


if __name__ == "__main__":
    main()

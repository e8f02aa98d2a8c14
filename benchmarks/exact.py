"""Exact effects of single neurons, and how well every method orders them, on photographs and a model nobody planted.

    python -m benchmarks.exact FOLDER... [--photographs 20] [--budget 1500] [--methods NAME ...]
        [--work DIR] [--out docs/results/natural]

Each photograph is one `neuronscope truth`: the best of every method and others by chance are exchanged one by one
(METHODS n2), and the figures are those of evaluate/ordering.py. Photographs are of different concepts as long as there
are any; intervals are over photographs. What is done lies under --work, from where the same command goes on; a
photograph that exact.json under --out has already, with as many neurons and these methods, is not asked again. Without
--budget every neuron is exchanged. Judged are the methods of the leaderboard, unless some are named.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

import neuronscope as ns
from neuronscope.files import write_text
from neuronscope.locate import edit_effect
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity
from neuronscope.models import Decoding
from neuronscope.samples import Counterfactual
from neuronscope.studies.locate.judged import Judged, PooledTruth
from neuronscope.studies.locate.truth import Truth, truth_into

from .leaderboard import JUDGED
from .natural import SMALLEST, valid_pairs


def photographs(vlm: ns.VLM, folders: list[Path], count: int) -> Iterator[tuple[Counterfactual, Validity]]:
    """One of each concept, then a second of each, and so on, whose edit costs the word enough to take shares of."""
    waiting = [
        (pair, validity)
        for pair, validity in valid_pairs(vlm, folders, {})
        if edit_effect(vlm, pair, concept_word(validity), Decoding()) >= SMALLEST
    ]
    seen: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    for number, (pair, _) in enumerate(waiting):
        seen[pair.sample.concept] = seen.get(pair.sample.concept, 0) + 1
        places.append((seen[pair.sample.concept], number))
    for _, number in sorted(places)[:count]:
        yield waiting[number]


def known(path: Path | None, methods: tuple[str, ...], budget: int | None) -> dict[str, Judged]:
    """Photograph -> what a file has of it, of those that were asked for as many neurons and for all of the methods."""
    if path is None or not path.exists():
        return {}
    rows = {name: Judged.of(row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}
    return {
        name: row
        for name, row in rows.items()
        if row.asked == (row.total if budget is None else budget) and set(methods) <= row.figures.keys()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photographs", type=int, default=20)
    parser.add_argument("--budget", type=int, default=None)
    parser.add_argument("--methods", nargs="+", default=list(JUDGED))
    parser.add_argument("--work", type=Path, default=Path("exact"))
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console = ns.load("natural"), Console(stderr=True)
    methods = tuple(args.methods)
    rows: dict[str, Judged] = {}
    held = None if args.out is None else args.out / "exact.json"
    done = known(held, methods, args.budget)
    for pair, validity in photographs(vlm, args.folders, args.photographs):
        sample = pair.sample
        name = f"{sample.concept}-{Path(sample.image_id).stem}"
        asked = Truth(
            image=sample.image_id, concept=sample.concept, model="natural", budget=args.budget, methods=methods
        )
        if name in done:
            rows[name] = done[name]
        else:
            folder, begun = args.work / name, time.process_time()
            folder.mkdir(parents=True, exist_ok=True)
            rows[name] = truth_into(folder, vlm, pair, validity, asked)
            spent = time.process_time() - begun
            console.print(f"{len(rows)} {name}: {rows[name].sentence} {spent:.0f} CPU s here", soft_wrap=True)
        if held is not None:
            held.parent.mkdir(parents=True, exist_ok=True)
            write_text(held.with_suffix(".md"), PooledTruth.of(list(rows.values())).markdown())
            document = {name: row.to_dict() for name, row in {**done, **rows}.items()}
            write_text(held, json.dumps(document, indent=1) + "\n")
    Console().print(PooledTruth.of(list(rows.values())).markdown(), soft_wrap=True)


if __name__ == "__main__":
    main()

"""How high rankings put the planted neurons: average precision on held-out scenes of the bundled model.

    python -m benchmarks.rankings [--seeds 7 20 21]

The same rankings as in benchmarks.natural, which measures them where nothing was planted. Intervals are over concepts.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import neuronscope as ns
from neuronscope.evaluate import average_precision, bootstrap_mean, planted
from neuronscope.locate import Ranking, method
from neuronscope.locate.scores import Layout
from neuronscope.locate.validity import check_validity
from neuronscope.samples.scenes import CONCEPTS

from .natural import RANKINGS
from .truth import SEEDS, valid_pair


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    vlm = ns.load("demo")
    truth, layout = planted(vlm), Layout(vlm.widths)
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in RANKINGS}
    scenes = [(seed, concept) for seed in args.seeds for concept in sorted(CONCEPTS)]
    for seed, concept in track(scenes, console=Console(stderr=True)):
        pair = valid_pair(vlm, concept, seed)[0]
        validity = check_validity(vlm, pair)
        for name in RANKINGS:
            chosen = method(name)
            assert isinstance(chosen, Ranking)
            ranked = chosen.score(vlm, pair, validity)
            values = ranked.arrays[ranked.by].values
            found[name][concept].append(average_precision(values, layout, truth[concept]))
    table = Table("ranking", "average precision", title=f"{len(scenes)} scenes of the bundled model")
    for name, of in found.items():
        table.add_row(name, str(bootstrap_mean([float(np.mean(values)) for values in of.values()])))
    Console().print(table)


if __name__ == "__main__":
    main()

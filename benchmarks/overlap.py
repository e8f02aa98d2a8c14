"""How far the methods of a finished run chose the same neurons: why their scores are alike, or not.

    python -m benchmarks.overlap RUN [--model demo]

RUN is a directory of `neuronscope reproduce`. For every method, over samples: the overlap (Jaccard) with the set of
two-stage filtering in the same sample, and the share of samples in which both sets are the same. For a model with
planted neurons also how often a planted neuron's first promoted token is its own concept's word, which is all that a
score through the unembedding needs.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict

import numpy as np
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.evaluate import planted
from neuronscope.run.directory import Run

REFERENCE = "two-stage"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--model", default="demo")
    given = parser.parse_args()
    sets: dict[str, dict[tuple[str, str], frozenset[ns.Neuron]]] = defaultdict(dict)
    for row in Run.existing(given.run).table("located").to_pylist():
        neurons = ns.Neurons.from_dict(json.loads(row["neurons"]))
        sets[row["method"]][row["concept"], row["image"]] = frozenset(neurons)
    table = Table("method", "samples", "neurons per set", f"overlap with {REFERENCE}", "same set")
    reference = sets[REFERENCE]
    for method, found in sets.items():
        pairs = [(one, reference[sample]) for sample, one in found.items()]
        overlap = np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs])
        same = np.mean([a == b for a, b in pairs])
        table.add_row(
            method, str(len(pairs)), f"{np.mean([len(a) for a, _ in pairs]):.1f}", f"{overlap:.3f}", f"{same:.3f}"
        )
    Console().print(table)
    vlm = ns.load(given.model)
    if truth := planted(vlm):
        shares = [_own_word_first(vlm, concept, neurons) for concept, neurons in truth.items()]
        print(
            f"planted neurons whose first promoted token is their concept's word: {np.concatenate(shares).mean():.3f}"
        )


def _own_word_first(vlm: ns.VLM, concept: str, neurons: ns.Neurons) -> list[bool]:
    """Two-word concepts count by their first word, which is the one that a caption needs first."""
    word = concept.split()[0]
    return [found.tokens[0].strip() == word for found in ns.decode(vlm, neurons, top=1)]


if __name__ == "__main__":
    main()

"""Exact effects of single neurons, and how well scores order them, on photographs and a model nobody planted.

    python -m benchmarks.exact FOLDER... [--photographs 3] [--best 150] [--drawn 500] [--out docs/results/natural]

The effect of a neuron is E_{(l,i)} = s(o) - s(o | its activations at the image tokens are the edited picture's), s the
log-probability of the concept's word (METHODS n2), each from a forward pass of its own. Asked are the best neurons of
every ranking and as many drawn by chance of all. Correlations over the drawn ones speak for all neurons; precision at n
is the share of the n largest exact effects, of all that were asked, that a ranking has among its own best n: what no
ranking puts forward and no draw hits stays unseen, so it is an upper bound.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.evaluate import bootstrap_mean
from neuronscope.locate import Exchange, Ranking, edit_effect, method
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity
from neuronscope.models import Decoding
from neuronscope.report.markdown import table
from neuronscope.samples import Counterfactual
from neuronscope.view.agreement import rank_correlation

from .natural import RANKINGS, SMALLEST, valid_pairs

#: Where precision is taken.
DEPTHS = (20, 100)


def exact_effects(
    vlm: ns.VLM, pair: Counterfactual, validity: Validity, best: int, drawn: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Scores by ranking, the neurons that were asked, their exact effects, and which of them were drawn by chance."""
    layout = Layout(vlm.widths)
    scores: dict[str, np.ndarray] = {}
    for name in RANKINGS:
        chosen = method(name)
        assert isinstance(chosen, Ranking)
        ranked = chosen.score(vlm, pair, validity)
        scores[name] = ranked.arrays[ranked.by].values
    chance = np.random.default_rng(seed).choice(layout.total, drawn, replace=False)
    asked = np.unique(np.concatenate([chance, *(best_first(values)[:best] for values in scores.values())]))
    exchange = Exchange.of(vlm, pair.original, pair.edited, concept_word(validity), Decoding())
    effects = np.concatenate(
        [
            exchange.effects([np.arange(layout.total) == flat for flat in asked[start : start + exchange.batch_size]])
            for start in range(0, len(asked), exchange.batch_size)
        ]
    )
    return scores, asked, effects, np.isin(asked, chance)


def agreement(values: np.ndarray, asked: np.ndarray, effects: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    """How one ranking's scores go with the exact effects of one photograph."""
    own = values[asked]
    found = {
        "Pearson, all asked": _pearson(own, effects),
        "Pearson, drawn": _pearson(own[chance], effects[chance]),
        "Spearman, drawn": rank_correlation(own[chance], effects[chance]),
    }
    for depth in DEPTHS:
        true = set(asked[best_first(effects)[:depth]].tolist())
        found[f"precision at {depth}"] = len(true & set(best_first(values)[:depth].tolist())) / depth
    return found


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photographs", type=int, default=3)
    parser.add_argument("--best", type=int, default=150)
    parser.add_argument("--drawn", type=int, default=500)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console = ns.load("natural"), Console(stderr=True)
    rows: list[dict[str, dict[str, float]]] = []
    which: list[str] = []
    for pair, validity in track(valid_pairs(vlm, args.folders, {}), console=console):
        if pair.sample.concept in which or edit_effect(vlm, pair, concept_word(validity), Decoding()) < SMALLEST:
            continue  # one photograph of a concept
        scores, asked, effects, chance = exact_effects(vlm, pair, validity, args.best, args.drawn, len(rows))
        rows.append({name: agreement(values, asked, effects, chance) for name, values in scores.items()})
        which.append(pair.sample.concept)
        console.print(f"{pair.sample.concept} {pair.sample.image_id}: {len(asked)} neurons asked")
        if len(rows) == args.photographs:
            break
    columns = tuple(rows[0][RANKINGS[0]])
    means = {name: {c: bootstrap_mean([row[name][c] for row in rows]) for c in columns} for name in RANKINGS}
    lines = [(name, *(str(of[c]) for c in columns)) for name, of in means.items()]
    text = f"Exact effects of single neurons on {len(rows)} photographs.\n\n{table(('ranking', *columns), lines)}"
    Console().print(text, soft_wrap=True)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "exact.md").write_text(text + "\n", encoding="utf-8")
        (args.out / "exact.json").write_text(json.dumps({"concepts": which, "photographs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Do words, maps and top pictures read the neurons that matter on a model in which nothing was planted?

    python -m benchmarks.meaning FOLDER... --like docs/results/natural/tables.json [--limit N] [--out FOLDER]

FOLDERs are photographs with boxes in COCO's form; `--like` names the result of benchmarks.natural, whose photographs,
in seeded random order, are used. The best neurons of some rankings are read in three ways, each beside layer-matched
random neurons:

    words       how many promote a word for the concept, and how far their strongest word stands out
    maps        IoU at the object's size, pointing game and energy: of the map of activation, and of that of
                difference x gradient at every image token
    pictures    AUC of the set's activation for the other photographs that show the concept

Intervals are over photographs. What is done is written after every photograph.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import neuronscope as ns
from neuronscope.evaluate import Estimate, bootstrap_mean
from neuronscope.locate import DifferenceTimesGradient, GradTimesActivation, Ranking
from neuronscope.locate.difference_x_gradient import attribution_at_tokens
from neuronscope.locate.scores import Layout, best_first, read_layers
from neuronscope.locate.validity import Validity, valid_pair
from neuronscope.meaning import localise
from neuronscope.meaning.localisation import matched_sets
from neuronscope.meaning.pictures import auc, set_scores
from neuronscope.meaning.places import SHOWN
from neuronscope.report.markdown import table
from neuronscope.samples import CocoFolder, Counterfactual
from neuronscope.view import Heatmap
from neuronscope.view.heatmap import heatmaps, paint

#: The default's ranking, whose best neurons recover an edit, and stage 2 of two-stage filtering.
RANKINGS: Mapping[str, Ranking] = {
    "difference-x-gradient, refined": DifferenceTimesGradient.refined(),
    "grad-x-activation": GradTimesActivation(),
}
#: Neurons of a set, and how many of them a heat map averages by default.
COUNT, AVERAGED = 50, 5
#: Random sets of each set.
DRAWS = 20
#: Maps are compared with the object at every so many pixels.
STEP = 3
#: Order in which photographs are taken, so that the first ones are a random sample.
SEED = 0


@dataclass
class Figures:
    """Of one photograph: ranking -> figure -> (of the set, mean of the random sets)."""

    concept: str
    image: str
    object_share: float
    every: dict[str, float]
    numbers: dict[str, dict[str, tuple[float, float]]] = field(
        default_factory=dict[str, dict[str, tuple[float, float]]]
    )
    words: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


class Album:
    """Every photograph, what it shows, and the pooled activation of every neuron in it."""

    def __init__(self, vlm: ns.VLM, folders: list[Path], console: Console) -> None:
        paths: list[Path] = []
        self.shows: list[set[str]] = []
        for folder in folders:
            source = CocoFolder.open(folder)
            shown: dict[Path, set[str]] = {}
            for concept in source.concepts():
                for path, shows in source.showing(concept):
                    shown.setdefault(path, set()).update({concept} if shows else ())
            paths += shown
            self.shows += shown.values()
        self.names = [path.stem.lstrip("0") for path in paths]
        read = [_pooled(vlm, path) for path in track(paths, "activations", console=console)]
        self.values = {pool: np.stack([one[k] for one in read]) for k, pool in enumerate(("max", "mean"))}


def _pooled(vlm: ns.VLM, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the mean activation of every neuron over the image tokens."""
    inputs = vlm.prepare([path])
    at = torch.as_tensor(inputs.images[0].positions)
    largest, mean = [list[Tensor](), list[Tensor]()]

    def use(_: int, z: Tensor) -> None:
        values = z[0].index_select(0, at.to(z.device)).float()
        largest.append(values.amax(0).cpu())
        mean.append(values.mean(0).cpu())

    read_layers(vlm, inputs, "neuron", use)
    return torch.cat(largest).numpy(), torch.cat(mean).numpy()


def photographs(vlm: ns.VLM, folders: list[Path], like: Path) -> Iterator[tuple[Counterfactual, Validity]]:
    """Those of an earlier result, in seeded random order."""
    rows = json.loads(like.read_text(encoding="utf-8"))["photographs"]
    sources = [CocoFolder.open(folder).everything() for folder in folders]
    for number in np.random.default_rng(SEED).permutation(len(rows)):
        row = rows[number]
        named = (s for source in sources if row["concept"] in source.concepts() for s in source.samples(row["concept"]))
        yield valid_pair(vlm, next(sample for sample in named if sample.image_id == row["image"]))


def figures(vlm: ns.VLM, album: Album, pair: Counterfactual, validity: Validity, seed: int) -> Figures:
    """All figures of one photograph."""
    sample, layout = pair.sample, Layout(vlm.widths)
    target = sample.region(pair.original.size, source="boxes" if sample.mask is None else "mask")
    every = ns.Neurons.of(layout.split(flat) for flat in range(layout.total))
    values = attribution_at_tokens(vlm, pair, validity, every).astype(np.float64)
    tokens = vlm.prepare([pair.original]).images[0]
    whole = _located(paint(values.sum(axis=1), tokens, pair.original, every), target)
    found = Figures(sample.concept, sample.image_id, float(target.mean()), whole)
    for name, chosen in RANKINGS.items():
        ranked = chosen.score(vlm, pair, validity)
        order = best_first(ranked.arrays[ranked.by].values)[:COUNT]
        neurons = replace(ns.Neurons.of(layout.split(int(flat)) for flat in order), concept=sample.concept)
        words = ns.decode(vlm, neurons, seed=seed)
        assert words.strength is not None
        assert words.rank is not None
        assert words.naming is not None
        found.words[name] = {
            "strongest": [[one.tokens[0], round(one.strengths[0], 1)] for one in words[:5]],
            "random": [[one.tokens[0], round(one.strengths[0], 1)] for one in words.beside[:5] if one is not None],
        }
        found.numbers[name] = {
            "neurons that name the concept": (COUNT * words.naming.found, COUNT * words.naming.random),
            "strongest word, sd": (words.strength.found, words.strength.random),
            "quantile of the strongest word": (words.strength.quantile, 0.5),
            "quantile of the concept's rank": (words.rank.quantile, 0.5),
        }
        for count in (AVERAGED, COUNT):
            sets = [neurons[:count], *matched_sets(vlm, neurons, neurons[:count], DRAWS, seed)]
            flat = [[layout.starts[n.layer] + n.unit for n in one] for one in sets]
            kinds = {
                "activation": heatmaps(vlm, pair.original, sets),
                "difference x gradient": [
                    paint(values[:, f].sum(axis=1), tokens, pair.original, one)
                    for f, one in zip(flat, sets, strict=True)
                ],
            }
            for kind, heats in kinds.items():
                own, *random = (_located(heat, target) for heat in heats)
                for figure in SHOWN:
                    mean = float(np.mean([one[figure] for one in random]))
                    found.numbers[name][f"{figure}, {kind} of {count}"] = (own[figure], mean)
        found.numbers[name] |= _pictures(vlm, album, sample.image_id, neurons, seed)
    return found


def _located(heat: Heatmap, target: np.ndarray) -> dict[str, float]:
    coarse = replace(heat, values=heat.values[::STEP, ::STEP])
    found = localise(coarse, target[::STEP, ::STEP])
    return {figure: float(getattr(found, figure)) for figure in SHOWN}


def _pictures(vlm: ns.VLM, album: Album, own: str, neurons: ns.Neurons, seed: int) -> dict[str, tuple[float, float]]:
    """AUC of set scores over the photographs but the one that the set is from; of single neurons likewise."""
    others = np.array([name != own for name in album.names])
    labels = np.array([neurons.concept in shows for shows in album.shows])[others]
    if not labels.any():
        return {}
    starts = Layout(vlm.widths).starts
    sets = [neurons, *matched_sets(vlm, neurons, neurons, DRAWS, seed)]
    numbers: dict[str, tuple[float, float]] = {}
    for pool, values in album.values.items():
        columns = [values[others][:, [starts[n.layer] + n.unit for n in one]].astype(np.float64) for one in sets]
        first, *random = (auc(set_scores(part), labels) for part in columns)
        numbers[f"AUC, {pool}, the set"] = (first, float(np.mean(random)))
        first, *random = (float(np.mean([auc(part[:, k], labels) for k in range(COUNT)])) for part in columns[:4])
        numbers[f"AUC, {pool}, mean over neurons"] = (first, float(np.mean(random)))
    return numbers


def summary(rows: list[Figures]) -> tuple[str, dict[str, dict[str, dict[str, Estimate]]]]:
    """The table over photographs, and its numbers."""
    numbers: dict[str, dict[str, dict[str, Estimate]]] = {}
    lines: list[tuple[str, ...]] = []
    for name in RANKINGS:
        for figure in rows[0].numbers[name]:
            pairs = [row.numbers[name][figure] for row in rows if figure in row.numbers[name]]
            found = {
                "set": bootstrap_mean([own for own, _ in pairs]),
                "random": bootstrap_mean([random for _, random in pairs]),
                "difference": bootstrap_mean([own - random for own, random in pairs]),
            }
            numbers.setdefault(name, {})[figure] = found
            lines.append((name, figure, *map(str, found.values()), str(len(pairs))))
    concepts = len({row.concept for row in rows})
    share = np.mean([row.object_share for row in rows])
    every = {figure: bootstrap_mean([row.every[figure] for row in rows]) for figure in SHOWN}
    numbers["all neurons"] = {f"{figure}, difference x gradient": {"set": one} for figure, one in every.items()}
    lines += [
        ("all neurons", f"{figure}, difference x gradient", str(one), "", "", str(len(rows)))
        for figure, one in every.items()
    ]
    title = (
        f"The best {COUNT} neurons in {len(rows)} photographs of {concepts} concepts; objects are {share:.2f} of them."
    )
    return f"{title}\n\n{table(('ranking', 'figure', 'set', 'random', 'difference', 'n'), lines)}", numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="tables.json of benchmarks.natural")
    parser.add_argument("--model", default="natural")
    parser.add_argument("--limit", type=int, default=None, help="photographs, at most")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    console = Console(stderr=True)
    vlm, rows = ns.load(args.model), list[Figures]()
    album = Album(vlm, args.folders, console)
    for seed, (pair, validity) in enumerate(photographs(vlm, args.folders, args.like)):
        if len(rows) == args.limit:
            break
        rows.append(figures(vlm, album, pair, validity, seed))
        console.print(f"{len(rows)}: {rows[-1].concept} {rows[-1].image}")
        if args.out is not None:
            _write(args.out, rows, len(album.names))
    Console().print(summary(rows)[0], soft_wrap=True)


def _write(folder: Path, rows: list[Figures], album: int) -> None:
    text, numbers = summary(rows)
    document = {
        "pictures": album,
        "numbers": {
            name: {figure: {k: v.to_dict() for k, v in of.items()} for figure, of in figures.items()}
            for name, figures in numbers.items()
        },
        "photographs": [asdict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meaning.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / "meaning-tables.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

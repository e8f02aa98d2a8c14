"""How much depends on the thresholds of two-stage filtering: the paper's two numbers, and q of the null-based cut.

    python -m benchmarks.thresholds [--photographs FOLDER] [--out docs/results/thresholds]

On the bundled model, 30 concepts, three held-out scenes each (those of `benchmarks.truth`): how many neurons are kept,
precision and recall against the planted ones, and on the first scene of every concept J when the set is zeroed, over
the captions of these 30 scenes. Swept are stage 1's threshold t_a and stage 2's t_g as the paper has them (site `act`,
the largest value over image tokens), the same two numbers at the site `neuron`, and q of target-decoy control in its
recommended form. With --photographs the sets' sizes on photographs that the natural model names, too.

Scores of a scene are computed once; every cut is then made on them. That is what running the method with each pair of
thresholds gives (tests/benchmarks/test_thresholds.py). Intervals are over concepts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.caption import Captioner
from neuronscope.evaluate import Effect, Estimate, bootstrap_effects, bootstrap_mean, planted
from neuronscope.evaluate.effect import counts
from neuronscope.files import output_folder, write_text
from neuronscope.locate.scores import Layout
from neuronscope.locate.thresholds import Cut, Fixed, TargetDecoy
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.report.markdown import table
from neuronscope.run.settings import environment
from neuronscope.samples import Counterfactual
from neuronscope.samples.lexicon import published_thresholds
from neuronscope.samples.scenes import CONCEPTS
from neuronscope.view.figures import Curves, plot_curves

from .natural import valid_pairs
from .truth import SEEDS, valid_pair

#: t_a from 0.8 to 2.5, t_g from 1e-4 to 2e-3, and q.
ACTIVATION = (0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.25, 2.5)
GRADIENT = (1e-4, 2e-4, 5e-4, 1e-3, 1.5e-3, 2e-3)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: Where captions are written, of which the middle one is held while the other threshold moves.
COARSE_ACTIVATION, COARSE_GRADIENT, COARSE_SHARES = (0.8, 1.2, 1.6, 2.0, 2.5), (1e-4, 5e-4, 2e-3), (0.02, 0.1, 0.3)
HELD_ACTIVATION, HELD_GRADIENT = 1.6, 5e-4
TABLE_IV = "Table IV"

#: A pair of thresholds (t_a, t_g).
Point = tuple[float, float]


class Recorded:
    """A rule that keeps the scores it is asked about, and lets every neuron pass."""

    needs_decoys = True

    def __init__(self) -> None:
        self.target: Float[np.ndarray, "n"] = np.zeros(0)
        self.decoys: Float[np.ndarray, "sets n"] = np.zeros((0, 0))

    def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:
        """Below everything."""
        self.target, self.decoys = target, decoys
        return Cut(-np.inf, "recorded")


@dataclass(frozen=True)
class Fixable:
    """V and g of every neuron, for pairs of fixed thresholds."""

    difference: Float[np.ndarray, "neurons"]
    slope: Float[np.ndarray, "neurons"]

    @classmethod
    def of(cls, vlm: ns.VLM, pair: Counterfactual, validity: Validity, site: ns.types.Site = "act") -> Fixable:
        """The paper's scores, at its site or another one."""
        method = ns.TwoStage(activation=Fixed(0.0), gradient=Fixed(0.0), site=site, grad_pool="any")
        arrays = method.locate(vlm, pair, validity=validity).scores.arrays
        return cls(arrays["activation"].values, arrays["gradient"].values)

    def keep(self, point: Point) -> Bool[np.ndarray, "neurons"]:
        """What both thresholds let pass."""
        return (self.difference > point[0]) & (self.slope > point[1])


@dataclass(frozen=True)
class Null:
    """V and g of every neuron and of the controls, for target-decoy control."""

    activation: Recorded = field(default_factory=Recorded)
    gradient: Recorded = field(default_factory=Recorded)

    @classmethod
    def of(cls, vlm: ns.VLM, pair: Counterfactual, validity: Validity) -> Null:
        """The recommended filters' scores."""
        found = cls()
        method = ns.TwoStage(activation=found.activation, gradient=found.gradient)  # type: ignore[arg-type]
        method.locate(vlm, pair, validity=validity)
        return found

    def keep(self, q: float) -> Bool[np.ndarray, "neurons"]:
        """What passes with the same q in both stages; stage 2 chooses among the survivors of stage 1."""
        rule = TargetDecoy(q)
        first, second = self.activation, self.gradient
        keep = first.target > rule.choose(first.target, first.decoys).threshold
        if keep.any():
            keep &= second.target > rule.choose(second.target[keep], second.decoys[:, keep]).threshold
        return keep


@dataclass(frozen=True)
class Scene:
    """One picture with the scores of its concept's neurons."""

    concept: str
    pair: Counterfactual
    shown: tuple[str, ...]
    paper: Fixable
    neuron: Fixable
    null: Null

    def sets(self) -> Iterator[tuple[str, Any, Bool[np.ndarray, "neurons"]]]:
        """(sweep, point, neurons kept) of every point of every sweep."""
        for name, scores in (("act", self.paper), ("neuron", self.neuron)):
            for point in product(ACTIVATION, GRADIENT):
                yield name, point, scores.keep(point)
        if self.concept in published_thresholds():
            yield TABLE_IV, self.concept, self.paper.keep(published_thresholds()[self.concept])
        for q in SHARES:
            yield "q", q, self.null.keep(q)


def scored(vlm: ns.VLM, concept: str, pair: Counterfactual, shown: tuple[str, ...], validity: Validity) -> Scene:
    """All scores of a picture."""
    paper, neuron = (Fixable.of(vlm, pair, validity, site) for site in ("act", "neuron"))
    return Scene(concept, pair, shown, paper, neuron, Null.of(vlm, pair, validity))


def coarse(sweep: str, point: Any) -> bool:
    """Whether captions are written at a point."""
    if sweep == "q":
        return point in COARSE_SHARES
    return sweep == TABLE_IV or (point[0] in COARSE_ACTIVATION and point[1] in COARSE_GRADIENT)


def label(sweep: str, point: Any) -> str:
    """One key for a point in files; all concepts of Table IV are one."""
    if sweep == TABLE_IV:
        return TABLE_IV
    return f"q={point:g}" if sweep == "q" else f"{sweep} {point[0]:g} {point[1]:g}"


def sweep(vlm: ns.VLM, scenes: Mapping[str, Sequence[Scene]]) -> dict[str, dict[str, Estimate]]:
    """Point -> figure -> estimate; `scenes` by concept."""
    layout, truth = Layout(vlm.widths), planted(vlm)
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for concept, own in scenes.items():
        right = layout.mask(truth[concept])
        for scene in own:
            for name, point, keep in scene.sets():
                hit = float((keep & right).sum())
                figures = {
                    "neurons": float(keep.sum()),
                    "precision": hit / max(1.0, float(keep.sum())),
                    "recall": hit / float(right.sum()),
                    "empty": float(not keep.any()),
                }
                for figure, value in figures.items():
                    values.setdefault(label(name, point), {}).setdefault(figure, {}).setdefault(concept, []).append(
                        value
                    )
    result = {
        key: {figure: bootstrap_mean([float(np.mean(v)) for v in by.values()]) for figure, by in figures.items()}
        for key, figures in values.items()
    }
    for key, estimate in erased(vlm, [own[0] for own in scenes.values()]).items():
        result[key] |= {name: estimate[name] for name in ("S_se", "S_re", "J")}
    return result


def erased(vlm: ns.VLM, scenes: Sequence[Scene]) -> dict[str, dict[str, Estimate]]:
    """S_se, S_re and J of the coarse points' sets, each zeroed, over the captions of all these scenes."""
    layout = Layout(vlm.widths)
    captioner = Captioner(vlm, [scene.pair.original for scene in scenes])
    clean = [row[0].text for row in captioner.captions()]
    effects: dict[str, list[Effect]] = {}
    for scene in track(scenes, "captions", console=Console(stderr=True)):
        wanted = {label(name, at): keep for name, at, keep in scene.sets() if coarse(name, at)}
        different = {keep.tobytes(): keep for keep in wanted.values() if keep.any()}
        sets = [ns.Neurons.of(layout.split(int(flat)) for flat in np.nonzero(keep)[0]) for keep in different.values()]
        found = captioner.captions_under([ns.Zero(neurons) for neurons in sets])
        written = {kept: [row[0].text for row in rows] for kept, rows in zip(different, found, strict=True)}
        for key, keep in wanted.items():
            effects.setdefault(key, []).append(effect(scene.concept, scenes, written.get(keep.tobytes(), clean)))
    return {key: bootstrap_effects(found) for key, found in effects.items()}


def effect(concept: str, scenes: Sequence[Scene], captions: Sequence[str]) -> Effect:
    """Who still names its own concept."""
    own, others = list[list[bool]](), list[list[bool]]()
    for scene, text in zip(scenes, captions, strict=True):
        if scene.concept == concept:
            own.append([counts(text, concept, erased=True)])
        elif concept not in scene.shown:
            others.append([counts(text, scene.concept, erased=False)])
    return Effect(concept, np.array(own), np.array(others))


def of_photographs(vlm: ns.VLM, folder: Path, limit: int) -> dict[str, dict[str, float]]:
    """Point -> mean and largest number of neurons, and share of photographs that keep none, on the natural model."""
    sizes: dict[str, list[int]] = {}
    pairs = islice(valid_pairs(vlm, [folder], {}), limit)
    for pair, validity in track(pairs, "photographs", limit, console=Console(stderr=True)):
        scene = scored(vlm, pair.sample.concept, pair, (), validity)
        for name, point, keep in scene.sets():
            sizes.setdefault(label(name, point), []).append(int(keep.sum()))
    return {
        key: {
            "photographs": len(found),
            "neurons": float(np.mean(found)),
            "most": max(found),
            "empty": float(np.mean([size == 0 for size in found])),
        }
        for key, found in sizes.items()
    }


def columns(result: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Curves]:
    """What the figure shows: each threshold with the other one held, and q."""
    lines = {
        f"t_a at `act`, t_g = {HELD_GRADIENT:g}": [(x, f"act {x:g} {HELD_GRADIENT:g}") for x in ACTIVATION],
        f"t_g at `act`, t_a = {HELD_ACTIVATION:g}": [(x, f"act {HELD_ACTIVATION:g} {x:g}") for x in GRADIENT],
        f"t_a at `neuron`, t_g = {HELD_GRADIENT:g}": [(x, f"neuron {x:g} {HELD_GRADIENT:g}") for x in ACTIVATION],
        "q of target-decoy control": [(x, f"q={x:g}") for x in SHARES],
    }
    return {
        title.replace("`", ""): Curves(
            {
                name: [(x, result[key][name]) for x, key in points if name in result[key]]
                for name in ("precision", "recall", "J")
            },
            [(x, result[key]["neurons"]) for x, key in points],
            log="t_g" in title.split(",")[0] or title.startswith("q"),
        )
        for title, points in lines.items()
    }


def tables(result: Mapping[str, Mapping[str, Estimate]], natural: Mapping[str, Mapping[str, float]]) -> str:
    """The Markdown of all points."""
    parts = ["# Thresholds\n\nMeans with 95 % intervals over 30 concepts. J where captions were written.\n"]
    figures = ("neurons", "precision", "recall", "empty", "J")
    for name, title in (("act", "Two numbers, site `act`"), ("neuron", "The same two numbers, site `neuron`")):
        rows = [
            [f"{a:g}", f"{g:g}", *(str(result[f"{name} {a:g} {g:g}"].get(figure, "")) for figure in figures)]
            for a, g in product(ACTIVATION, GRADIENT)
        ]
        parts.append(f"## {title}\n\n{table(('t_a', 't_g', *figures), rows, 2)}\n")
    rest = [key for key in (TABLE_IV, *(f"q={q:g}" for q in SHARES)) if key in result]
    rows = [[key, *(str(result[key].get(figure, "")) for figure in figures)] for key in rest]
    parts.append(f"## Table IV's own numbers, and q\n\n{table(('cut', *figures), rows)}\n")
    if natural:
        rows = [
            [key, f"{row['photographs']:.0f}", f"{row['neurons']:.1f}", f"{row['most']:.0f}", f"{row['empty']:.2f}"]
            for key, row in natural.items()
        ]
        header = ("cut", "photographs", "neurons", "most", "share of empty sets")
        parts.append(f"## The natural model\n\n{table(header, rows)}\n")
    return "\n".join(parts)


def main() -> None:
    """Measure, write tables and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--concepts", type=int, default=len(CONCEPTS), help="the first so many")
    parser.add_argument("--photographs", type=Path, default=None, help="photographs with boxes in COCO's form")
    parser.add_argument("--limit", type=int, default=12, help="photographs, at most")
    parser.add_argument("--out", type=Path, default=Path("docs/results/thresholds"))
    args = parser.parse_args()
    vlm, scenes = ns.load(args.model), dict[str, list[Scene]]()
    for concept in track(sorted(CONCEPTS)[: args.concepts], "scores", console=Console(stderr=True)):
        for seed in args.seeds:
            pair, shown, _ = valid_pair(vlm, concept, seed)
            scenes.setdefault(concept, []).append(scored(vlm, concept, pair, shown, check_validity(vlm, pair)))
    result = sweep(vlm, scenes)
    natural = of_photographs(ns.load("natural"), args.photographs, args.limit) if args.photographs else {}
    folder = output_folder(args.out)
    output_folder(folder / "figures")
    plot_curves(columns(result), folder / "figures" / "thresholds")
    document = {
        "scenes": args.concepts * len(args.seeds),
        "bundled": {key: {name: one.to_dict() for name, one in row.items()} for key, row in result.items()},
        "natural": natural,
        "environment": environment(),
    }
    write_text(folder / "tables.json", json.dumps(document, indent=1) + "\n")
    write_text(folder / "tables.md", tables(result, natural))
    print(tables(result, natural))


if __name__ == "__main__":
    main()

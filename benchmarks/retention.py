"""What a set found on one photograph does to others: does the word go, and do other words stay?

    python -m benchmarks.retention FOLDER... [--photographs 24] [--others 12] [--out docs/results/natural]

FOLDERs are photographs with boxes in COCO's form. For each photograph A with a concept, and each method, its neurons
are changed in A, in other photographs of the concept and in photographs of other concepts (METHODS n9): set to 0, to
their mean over photographs without the concept, to their activations in one of these (resampled), to those in A's own
edited picture, or, in each picture, to those in that picture's own edit. S_se is the share of photographs of the
concept that no longer name it (A alone, and the others), S_re that of the others that still name their own. Intervals
are over the photographs A; differences are paired.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from rich.console import Console

import neuronscope as ns
from neuronscope.caption import clean_captions, generate_captions
from neuronscope.evaluate import bootstrap_mean, named
from neuronscope.evaluate.aggregate import j_of
from neuronscope.intervene import Intervention, Mean, Patch, Zero
from neuronscope.locate import Ranking, edit_effect, layer_matched, method
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity
from neuronscope.models import Decoding
from neuronscope.report.markdown import table
from neuronscope.samples import Counterfactual

from .natural import SMALLEST, valid_pairs

#: Neurons of the sets that are cut by number; two-stage filtering cuts its own.
SIZE = 200
RANKED = ("difference-x-gradient-refined", "grad-x-activation", "schwettmann")
#: Photographs without the concept whose activations are averaged, and photographs of the concept beside A, at most.
REFERENCE, MORE = 12, 4
#: Whose random control is measured.
OURS = "two-stage"

Change = Callable[[ns.VLM, ns.Neurons, "Photograph", Sequence["Photograph"]], Intervention]


@dataclass(frozen=True)
class Photograph:
    """A pair whose edit takes the word away; `shown` are all annotated concepts."""

    pair: Counterfactual
    validity: Validity
    shown: frozenset[str]

    @property
    def concept(self) -> str:
        """What is removed in its edit."""
        return self.pair.sample.concept


@dataclass(frozen=True)
class Row:
    """Of one photograph, method and change: shares of captions.

    Attributes:
        image, concept, method, change: which one.
        size: neurons of the set.
        own: whether A still names its concept; more: the share of the concept's other photographs that do, NaN where
            there is none.
        others: the share of photographs of other concepts that still name theirs.
    """

    image: str
    concept: str
    method: str
    change: str
    size: int
    own: float
    more: float
    others: float

    @property
    def j(self) -> float:
        """S_se + S_re - 1, of A and the other concepts."""
        return j_of(1 - self.own, self.others)


def _zero(vlm: ns.VLM, neurons: ns.Neurons, one: Photograph, without: Sequence[Photograph]) -> Intervention:
    return Zero(neurons)


def _mean(vlm: ns.VLM, neurons: ns.Neurons, one: Photograph, without: Sequence[Photograph]) -> Intervention:
    return Mean.over(vlm, neurons, [other.pair.original for other in without[:REFERENCE]])


def _resample(vlm: ns.VLM, neurons: ns.Neurons, one: Photograph, without: Sequence[Photograph]) -> Intervention:
    return Patch.take(vlm, neurons, without[-1].pair.original)


def _edited(vlm: ns.VLM, neurons: ns.Neurons, one: Photograph, without: Sequence[Photograph]) -> Intervention:
    return Patch.take(vlm, neurons, one.pair.edited)


#: One change for all pictures.
CHANGES: Mapping[str, Change] = {
    "zero": _zero,
    "mean of others": _mean,
    "resampled": _resample,
    "patch, A's edit": _edited,
}
#: Each picture from its own edit.
OWN_EDIT = "patch, own edit"


def photographs(vlm: ns.VLM, folders: list[Path]) -> list[Photograph]:
    """Those whose edit has an effect, one of each concept, then a second one of each."""
    groups: dict[str, list[Photograph]] = {}
    for pair, validity in valid_pairs(vlm, folders, {}):
        if edit_effect(vlm, pair, concept_word(validity), Decoding()) >= SMALLEST:
            shown = {pair.sample.concept, *(other.concept for other in pair.sample.others)}
            groups.setdefault(pair.sample.concept, []).append(Photograph(pair, validity, frozenset(shown)))
    return [one for turn in zip_longest(*groups.values()) for one in turn if one is not None]


def sets(vlm: ns.VLM, one: Photograph, seed: int) -> Iterator[tuple[str, ns.Neurons]]:
    """method -> its neurons."""
    ours = ns.TwoStage().locate(vlm, one.pair, validity=one.validity).neurons
    layout = Layout(vlm.widths)
    yield OURS, ours
    yield "random, as two-stage", layer_matched(vlm, ours, seed)
    for name in RANKED:
        chosen = method(name)
        assert isinstance(chosen, Ranking)
        ranked = chosen.score(vlm, one.pair, one.validity)
        best = best_first(ranked.arrays[ranked.by].values)[:SIZE]
        neurons = ns.Neurons.of(layout.split(int(flat)) for flat in best)
        yield name, neurons
        if name == RANKED[0]:
            yield f"random, as {name}", layer_matched(vlm, neurons, seed)


def rows(vlm: ns.VLM, one: Photograph, every: Sequence[Photograph], others: int, seed: int) -> Iterator[Row]:
    """Everything about one photograph."""
    rng = np.random.default_rng(seed)
    shuffled = [every[k] for k in rng.permutation(len(every))]
    without = [other for other in shuffled if one.concept not in other.shown]
    asked = without[:others]
    more = [other for other in shuffled if other.concept == one.concept and other is not one][:MORE]
    pictures = [one, *more, *asked]
    for name, neurons in sets(vlm, one, seed):
        changes = {change: make(vlm, neurons, one, without[others:]) for change, make in CHANGES.items()}
        for change, hits in _hits(vlm, pictures, neurons, changes):
            own, same, rest = hits[0], hits[1 : 1 + len(more)], hits[1 + len(more) :]
            share = float(np.mean(same)) if same else float("nan")
            image = one.pair.sample.image_id
            yield Row(image, one.concept, name, change, len(neurons), float(own), share, float(np.mean(rest)))


def _hits(
    vlm: ns.VLM, pictures: Sequence[Photograph], neurons: ns.Neurons, changes: Mapping[str, Intervention]
) -> Iterator[tuple[str, list[bool]]]:
    """change -> whether each picture's caption still names its own concept."""
    for name, change in changes.items():
        found = generate_captions(vlm, [one.pair.original for one in pictures], change)
        yield name, [named(row[0].text, one.concept) for one, row in zip(pictures, found, strict=True)]
    hits: list[bool] = []
    for one in pictures:
        with vlm.intervene(Patch.take(vlm, neurons, one.pair.edited)):
            hits.append(named(clean_captions(vlm, [one.pair.original])[0].text, one.concept))
    yield OWN_EDIT, hits


def pages(found: Sequence[Row]) -> str:
    """One table per change, and one of paired differences in J."""
    methods, images = list(dict.fromkeys(row.method for row in found)), {row.image for row in found}
    text = [f"{len(images)} photographs of {len({row.concept for row in found})} concepts."]
    for change in dict.fromkeys(row.change for row in found):
        lines = [_line(name, [row for row in found if (row.method, row.change) == (name, change)]) for name in methods]
        columns = ("method", "neurons (median)", "S_se, A", "S_se, other photographs of it", "S_re", "J, A")
        text += [f"## {change}", table(columns, lines)]
    return "\n\n".join([*text, "## J of two-stage less that of the others, paired", _differences(found, methods)])


def _line(name: str, of: Sequence[Row]) -> tuple[str, ...]:
    more = [1 - row.more for row in of if not np.isnan(row.more)]
    figures = ([1 - row.own for row in of], more, [row.others for row in of], [row.j for row in of])
    return name, f"{np.median([row.size for row in of]):.0f}", *(str(bootstrap_mean(values)) for values in figures)


def _differences(found: Sequence[Row], methods: Sequence[str]) -> str:
    known = {(row.image, row.concept, row.method, row.change): row.j for row in found}
    changes = list(dict.fromkeys(row.change for row in found))

    def less(name: str, change: str) -> str:
        of = [key for key in known if key[2:] == (OURS, change)]
        return str(bootstrap_mean([known[key] - known[key[0], key[1], name, change] for key in of]))

    lines = [(name, *(less(name, change) for change in changes)) for name in methods if name != OURS]
    return table(("less", *changes), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photographs", type=int, default=24)
    parser.add_argument("--others", type=int, default=12, help="photographs of other concepts beside each")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console = ns.load("natural"), Console(stderr=True)
    every, found = photographs(vlm, args.folders), list[Row]()
    for seed, one in enumerate(every[: args.photographs]):
        found += rows(vlm, one, every, args.others, seed)
        console.print(f"{seed + 1}: {one.concept} {one.pair.sample.image_id}")
        if args.out is not None:
            write(args.out, found)
    Console().print(pages(found), soft_wrap=True)


def write(out: Path, found: Sequence[Row]) -> None:
    """The tables and the numbers, of as many photographs as there are."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "retention.md").write_text(f"# Retention\n\n{pages(found)}\n", encoding="utf-8")
    document = {"rows": [asdict(row) for row in found]}
    (out / "retention.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

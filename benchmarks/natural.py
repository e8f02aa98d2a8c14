"""What sets of neurons recover of an edit's effect on photographs, on a model in which nothing was planted.

    python -m benchmarks.natural FOLDER... [--limit N] [--rankings NAME...] [--out docs/results/natural]

FOLDERs are photographs with boxes in COCO's form. A photograph counts where the model names an annotated object and no
longer does in the edited picture. For every ranking and every n, the best n neurons are patched from the edited picture
into the original at the image tokens: the share of the edit's effect on the word's log-probability that they recover
(METHODS n2), and whether the word is gone from the whole caption. Beside them layer-matched random sets of the same
size, and all neurons: the ceiling. Two-stage filtering as it is by default chooses its own size: how large its sets
are, what they recover, what they restore in the edited picture, and the same of random ones. Intervals are over
photographs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.caption import clean_captions
from neuronscope.errors import InvalidSample
from neuronscope.evaluate import Estimate, bootstrap_mean, named
from neuronscope.intervene import Patch
from neuronscope.locate import Exchange, Ranking, edit_effect, layer_matched
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity, valid_pair
from neuronscope.models import Decoding
from neuronscope.report.markdown import table
from neuronscope.samples import CocoFolder, Counterfactual
from neuronscope.studies.reproduce.specs import MethodSpec

RANKINGS = (
    "difference-x-gradient",
    "difference-x-gradient-averaged",
    "difference-x-gradient-refined",
    "grad-x-activation",
    "schwettmann",
    "activation-difference",
)
#: The ranking whose sets the random ones match.
MATCHED = "difference-x-gradient-refined"
COUNTS = (10, 20, 50, 100, 200)
#: Where captions are written under the patch.
CAPTIONED = (50, 200)
#: An effect smaller than this, in natural logarithms, is none to take shares of.
SMALLEST = 0.5


@dataclass
class Figures:
    """Of one photograph: ranking -> n -> share, and ranking -> n -> whether the word is gone."""

    concept: str
    image: str
    caption: str
    edited: str
    effect: float
    ceiling: float
    shares: dict[str, dict[int, float]] = field(default_factory=dict[str, dict[int, float]])
    gone: dict[str, dict[int, bool]] = field(default_factory=dict[str, dict[int, bool]])
    default: dict[str, float] = field(default_factory=dict[str, float])


def valid_pairs(vlm: ns.VLM, folders: list[Path], refused: dict[str, int]) -> Iterator[tuple[Counterfactual, Validity]]:
    """Every photograph and concept that meet the conditions; why others do not is counted."""
    for folder in folders:
        source = CocoFolder.open(folder).everything()
        for sample in (sample for concept in source.concepts() for sample in source.samples(concept)):
            found = _valid(vlm, sample, refused)
            if found is not None:
                yield found


def _valid(vlm: ns.VLM, sample: ns.Sample, refused: dict[str, int]) -> tuple[Counterfactual, Validity] | None:
    try:
        return valid_pair(vlm, sample)
    except InvalidSample as error:
        name = type(error).__name__
        refused[name] = refused.get(name, 0) + 1
        return None


def default_set(vlm: ns.VLM, pair: Counterfactual, found: ns.Located, seed: int) -> dict[str, float]:
    """The set that `TwoStage()` keeps, by its own record, and whether the word is gone under random neurons."""
    cut = found.neurons.provenance["recovery"]
    assert isinstance(cut, dict)
    row = {name: float(cut[name]) for name in ("count", "fewest", "share", "others", "restored", "named")}  # pyright: ignore[reportArgumentType]
    row["random"] = float(np.mean(cut["random"] or [0.0]))  # pyright: ignore[reportArgumentType]
    if len(found.neurons):
        control = layer_matched(vlm, found.neurons, seed)
        row["random gone"] = float(gone(vlm, pair, control))
        row["gone"] = float(gone(vlm, pair, found.neurons))
    return row


def gone(vlm: ns.VLM, pair: Counterfactual, neurons: ns.Neurons) -> bool:
    """Whether the caption no longer names the concept with some neurons patched from the edited picture."""
    with vlm.intervene(Patch.take(vlm, neurons, pair.edited)):
        caption = clean_captions(vlm, [pair.original])[0].text
    return not named(caption, pair.sample.concept)


def figures(
    vlm: ns.VLM, pair: Counterfactual, validity: Validity, effect: float, seed: int, rankings: Sequence[str] = RANKINGS
) -> Figures:
    """All figures of one photograph."""
    word, decoding, layout = concept_word(validity), Decoding(), Layout(vlm.widths)
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, decoding)
    ceiling = float(exchange.effects([np.ones(layout.total, dtype=bool)])[0]) / effect
    sample = pair.sample
    found = Figures(sample.concept, sample.image_id, validity.original.text, validity.edited.text, effect, ceiling)
    orders: dict[str, np.ndarray] = {}
    ours = ns.TwoStage().locate(vlm, pair, validity=validity)
    found.default = default_set(vlm, pair, ours, seed)
    orders[MATCHED] = best_first(ours.scores.arrays[ours.ranked_by].values)
    for name in rankings:
        if name == MATCHED:
            continue  # the ranking of two-stage filtering
        chosen = MethodSpec.parse(name).make(sample.concept)
        assert isinstance(chosen, Ranking)
        ranked = chosen.score(vlm, pair, validity)
        orders[name] = best_first(ranked.arrays[ranked.by].values)
    sets = {(name, n): order[:n] for name, order in orders.items() for n in COUNTS}
    for n in COUNTS:
        matched = ns.Neurons.of(layout.split(int(flat)) for flat in sets[MATCHED, n])
        control = layer_matched(vlm, matched, seed=seed)
        sets["random, layer-matched", n] = np.array([layout.starts[u.layer] + u.unit for u in control])
    masks = [np.isin(np.arange(layout.total), chosen) for chosen in sets.values()]
    for (name, n), recovered in zip(sets, exchange.effects(masks), strict=True):
        found.shares.setdefault(name, {})[n] = float(recovered) / effect
    for (name, n), chosen in sets.items():
        if n in CAPTIONED:
            neurons = ns.Neurons.of(layout.split(int(flat)) for flat in chosen)
            found.gone.setdefault(name, {})[n] = gone(vlm, pair, neurons)
    return found


def summary(rows: list[Figures]) -> tuple[str, dict[str, dict[str, Estimate]]]:
    """The table over photographs, and its numbers."""
    numbers: dict[str, dict[str, Estimate]] = {}
    for name in rows[0].shares:
        shares = {f"share, n = {n}": bootstrap_mean([row.shares[name][n] for row in rows]) for n in COUNTS}
        gone = {f"word gone, n = {n}": bootstrap_mean([float(row.gone[name][n]) for row in rows]) for n in CAPTIONED}
        numbers[name] = shares | gone
    columns = ("ranking", *next(iter(numbers.values())))
    lines = [(name, *(str(estimate) for estimate in of.values())) for name, of in numbers.items()]
    title = (
        f"Patched from the edited picture, {len(rows)} photographs of {len({row.concept for row in rows})} concepts."
    )
    ceiling = bootstrap_mean([row.ceiling for row in rows])
    return f"{title} All FFN neurons recover {ceiling}.\n\n{table(columns, lines)}", numbers


def of_default(rows: list[Figures]) -> str:
    """What the sets are that two-stage filtering keeps, in a table."""
    kept = [row.default for row in rows if row.default["count"]]
    sizes = np.array([row["count"] for row in kept])
    quartiles = ", ".join(f"{q:.0f}" for q in np.percentile(sizes, [25, 50, 75, 95, 100]))
    shares = {
        "a set is kept": [float(row.default["count"] > 0) for row in rows],
        "of the edit's effect recovered": [row["share"] for row in kept],
        "at least half of it": [float(row["share"] >= 0.5 * min(1, whole.ceiling)) for row, whole in _pairs(rows)],
        "the word gone from the caption": [row["gone"] for row in kept],
        "as many random neurons recover": [row["random"] for row in kept],
        "the word gone with random neurons": [row["random gone"] for row in kept],
        "all other neurons recover": [row["others"] for row in kept],
        "restored in the edited picture": [row["restored"] for row in kept],
        "named again in the edited picture": [row["named"] for row in kept],
        "at most 100 neurons": [float(size <= 100) for size in sizes],
        "at most 300 neurons": [float(size <= 300) for size in sizes],
    }
    lines = [(name, str(bootstrap_mean(values))) for name, values in shares.items()]
    head = f"`TwoStage()`: {len(kept)} of {len(rows)} photographs; sizes (25, 50, 75, 95, 100 %): {quartiles}."
    return f"{head}\n\n{table(('share of photographs, or mean', ''), lines)}"


def _pairs(rows: list[Figures]) -> list[tuple[dict[str, float], Figures]]:
    return [(row.default, row) for row in rows if row.default["count"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="natural")
    parser.add_argument("--limit", type=int, default=None, help="photographs, at most")
    parser.add_argument("--rankings", nargs="*", default=RANKINGS, help="as of `reproduce --methods`; all")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, refused, rows, console = ns.load(args.model), dict[str, int](), list[Figures](), Console(stderr=True)
    for seed, (pair, validity) in enumerate(track(valid_pairs(vlm, args.folders, refused), console=console)):
        effect = edit_effect(vlm, pair, concept_word(validity), Decoding())
        if effect < SMALLEST:
            refused["EffectTooSmall"] = refused.get("EffectTooSmall", 0) + 1
            continue
        rows.append(figures(vlm, pair, validity, effect, seed, args.rankings))
        console.print(f"{len(rows)}: {rows[-1].concept} {rows[-1].image}")
        if len(rows) == args.limit:
            break
        if args.out is not None:
            write(args.out, rows, refused)
    Console().print(write(args.out, rows, refused), soft_wrap=True)


def write(out: Path | None, rows: list[Figures], refused: dict[str, int]) -> str:
    """The tables, written to a folder as well where one is given."""
    text, numbers = summary(rows)
    text = f"{text}\n\n{of_default(rows)}"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        document = {
            "numbers": {name: {k: v.to_dict() for k, v in of.items()} for name, of in numbers.items()},
            "refused": refused,
            "photographs": [vars(row) for row in rows],
        }
        (out / "tables.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (out / "tables.md").write_text(text + "\n", encoding="utf-8")
    return text


if __name__ == "__main__":
    main()

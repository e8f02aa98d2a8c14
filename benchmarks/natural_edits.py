"""Edit a model in which nothing was planted: words rewritten in located neurons, beside random neurons.

    python -m benchmarks.natural_edits FOLDER... [--pairs dog-cat ...] [--work neuronscope-natural-edits]
                                       [--out docs/results/natural]

FOLDERs are photographs with boxes in COCO's form. The neurons of a word are those that `TwoStage()` keeps on up to
three photographs of it that meet the conditions, together; with these photographs the edit is made, and Graft's donors
are the target's neurons, found in the same way. Held out are other photographs that the model captions with the word,
annotated or not; the others are photographs whose caption does not name it. Random neurons are as many of the same
layers.

A pair's figures are kept in the work folder: a broken run goes on from there. Intervals are over pairs of words.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import neuronscope as ns
from neuronscope.caption import clean_captions
from neuronscope.errors import InvalidSample, NeuronscopeError
from neuronscope.evaluate import named
from neuronscope.evaluate.editing import MEASURES, Evaluation, Probes, Wording, estimate, evaluate_edit, read
from neuronscope.files import output_folder, write_text
from neuronscope.locate import layer_matched
from neuronscope.locate.validity import valid_pair
from neuronscope.models import Decoding
from neuronscope.report.cells import Cell, interval
from neuronscope.report.markdown import table
from neuronscope.run.settings import environment
from neuronscope.samples import CocoFolder

from .editing import Making, makings

#: A circle: every word is once the source and once the target.
PAIRS = ("dog-cat", "cat-boat", "boat-car", "car-chair", "chair-bird", "bird-dog")
#: Photographs an edit is made with, held out, to stay while it is made, and others that it is measured on, at most.
EDITED, HELD_OUT, KEPT, OTHERS = 3, 4, 3, 6
#: Of learning, and tokens of a caption: the model says one or two words, and an edited one that stammers is cut off.
STEPS, TOKENS = 10, 6
SHOWN = ("success", "generality", "gone", "locality", "text_perplexity", "text_agreement", "perplexity")
TEXTS = (
    "The bridge was closed for repairs, so they walked along the river to the next one.",
    "She opened the letter, read it twice and put it back into the drawer.",
    "Water boils at a lower temperature on a mountain than it does by the sea.",
    "After the meeting we agreed to send the figures before the end of the week.",
    "The old library has more books than anyone in the town could ever read.",
    "He learned to play the violin when he was already forty years old.",
    "In winter the lake freezes, and children skate on it until it is dark.",
    "A good map tells you not only where you are but also where you could go.",
)


@dataclass(frozen=True)
class Word:
    """What is known of a word: the photographs it was located on, and what was found."""

    pictures: tuple[Path, ...]
    neurons: ns.Neurons
    sizes: tuple[int, ...]


def located(vlm: ns.VLM, folders: Sequence[CocoFolder], concept: str) -> Word:
    """The neurons of a word. Raises InvalidSample where no photograph of it meets the conditions."""
    pictures: list[Path] = []
    sets: list[ns.Neurons] = []
    for folder in folders:
        if concept not in folder.everything().concepts():
            continue
        for sample in folder.everything().samples(concept):
            if len(sets) == EDITED:
                break
            try:
                pair, validity = valid_pair(vlm, sample)
                found = ns.TwoStage().locate(vlm, pair, validity=validity).neurons
            except InvalidSample:
                continue
            if len(found):
                assert isinstance(sample.image, (str, Path))
                pictures.append(Path(sample.image))
                sets.append(found)
    if not sets:
        raise InvalidSample(f"no photograph of {concept!r} meets the conditions")
    members = dict.fromkeys(neuron for found in sets for neuron in found)
    joined = ns.Neurons(tuple(members), site="neuron", concept=concept, method="two-stage", model=vlm.identity())
    return Word(tuple(pictures), joined, tuple(len(found) for found in sets))


def editors(vlm: ns.VLM, source: str, target: str, donors: ns.Neurons) -> dict[str, Making]:
    """What is compared, each from neurons, photographs of the source, and photographs that are to stay."""
    words: dict[str, Any] = {"source": source, "target": target, "decoding": Decoding(max_new_tokens=TOKENS)}
    graft: Any = ns.editor("graft", **words, donors=donors)
    closed: dict[str, Any] = {"swap": ns.editor("swap", **words), "embed": ns.editor("embed", **words), "graft": graft}
    fitted: dict[str, Any] = {
        "focused graft": ns.Focused(graft),
        "learned": ns.editor("learned", **words, steps=STEPS),
    }
    return makings(vlm, closed, fitted)


def measure(
    vlm: ns.VLM,
    words: Mapping[str, Word],
    captions: Mapping[Path, str],
    source: str,
    target: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """One pair of words with every editor."""
    own = words[source]
    rest = [path for path in captions if path not in own.pictures]
    shown = [path for path in rest if named(captions[path], source)][:HELD_OUT]
    others = [path for path in rest if not named(captions[path], source)]
    random.Random(source).shuffle(others)
    kept, others = others[:KEPT], others[KEPT : KEPT + OTHERS]
    probes = Probes(own.pictures, shown, others, texts=TEXTS, decoding=Decoding(max_new_tokens=TOKENS))
    before = read(vlm, probes)
    weights = {name: value.detach().clone() for name, value in vlm.model.named_parameters()}
    rows: list[dict[str, Any]] = []
    for name, make in editors(vlm, source, target, words[target].neurons).items():
        start = time.process_time()
        try:
            found = evaluate_edit(
                vlm,
                lambda neurons, make=make: make(neurons, own.pictures, kept),
                own.neurons,
                Wording(source, target),
                probes,
                before=before,
            )
        except NeuronscopeError as error:
            rows.append({"editor": name, "refused": f"{type(error).__name__}: {error}"})
            say(f"{source} -> {target}, {name}: {error}")
            continue
        same = all(torch.equal(value, weights[key]) for key, value in vlm.model.named_parameters())
        seconds = round(time.process_time() - start, 1)
        rows.append({"editor": name, **_figures(found), "weights_restored": same, "seconds": seconds})
        say(f"{source} -> {target}, {name}: {seconds} s, {rows[-1]['captions']['held_out'][:4]}")
    return {
        "source": source,
        "target": target,
        "neurons": len(own.neurons),
        "sizes": list(own.sizes),
        "donors": len(words[target].neurons),
        "photographs": {"edited": len(own.pictures), "held_out": len(shown), "kept": len(kept), "others": len(others)},
        "rows": rows,
    }


def spoken(vlm: ns.VLM, neurons: ns.Neurons, source: str, target: str) -> float:
    """How much of the vectors is about the two words: the median of |change|/|vector| that Swap makes of them."""
    edit = ns.editor("swap", source=source, target=target).edit(vlm, neurons)
    shares = [(edit.new[k] - old).norm(dim=0) / old.norm(dim=0) for k, old in edit.old.items()]
    return float(torch.cat([share.float() for share in shares]).median())


def _figures(found: Evaluation) -> dict[str, Any]:
    return {
        "share": found.edit.share,
        "report": {k: v for k, v in found.edit.report.items() if k in ("steps", "kept_step", "converged", "images")},
        "edited": {name: list(one.values) for name, one in found.measured.items()},
        "random": {name: list(one.values) for name, one in found.control.items()},
        "captions": {
            group: list(zip(getattr(found.before, group), getattr(found.after, group), strict=True))
            for group in ("edited", "held_out", "others")
        },
    }


def tables(documents: Sequence[Mapping[str, Any]], layers: int) -> str:
    """All pairs as Markdown."""
    names = list(dict.fromkeys(row["editor"] for d in documents for row in d["rows"]))
    sizes = {name: _range([d["photographs"][name] for d in documents]) for name in ("edited", "held_out", "others")}
    parts = [
        f"{len(documents)} pairs of words, {', '.join(d['source'] + ' -> ' + d['target'] for d in documents)}. Edits "
        f"of {_range([d['neurons'] for d in documents])} located neurons, made with {sizes['edited']} photographs, "
        f"measured on {sizes['held_out']} held out and {sizes['others']} others. Means over pairs with 95 % intervals "
        "over pairs."
    ]
    for side, title in (("edited", "The edits"), ("random", "The same editors on random neurons of the same layers")):
        lines = [(MEASURES[key].title, *(_cell(documents, name, side, key) for name in names)) for key in SHOWN]
        parts += [f"{title}:", table(("measure", *names), lines)]
    refused = [
        f"- {d['source']} -> {d['target']}, {row['editor']}: {row['refused']}"
        for d in documents
        for row in d["rows"]
        if "refused" in row
    ]
    parts += ["Refused:", "\n".join(refused)] if refused else ["No editor refused a pair."]
    restored = all(row.get("weights_restored", True) for d in documents for row in d["rows"])
    parts.append(f"Every weight is as it was after each edit: {'yes' if restored else 'NO'}.")
    each = {name: [d["spoken"][name] for d in documents] for name in ("located", "random")}
    parts.append(
        "What Swap exchanges is how a vector reads in the directions of the two words. It changes located vectors by "
        f"{min(each['located']):.0%} to {max(each['located']):.0%} of their length in the median, random ones by "
        f"{min(each['random']):.0%} to {max(each['random']):.0%}: they do not write the words themselves. Half of them "
        f"lie in layers up to {', '.join(str(_middle(d['layers'])) for d in documents)} of {layers - 1}."
    )
    pairs = [
        (f"{d['source']} -> {d['target']}", str(d["neurons"]), *(_short(d, name) for name in names)) for d in documents
    ]
    parts += ["Success / generality / locality of each pair:", table(("pair", "neurons", *names), pairs)]
    return "\n\n".join(parts) + "\n"


def _range(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)}"


def _middle(layers: Mapping[str, int]) -> int:
    """The layer of the middle neuron."""
    owners = [int(layer) for layer, count in layers.items() for _ in range(count)]
    return sorted(owners)[len(owners) // 2]


def _rows(documents: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [row for d in documents for row in d["rows"] if row["editor"] == name and "refused" not in row]


def _cell(documents: Sequence[Mapping[str, Any]], name: str, side: str, key: str) -> str | Cell:
    values = [row[side][key] for row in _rows(documents, name) if row[side].get(key)]
    means = [sum(own) / len(own) for own in values]
    return interval(estimate(means, ratio=MEASURES[key].ratio).to_dict()) if means else "-"


def _short(document: Mapping[str, Any], name: str) -> str:
    found = _rows([document], name)
    if not found:
        return "refused"
    values = [found[0]["edited"][key] for key in ("success", "generality", "locality")]
    return " / ".join(f"{sum(own) / len(own):.2f}" if own else "-" for own in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="natural")
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--work", type=Path, default=Path("neuronscope-natural-edits"))
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    console, work = Console(stderr=True), output_folder(args.work)
    vlm, folders = ns.load(args.model), [CocoFolder.open(folder) for folder in args.folders]
    pairs = [tuple(pair.split("-")) for pair in args.pairs]
    words: dict[str, Word] = {}
    for concept in dict.fromkeys(word for pair in pairs for word in pair):
        words[concept] = _kept(vlm, folders, concept, work)
        console.print(f"{concept}: {words[concept].sizes} neurons, together {len(words[concept].neurons)}")
    captions = _captions(vlm, args.folders, work)
    documents: list[dict[str, Any]] = []
    for source, target in pairs:
        path = work / f"{source}-{target}.json"
        if not path.is_file():
            write_text(path, json.dumps(measure(vlm, words, captions, source, target, console.print), indent=1) + "\n")
        document = json.loads(path.read_text(encoding="utf-8"))
        own = words[source].neurons
        sets = {"located": own, "random": layer_matched(vlm, own, 0)}
        document["spoken"] = {name: spoken(vlm, members, source, target) for name, members in sets.items()}
        document["layers"] = {str(layer): len(units) for layer, units in own.by_layer().items()}
        documents.append(document)
    text = tables(documents, vlm.layers)
    print(text)
    if args.out is not None:
        folder = output_folder(args.out)
        result = {"pairs": documents, "model": vlm.identity(), "environment": environment()}
        write_text(folder / "edits.json", json.dumps(result, indent=1) + "\n")
        write_text(folder / "edits.md", text)


def _kept(vlm: ns.VLM, folders: Sequence[CocoFolder], concept: str, work: Path) -> Word:
    """What was located before, or is now."""
    path, neurons = work / f"{concept}.json", work / f"{concept}-neurons.json"
    if not path.is_file():
        found = located(vlm, folders, concept)
        found.neurons.save(neurons)
        write_text(path, json.dumps({"pictures": list(map(str, found.pictures)), "sizes": found.sizes}) + "\n")
    known = json.loads(path.read_text(encoding="utf-8"))
    return Word(tuple(map(Path, known["pictures"])), ns.Neurons.load(neurons), tuple(known["sizes"]))


def _captions(vlm: ns.VLM, folders: Sequence[Path], work: Path) -> dict[Path, str]:
    """Of every photograph."""
    path = work / "captions.json"
    if not path.is_file():
        files = [file for folder in folders for file in sorted(folder.rglob("*.jpg"))]
        said = clean_captions(vlm, files)
        write_text(path, json.dumps({str(f): one.text for f, one in zip(files, said, strict=True)}, indent=1) + "\n")
    return {Path(name): text for name, text in json.loads(path.read_text(encoding="utf-8")).items()}


if __name__ == "__main__":
    main()

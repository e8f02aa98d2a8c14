"""Where to rank neurons, for rewriting a word and for suppressing an object: at the word, or at the image?

    python -m benchmarks.positions [--concepts 10] [--work neuronscope-positions] [--out docs/images/positions]

For each concept neurons are ranked once at the position that predicts its word and once at the image positions, by the
same contribution to the word's token, on 8 held-out scenes. The k best of each ranking are then

- edited, by `Swap` and by `Embed`, into another concept's word; success: the caption names the target and no longer the
  source;
- set to zero, and disturbed by noise, at the image positions of the prompt; success: the caption no longer names the
  concept;
- set to zero at every position but the image's, while the caption is written as well;

and measured on 5 other scenes, beside random neurons of the same layers. The last columns hold scenes without the
concept, whose captions should stay word for word. Intervals are over concepts. Writes the figure (.png) and, beside the
work, tables.md and tables.json; a concept's figures are kept in the work folder, and a broken run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.caption import generate_captions
from neuronscope.edit import Edit
from neuronscope.edit.columns import read_columns
from neuronscope.edit.ranked import rank_for_edit
from neuronscope.edit.words import spell
from neuronscope.evaluate import Estimate, bootstrap_mean, named
from neuronscope.files import output_folder, write_text
from neuronscope.intervene.operations import Intervention
from neuronscope.locate.target import Position
from neuronscope.models.lens import in_layer, token_directions
from neuronscope.report.cells import interval
from neuronscope.report.markdown import table
from neuronscope.samples.scenes import CONCEPTS, render
from neuronscope.studies.demo.scenes import scene_stream
from neuronscope.types import Neuron

SIZES = (1, 3, 6, 12, 24, 48)
#: Scenes neurons are ranked on, held-out ones, and ones without the concept.
RANKED, HELD_OUT, OTHERS = 8, 5, 5
#: In activation units, as everywhere in the documentation.
NOISE, DRAWS = 8.0, 2
SEED = 11
#: Of how many of the best neurons it is asked whether their vectors are against the word.
OPPOSED = 24


#: name -> edit of a set, from source to target.
EDITS: Mapping[str, Callable[[ns.VLM, ns.Neurons, str, str], Edit]] = {
    "swap": lambda vlm, neurons, s, t: ns.Swap(source=s, target=t).edit(vlm, neurons),
    "embed": lambda vlm, neurons, s, t: ns.Embed(source=s, target=t).edit(vlm, neurons),
}
#: name -> intervention on a set.
CHANGES: Mapping[str, Callable[[ns.Neurons], Intervention]] = {
    "zero": ns.Zero,
    "noise": lambda neurons: ns.Noise(neurons, level=NOISE, draws=DRAWS),
    "zero, text": lambda neurons: ns.Zero(neurons, span="text", phase="both"),
}
TITLES = {
    "swap": "edit by Swap",
    "embed": "edit by Embed",
    "zero": "zero at the image",
    "noise": "noise at the image",
    "zero, text": "zero at the text",
}
#: Those in the figure; the last one is in the table only.
SHOWN = ("swap", "embed", "zero", "noise")
#: Ranking -> what figures call it; the random ones have the layers of the same k of the ranking.
SETS = {
    "predict": "ranked at the word",
    "image": "ranked at the image",
    "random, predict": "random, layers of the word's",
    "random, image": "random, layers of the image's",
}


def pictures(source: str, target: str) -> dict[str, list[Image.Image]]:
    """Scenes of the source without the target, and scenes of other concepts without either."""
    own = (scene for scene in scene_stream(source, SEED) if target not in scene.concepts)
    shown = [render(scene).image for scene in islice(own, RANKED + HELD_OUT)]
    rest = random.Random(source).sample([c for c in sorted(CONCEPTS) if c not in (source, target)], OTHERS)
    streams = [(s for s in scene_stream(c, SEED + 1) if not {source, target} & set(s.concepts)) for c in rest]
    return {
        "ranked": shown[:RANKED],
        "held_out": shown[RANKED:],
        "others": [render(next(stream)).image for stream in streams],
    }


def measure(vlm: ns.VLM, source: str, target: str) -> dict[str, Any]:
    """Every use of every set of one concept; scenes whose caption does not name it count nowhere."""
    shown = pictures(source, target)
    before = [row[0].text for row in generate_captions(vlm, shown["held_out"])]
    held_out = [image for image, text in zip(shown["held_out"], before, strict=True) if named(text, source)]
    if not held_out:
        raise SystemExit(f"none of {HELD_OUT} captions names {source!r}: there is nothing to measure")
    images = [*held_out, *shown["others"]]
    captioner = ns.Captioner(vlm, images)
    others = [row[0].text for row in captioner.captions()][len(held_out) :]
    sets: list[tuple[int, str, ns.Neurons]] = []
    best_of = rankings(vlm, shown["ranked"], source)
    for at, best in best_of.items():
        for size in SIZES:
            matched = ns.layer_matched(vlm, best[:size], seed=SEED)
            sets += [(size, at, best[:size]), (size, f"random, {at}", matched)]
    # Interventions first: a captioner does not go on after an edit.
    jobs = [(job, use) for use in CHANGES for job in sets]
    after = captioner.captions_under([CHANGES[use](members) for (_, _, members), use in jobs])
    for use, edit in EDITS.items():
        for job in sets:
            with edit(vlm, job[2], source, target):
                after.append(generate_captions(vlm, images))
            jobs.append((job, use))
    rows: list[dict[str, Any]] = []
    for ((size, at, _), use), captions in zip(jobs, after, strict=True):
        texts = [[one.text for one in row] for row in captions]
        gone = [
            _succeeded(text, source, target if use in EDITS else None) for row in texts[: len(held_out)] for text in row
        ]
        same = [text == clean for row, clean in zip(texts[len(held_out) :], others, strict=True) for text in row]
        rows.append({"set": at, "size": size, "use": use, "success": _mean(gone), "same": _mean(same)})
    return {"rows": rows, "opposed": {at: opposed(vlm, best, source) for at, best in best_of.items()}}


def rankings(vlm: ns.VLM, images: Sequence[Image.Image], source: str) -> dict[str, ns.Neurons]:
    """The best neurons for a word, ranked at the word and at the image."""
    places: tuple[Position, ...] = ("predict", "image")
    return {at: rank_for_edit(vlm, images, source, max(SIZES), position=at) for at in places}


def opposed(vlm: ns.VLM, best: ns.Neurons, source: str) -> float:
    """Share of the best neurons' contribution that comes from value vectors against the word, with a < 0 and w . u < 0.

    `Swap` exchanges what such a vector says of the two words as it does for others. `Embed` adds the target to all.
    """
    scores = dict(zip(best, best.scores["contribution"], strict=True))
    against = 0.0
    for layer, units in best[:OPPOSED].by_layer().items():
        u = in_layer(vlm, layer, token_directions(vlm, [spell(vlm, source, "source")[0]], "gain"), "gain")
        says = (u @ read_columns(vlm, layer, units).float())[0].tolist()
        against += sum(scores[Neuron(layer, unit)] for unit, value in zip(units, says, strict=True) if value < 0)
    return against / sum(scores[neuron] for neuron in best[:OPPOSED])


def _succeeded(text: str, source: str, target: str | None) -> bool:
    return not named(text, source) and (target is None or named(text, target))


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values))


def collect(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[int, dict[str, Estimate]]]]:
    """use -> set -> size -> figure -> mean over concepts."""
    found: dict[str, dict[str, dict[int, dict[str, Estimate]]]] = {}
    for use in TITLES:
        for at in SETS:
            for size in SIZES:
                rows = [
                    row
                    for d in documents
                    for row in d["rows"]
                    if (row["use"], row["set"], row["size"]) == (use, at, size)
                ]
                figures = {name: bootstrap_mean([row[name] for row in rows]) for name in ("success", "same")}
                found.setdefault(use, {}).setdefault(at, {})[size] = figures
    return found


def draw(found: Mapping[str, Any], path: Path) -> Path:
    """One panel for each use that is shown: success against the size of the set."""
    # One style for all figures, whose parts are private to the package.
    from neuronscope.studies.discover.figures import _line as line  # pyright: ignore[reportPrivateUsage]
    from neuronscope.view.figures import _figure as drawing  # pyright: ignore[reportPrivateUsage]
    from neuronscope.view.figures import _legend_above as legend_above  # pyright: ignore[reportPrivateUsage]
    from neuronscope.view.figures import _save as save_figure  # pyright: ignore[reportPrivateUsage]
    from neuronscope.view.figures import styles

    look = styles(list(SETS.values()), [title for at, title in SETS.items() if at.startswith("random")])
    with drawing((8.4, 2.9)) as figure:
        panels = figure.subplots(1, len(SHOWN), sharey=True)
        for axes, use in zip(panels, SHOWN, strict=True):
            for at, title in SETS.items():
                points = [(size, one["success"]) for size, one in sorted(found[use][at].items())]
                line(axes, points, look[title], title)
            axes.set_xscale("log")
            axes.set_xticks(SIZES, [str(size) for size in SIZES])
            axes.minorticks_off()
            axes.set_ylim(-0.03, 1.03)
            axes.set_title(TITLES[use])
        panels[0].set_ylabel("success, held-out scenes")
        figure.supxlabel("neurons", fontsize=9)
        legend_above(figure, panels[0])
        png, svg = save_figure(figure, path)
    svg.unlink()
    return png


def tables(found: Mapping[str, Any], concepts: int) -> str:
    """All figures as Markdown."""
    parts = ["# Where neurons are ranked", f"Means over {concepts} concepts with 95 % intervals."]
    titles = {"success": "Success on held-out scenes", "same": "Captions of scenes without the concept that stay"}
    for name, title in titles.items():
        rows = [
            [TITLES[use], title_of, *(interval(_numbers(sizes[size][name])) for size in SIZES)]
            for use, sets in found.items()
            for at, sizes in sets.items()
            for title_of in [SETS[at]]
        ]
        parts += [f"## {title}", table(["use", "set", *(f"{size} neurons" for size in SIZES)], rows, 2)]
    return "\n\n".join(parts) + "\n"


def _numbers(one: Estimate) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}


def main() -> None:
    """Measure what is missing, and write tables and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--concepts", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("neuronscope-positions"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/positions"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    vlm, work = ns.load(args.model), output_folder(args.work)
    circle = random.Random(0).sample(sorted(CONCEPTS), len(CONCEPTS))
    chosen = list(zip(circle, [*circle[1:], circle[0]], strict=True))[: args.concepts]
    settings = {"fingerprint": vlm.fingerprint, "sizes": list(SIZES), "noise": NOISE, "draws": DRAWS, "seed": SEED}
    documents: list[dict[str, Any]] = []
    for source, target in track(chosen, "measuring", console=Console(stderr=True)):
        path = work / f"{source}-{target}.json".replace(" ", "_")
        if not path.is_file():
            made = {"settings": settings, "source": source, "target": target, **measure(vlm, source, target)}
            write_text(path, json.dumps(made, indent=1) + "\n")
        documents.append(json.loads(path.read_text(encoding="utf-8")))
        if documents[-1]["settings"] != settings:
            raise SystemExit(f"{path} was measured with other settings: name another folder with --work")
    found = collect(documents)
    numbers = {
        use: {
            at: {str(k): {n: _numbers(v) for n, v in one.items()} for k, one in sizes.items()}
            for at, sizes in s.items()
        }
        for use, s in found.items()
    }
    against = {at: _numbers(bootstrap_mean([d["opposed"][at] for d in documents])) for at in ("predict", "image")}
    pairs = [[d["source"], d["target"]] for d in documents]
    result = {"settings": settings, "pairs": pairs, "means": numbers, "opposed": against}
    shares = table(["set", "share"], [[SETS[at], interval(one)] for at, one in against.items()])
    title = f"## Contribution of the {OPPOSED} best by vectors against the word"
    text = f"{tables(found, len(documents))}\n{title}\n\n{shares}\n"
    write_text(work / "tables.json", json.dumps(result, indent=1) + "\n")
    write_text(work / "tables.md", text)
    print(text)
    print(draw(found, args.out))


if __name__ == "__main__":
    main()

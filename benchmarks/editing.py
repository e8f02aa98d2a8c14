"""Edit the bundled model: every concept renamed to another one, on held-out scenes, beside random neurons.

    python -m benchmarks.editing [--pairs 30] [--editors swap embed ...] [--jobs 1]
                                 [--located [paper]] [--work neuronscope-editing] [--out docs/results/editing]

Every concept is once the source and once the target. An edit changes the source's 12 planted neurons (0.2 % of all)
and is made with 8 scenes of the source, `Learned` and tuned ones also with 24 scenes without it that are to stay, and
`Graft` with the target's 12 planted neurons; it is measured on 12 other scenes of the source and 29 without it. After
each edit has been reverted, every parameter is compared bit by bit and every caption is written again; and its LoRA
adapter is put on a second copy of the model.

With --located nobody tells where the knowledge is: the source's neurons and Graft's donors are what two-stage filtering
keeps, as `TwoStage()` or in the paper's form with the thresholds of its Table IV, on one held-out scene of each word
that meets its conditions (a scene that no edit is made with or measured on). The tables are written beside those of the
planted neurons as located.md and .json, or located-paper.md and .json.

A pair's figures are kept in the work folder: a broken run goes on from there, and further editors join those measured.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

import neuronscope as ns
from neuronscope.edit import Edit
from neuronscope.evaluate import agreement, bootstrap_mean, planted
from neuronscope.evaluate.editing import Evaluation, Probes, Wording, evaluate_edit, read
from neuronscope.files import output_folder, write_text
from neuronscope.run.settings import environment
from neuronscope.samples.image import ImageSource
from neuronscope.samples.scenes import CONCEPTS, PLACES, render
from neuronscope.studies.demo.scenes import scene_stream
from neuronscope.studies.edit.tables import across, tables

from .truth import SEEDS, valid_pair

#: Scenes an edit is made with, of others that are to stay, held out, and of others that it is measured on.
EDITED, KEPT, HELD_OUT, OTHERS = 8, 24, 12, 29
PROMPTS = ("There is a",)
#: Of the unedited captions that are read without an image.
TEXTS = 10
#: What Graft is tuned over.
GRAFTED = (1.5, 2.0, 3.0, 4.0, 6.0)
#: What is asked of the best editor, and of the random control.
ASKED = {"success": 0.90, "generality": 0.85, "locality": 0.95}
RANDOM = 0.02

EDITORS = (
    *("swap", "embed", "embed, lambda 1 and 5", "graft", "graft, tuned", "graft, focused, tuned"),
    *("learned", "learned from graft"),
)

#: How neurons are located -> name of the tables.
FORMS = {"default": "located", "paper": "located-paper"}

Making = Callable[[ns.Neurons, Sequence[ImageSource], Sequence[ImageSource]], Edit]


def editors(vlm: ns.VLM, source: str, target: str, donors: ns.Neurons) -> Mapping[str, Making]:
    """What is compared, each from neurons, images of the source, and images that are to stay; `donors` are Graft's."""
    words = {"source": source, "target": target}
    graft: Any = ns.editor("graft", **words, donors=donors)
    closed: Mapping[str, Any] = {
        "swap": ns.editor("swap", **words),
        "embed": ns.editor("embed", **words),
        "embed, lambda 1 and 5": ns.editor("embed", **words, lambda2=5.0),
        "graft": graft,
    }
    fitted: Mapping[str, Any] = {
        "graft, tuned": ns.Tuned.over(graft, lambda_u=GRAFTED),
        "graft, focused, tuned": ns.Tuned.over(graft, focused=True, lambda_u=GRAFTED),
        "learned": ns.editor("learned", **words),
        "learned from graft": ns.editor("learned", **words, start=graft),
    }
    return makings(vlm, closed, fitted)


def makings(vlm: ns.VLM, closed: Mapping[str, Any], fitted: Mapping[str, Any]) -> dict[str, Making]:
    """Editors as what makes an edit; the `fitted` ones are also given photographs that are to stay."""
    made: dict[str, Making] = {
        name: lambda neurons, images, _, editor=editor: editor.edit(vlm, neurons, images)
        for name, editor in closed.items()
    }
    return made | {
        name: lambda neurons, images, keep, editor=editor: editor.edit(vlm, neurons, images, keep=keep)
        for name, editor in fitted.items()
    }


def pairs(count: int) -> list[tuple[str, str]]:
    """Source and target: one shuffled circle of all concepts after the other."""
    found: list[tuple[str, str]] = []
    for seed in range(-(-count // len(CONCEPTS))):
        circle = random.Random(seed).sample(sorted(CONCEPTS), len(CONCEPTS))
        found += zip(circle, [*circle[1:], circle[0]], strict=True)
    return found[:count]


def pictures(source: str, target: str) -> dict[str, list[Image.Image]]:
    """Held-out scenes of the source without the target, and scenes without the source, one for each other concept."""
    own = (s for s in scene_stream(source, 1) if target not in s.concepts)
    shown = [render(scene).image for scene in islice(own, EDITED + HELD_OUT)]
    rest = [concept for concept in sorted(CONCEPTS) if concept != source]
    streams = {concept: (s for s in scene_stream(concept, 2) if source not in s.concepts) for concept in rest}
    order = random.Random(source).sample(rest, len(rest))
    others = [render(next(streams[order[n % len(order)]])).image for n in range(KEPT + OTHERS)]
    return {
        "edited": shown[:EDITED],
        "held_out": shown[EDITED:],
        "kept": others[:KEPT],
        "others": others[KEPT:],
    }


def located(vlm: ns.VLM, concept: str, form: str) -> ns.Neurons:
    """What two-stage filtering of a form keeps on the first scene of a concept on which it keeps something."""
    method = ns.TwoStage.paper(concept) if form == "paper" else ns.TwoStage()
    for seed in SEEDS:
        found = method.locate(vlm, valid_pair(vlm, concept, seed)[0]).neurons
        if len(found):
            return found
    raise SystemExit(f"nothing is kept on {len(SEEDS)} scenes of {concept!r}")


def measure(model: str, wanted: Sequence[str], work: Path, form: str | None, pair: tuple[str, str]) -> Path:
    """One pair with every wanted editor that its file does not have yet; the file. `form`: how neurons are located."""
    source, target = pair
    path = work / f"{source}-{target}{f'-{form}' if form else ''}.json".replace(" ", "_")
    torch.set_num_threads(1)
    vlm = ns.load(model)
    settings = {"fingerprint": vlm.fingerprint, "scenes": [EDITED, KEPT, HELD_OUT, OTHERS], "prompts": [*PROMPTS]}
    settings |= {"located": form} if form else {}
    document: dict[str, Any] = {"settings": settings, "rows": []}
    if path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
    if document["settings"] != settings:
        raise SystemExit(f"{path} was measured with other settings: name another folder with --work")
    missing = [name for name in wanted if name not in [row["editor"] for row in document["rows"]]]
    if not missing:
        return path
    shown, truth = pictures(source, target), planted(vlm)
    neurons, donors = (located(vlm, word, form) if form else truth[word] for word in pair)
    words = Wording(source, target, facts=tuple(sorted(PLACES)))
    texts = tuple(dict.fromkeys(vlm.captions(shown["others"])))[:TEXTS]
    probes = Probes(shown["edited"], shown["held_out"], shown["others"], texts=texts, prompts=PROMPTS)
    before, stock = read(vlm, probes), ns.load(model)
    weights = {name: value.detach().clone() for name, value in vlm.model.named_parameters()}
    makers = editors(vlm, source, target, donors)
    rows: list[dict[str, Any]] = []
    for name in missing:
        start = time.process_time()
        make = partial(_made, makers[name], shown)
        found = evaluate_edit(vlm, make, neurons, words, probes, before=before)
        rows.append(
            {
                "editor": name,
                **_figures(found),
                "weights_restored": all(
                    torch.equal(value.detach().view(torch.uint8), weights[key].view(torch.uint8))
                    for key, value in vlm.model.named_parameters()
                ),
                "adapter_error": adapter_error(vlm, stock, found.edit, shown["held_out"][:4]),
                "seconds": round(time.process_time() - start, 1),
            }
        )
    same = read(vlm, probes) == before  # after all of them: weights are compared after each
    rows = [row | {"captions_restored": same} for row in rows]
    written = {**document, "source": source, "target": target, "rows": [*document["rows"], *rows]}
    if form:
        score = agreement(neurons, truth[source])
        written["found"] = {"neurons": len(neurons), "precision": score.precision, "recall": score.recall}
    write_text(path, json.dumps(written, indent=1) + "\n")
    return path


def _made(make: Making, shown: Mapping[str, list[Image.Image]], neurons: ns.Neurons) -> Edit:
    return make(neurons, shown["edited"], shown["kept"])


def adapter_error(vlm: ns.VLM, stock: ns.VLM, edit: Edit, images: Sequence[Image.Image]) -> float:
    """Largest difference of the last four positions' logits: edit in force, and its adapter on another copy."""
    from peft import PeftModel

    inputs = vlm.prepare(images)
    with torch.no_grad(), edit:
        edited = vlm.logits(inputs, last=4)
    base: Any = stock.model
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        edit.save_adapter(folder)
        adapted: Any = PeftModel.from_pretrained(base, folder).eval()
        output = adapted(**inputs.tensors, use_cache=False)
        adapted.unload()
    return float((output.logits[:, -4:] - edited).abs().max())


def _figures(found: Evaluation) -> dict[str, Any]:
    report = {k: v for k, v in found.edit.report.items() if k in ("steps", "kept_step", "converged", "images")}
    return {
        "share": found.edit.share,
        "report": report,
        "left_out": found.left_out,
        "edited": {name: list(one.values) for name, one in found.measured.items()},
        "random": {name: list(one.values) for name, one in found.control.items()},
        "captions": [list(pair) for pair in zip(found.before.held_out[:3], found.after.held_out[:3], strict=True)],
        "others_changed": [
            list(pair) for pair in zip(found.before.others, found.after.others, strict=True) if pair[0] != pair[1]
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pairs", type=int, default=len(CONCEPTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("neuronscope-editing"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/editing"))
    parser.add_argument("--located", nargs="?", const="default", choices=FORMS, help="neurons as found, not planted")
    parser.add_argument("--editors", nargs="+", default=EDITORS, choices=EDITORS)
    args = parser.parse_args()
    one = partial(measure, args.model, args.editors, output_folder(args.work), args.located)
    console = Console(stderr=True)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        left = [pool.submit(one, pair) for pair in pairs(args.pairs)]
        paths = [f.result() for f in track(as_completed(left), "editing", len(left), console=console)]
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)]
    result = across(documents, asked=ASKED, random=RANDOM) | {"environment": environment()}
    text = tables(result)
    if args.located:
        result["found"] = {
            name: bootstrap_mean([d["found"][name] for d in documents]).to_dict()
            for name in ("neurons", "precision", "recall")
        }
        line = ", ".join(
            f"{name} {cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
            for name, cell in result["found"].items()
        )
        text += f"\nLocated sets of the sources against the planted ones: {line}.\n"
    folder, name = output_folder(args.out), {None: "tables", **FORMS}[args.located]
    write_text(folder / f"{name}.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / f"{name}.md", text)
    print(text)


if __name__ == "__main__":
    main()

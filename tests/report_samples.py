"""A result and a run full of texts that try to run something, small enough to be made in a moment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import neuronscope as ns
from neuronscope.index import NeuronIndex
from neuronscope.meaning import MapPlace, Words
from neuronscope.meaning.words import BesideRandom
from neuronscope.report import Curve, Evidence, ShownNeuron, Spoken, WordScore
from neuronscope.run.directory import Run
from neuronscope.samples.boxes import boxes_mask
from neuronscope.samples.inpaint import inpaint
from neuronscope.samples.picture_files import gather
from neuronscope.studies.index.settings import IndexPlan
from neuronscope.studies.index.work import IndexRun
from neuronscope.studies.reproduce.job import AGAIN, ReproductionJob
from neuronscope.studies.reproduce.pixels import encode_mask
from neuronscope.studies.reproduce.results import Results
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.tables import render
from neuronscope.studies.reproduce.units import SCHEMAS
from neuronscope.view import Decoded
from neuronscope.view.figures import LayerCounts

#: Each sets window.hacked where a page lets it run.
SCRIPT = "<script>window.hacked=1</script>"
CLOSING = "</script><script>window.hacked=2</script>"
IMAGE = '"><img src=x onerror="window.hacked=3">'
TEMPLATE = "{{ 7 * 191 }}"
HOSTILE = (SCRIPT, CLOSING, IMAGE, TEMPLATE)

BOX = (8.0, 8.0, 16.0, 16.0)
SIZE = (48, 32)


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def evidence() -> Evidence:
    """Three neurons in layers 1, 3 and 3 of a model of four layers, located in a picture with a hostile name."""
    neurons = ns.Neurons(
        (ns.Neuron(3, 7), ns.Neuron(1, 20), ns.Neuron(3, 100)),
        {"activation": (3.0, 1.0, 2.0), "activation_patch": (5.0, 0.0, 2.0), "gradient": (0.3, 0.2, 0.1)},
        concept="bear",
        method="two-stage",
        options={"site": "neuron", "seed": SCRIPT},
        provenance={
            "thresholds": {"activation": {"threshold": 0.5, "rule": CLOSING, "achieved": 0.25, "decoys": 2}},
            "edit": {"method": "telea"},
        },
        model={"id": "demo", "fingerprint": "0123456789abcdef"},
    )
    curve = Curve(
        (0.0, 0.5, 1.0, 2.0, 3.0), (4, 3, 2, 1, 0), (2.0, 0.0, 0.0, 0.0, 0.0), 0.5, "target_decoy(0.25)", 0.25
    )
    mask = boxes_mask([BOX], SIZE)
    maps = np.random.default_rng(1).random((3, 4, 6)).astype(np.float32)
    return Evidence(
        image=f"{IMAGE}.png",
        prompt="The image shows a",
        spoken=(
            Spoken("original", (f"brown bear {SCRIPT}",)),
            Spoken("edited", (f"{IMAGE} lawn",)),
            Spoken("noise", ("lawn", f"lawn {CLOSING}", "bear and a bear")),
            Spoken("random noise", ("bear",) * 3),
            Spoken("zero", ("lawn",)),
            Spoken("random zero", ("bear",)),
        ),
        neurons=neurons,
        units=(
            ShownNeuron(-2.5, 5, (0, 5), (40.0, 0.0, 8.0, 8.0)),
            ShownNeuron(0.25, 0, (0, 0), (0.0, 0.0, 8.0, 8.0)),
            ShownNeuron(-0.5, 2, None, None),
        ),
        words=words(neurons),
        maps=maps,
        curves={"activation": curve},
        original=picture(),
        edited=inpaint(picture(), mask),
        mask=mask,
        boxes=(BOX,),
        widths=(50, 50, 50, 150),
        word=WordScore("bear", 0.9, 0.1, 0.85),
        place=MapPlace(
            {"iou_area": 0.5, "pointing": 1.0, "energy": 0.25},
            {"iou_area": 0.125, "pointing": 0.2, "energy": 0.125},
            {"iou_area": 0.04, "pointing": 0.2, "energy": 0.04},
            24,
            0.17,
            3,
        ),
        level=6.0,
        notes=(f"a note {IMAGE}",),
        environment={"versions": {"python": "3.11"}},
        command=f"neuronscope locate '{IMAGE}'",
        python=f"import neuronscope as ns  # {CLOSING}",
    )


def words(neurons: ns.Neurons) -> Words:
    """Hostile words, hostile words of random neurons, and one neuron without any other in its layer."""
    said = (("bear", SCRIPT), (" be", TEMPLATE), ("dog",))
    other = (Decoded(ns.Neuron(3, 9), ("cat", CLOSING), (1.0, 0.5), (3.0, 2.0), 7), None, None)
    strengths = ((4.0, 3.5), (4.0, 3.0), (2.0,))
    decoded = [Decoded(n, t, tuple(z / 2 for z in s), s, 1) for n, t, s in zip(neurons, said, strengths, strict=True)]
    one = BesideRandom(4.0, 3.0, 0.75, 0.02)
    return Words(tuple(decoded), other, (0.75, None, None), neurons.concept, one, one, one, 1)


def save_result(folder: Path) -> Evidence:
    """What `neuronscope locate` leaves in its folder."""
    made = evidence()
    folder.mkdir(parents=True)
    made.save(folder)
    return made


CONCEPTS = ("bear", f"bus {SCRIPT}")
METHODS = ("two-stage", "random-layer-matched")
#: Condition -> draws.
CONDITIONS = {"noise 2": 2, "zero": 1}
PLAIN = {"bear": "brown bear on grass", CONCEPTS[1]: f"red {CONCEPTS[1]}"}
LOST = f"grass {CLOSING}{IMAGE}"


def caption(method: str, source: str, of: str, draw: int) -> str:
    """What the model says in :func:`make_run`: two-stage takes the source's concept out of its captions in draw 0."""
    return LOST if method == "two-stage" and source == of and draw == 0 else PLAIN[of]


def make_run(folder: Path, data: Path) -> Path:
    """A finished run of two concepts with one image each, and its pictures."""
    (data / "images").mkdir(parents=True)
    records = [_record(k, concept, data) for k, concept in enumerate(CONCEPTS)]
    settings: dict[str, Any] = {
        "concepts": list(CONCEPTS),
        "methods": list(METHODS),
        "images": 1,
        "levels": [2],
        "draws": 2,
        "ablations": ["zero"],
        "scale": "difference",
        "match": "lexicon",
        "preset": "recommended",
        "model": {"id": "demo", "fingerprint": "0123456789abcdef", "dtype": "float32"},
    }
    run = Run.open(folder, settings, schemas=SCHEMAS)
    run.write("dataset", {"part": "all"}, [{"document": json.dumps({"samples": records})}])
    nothing = {"refused": None, "precision": None, "recall": None, "average_precision": None}
    for method in METHODS:
        for record in records:
            key = {"method": method, "concept": record["concept"], "image": record["image_id"]}
            located = {"neurons": "{}", "count": 3, "notes": [f"note {IMAGE}"], "seconds": 1.0, **nothing}
            run.write("located", key, [located])
            for condition, draws in CONDITIONS.items():
                rows = [_row(method, record, of, draw) for of in records for draw in range(draws)]
                run.write("captions", {**key, "condition": condition}, rows)
    layers = {"two-stage": LayerCounts((1, 0, 2), (2, 0, 4))}
    sizes = {method: [3, 3] for method in METHODS}
    results = Results(METHODS, CONCEPTS, tuple(CONDITIONS), {}, {}, None, layers, (9, 9, 9), {}, sizes, {}, settings)
    render(results, folder)
    experiment = Experiment(CONCEPTS, images=1, methods=METHODS, levels=(2.0,), draws=2, ablations=("zero",))
    (folder / AGAIN).write_text(ReproductionJob(experiment, data).command(), encoding="utf-8")
    return folder


def _record(number: int, concept: str, data: Path) -> dict[str, Any]:
    name = f"{number}{IMAGE if number else ''}.png"
    image = picture(number)
    image.save(data / "images" / name)
    edited = inpaint(image, boxes_mask([BOX], SIZE))
    return {
        "image_id": name,
        "image": f"/somewhere/else/images/{name}",
        "image_sha256": digest(image),
        "size": list(SIZE),
        "concept": concept,
        "shown": [concept],
        "boxes": [list(BOX)],
        "edit": {"method": "telea", "radius": 3, "dilate": 0, "region": "auto"},
        "mask": encode_mask(boxes_mask([BOX], SIZE)),
        "edited_sha256": digest(edited),
        "prefix": "The image shows a",
        "caption": {"text": PLAIN[concept]},
        "caption_edited": {"text": LOST},
    }


def digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.height}x{image.width}".encode() + image.convert("RGB").tobytes()).hexdigest()


def _row(method: str, source: dict[str, Any], of: dict[str, Any], draw: int) -> dict[str, Any]:
    text = caption(method, source["concept"], of["concept"], draw)
    hit = text != LOST
    return {
        "of": of["image_id"],
        "names": of["concept"],
        "draw": draw,
        "caption": text,
        **dict.fromkeys(("hit", "hit_strict", "hit_lexicon", "hit_substring"), hit),
    }


def make_index(vlm: ns.VLM, pictures: Path, folder: Path, *, part: int = 128, kept: int = 3) -> NeuronIndex:
    """An index of a folder, made in the library."""
    work = IndexRun(
        vlm,
        gather([pictures], checked=False),
        IndexPlan(top=kept, batch=2, part=part),
        ns.Decoding(),
        folder,
        loaded="demo",
    )
    work.work()
    return work.finish()

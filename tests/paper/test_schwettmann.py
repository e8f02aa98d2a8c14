"""Schwettmann et al., arXiv 2308.01544, step by step: `neuronscope locate` and what follows it against plain PyTorch.

Their model's FFN is plain, where the output of the activation function is the neuron itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
import plain_torch as plain

PAIRS = 100
CONCEPT, PROMPT = "bus", "The image shows a"
QUANTILE = 0.95
WORDS = 10


@pytest.fixture(scope="module")
def sample(demo: ns.VLM, few_scenes: Path) -> dict[str, Any]:
    """The first picture that the model says a bus of, with the bus's box."""
    document = json.loads(next((few_scenes / "annotations").glob("instances*.json")).read_text(encoding="utf-8"))
    names = {one["name"]: one["id"] for one in document["categories"]}
    boxes = {one["image_id"]: one["bbox"] for one in document["annotations"] if one["category_id"] == names[CONCEPT]}
    images = {one["id"]: one["file_name"] for one in document["images"]}
    for image, box in sorted(boxes.items()):
        path = few_scenes / "images" / images[image]
        if CONCEPT in demo.caption(str(path)).split():
            return {"path": path, "box": ",".join(f"{x:g}" for x in box)}
    raise AssertionError("no picture is called a bus")


@pytest.fixture(scope="module")
def done(verb: Callable[..., Any], sample: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("schwettmann") / "out"
    asked = ("--method", "schwettmann-published", "--box", sample["box"], "--no-test", "--out", out)
    return verb("locate", sample["path"], CONCEPT, *asked), out


def products(demo: ns.VLM, picture: Image.Image) -> np.ndarray:
    """[layers, patches, units] of Z dy/dZ: Z before the activation function, y the logit of the concept's token."""
    text = f"<image>\n{PROMPT}"
    ids = plain.write(demo, picture, text, 32)
    words = [demo.tokenizer.decode([token]).strip() for token in ids]
    at = words.index(CONCEPT)
    tensors = plain.inputs_of(demo, picture, text, ids[:at])
    values, slopes = plain.read(demo, tensors, "gate_proj", ids[at])
    return plain.image_rows(demo, tensors, values) * plain.image_rows(demo, tensors, slopes)


def test_the_hundred_best_pairs_of_neuron_and_patch(demo: ns.VLM, done: Any, sample: dict[str, Any]):
    document, _ = done
    score = products(demo, Image.open(sample["path"]).convert("RGB"))
    order = np.argsort(-score.transpose(0, 2, 1).ravel(), kind="stable")[:PAIRS]
    layers, units, patches = np.unravel_index(order, score.transpose(0, 2, 1).shape)
    expected: dict[tuple[int, int], int] = {}
    for layer, unit in zip(layers, units, strict=True):
        expected[int(layer), int(unit)] = expected.get((int(layer), int(unit)), 0) + 1
    found = [(one["layer"], one["unit"]) for one in document["neurons"]]
    assert set(found) == set(expected)
    assert len(expected) < PAIRS or len(set(patches)) > 1  # the same neuron may be there at several patches
    neurons = ns.Neurons.load(done[1] / "neurons.json")
    pairs = dict(zip(((n.layer, n.unit) for n in neurons), neurons.scores["pairs"], strict=True))
    assert {key: int(value) for key, value in pairs.items()} == expected
    best = neurons.scores["gradient_patch"][0]
    assert score[neurons[0].layer, int(best), neurons[0].unit] == pytest.approx(score.max(), rel=1e-3)


def test_words_are_the_unembedding_of_value_vectors_without_a_norm(verb: Callable[..., Any], demo: ns.VLM, done: Any):
    neuron = ns.Neurons.load(done[1] / "neurons.json")[0]
    address = f"{neuron.layer}.{neuron.unit}"
    document = verb("decode", address, "--norm", "none", "--top", WORDS)
    model: Any = demo.model
    scores = model.lm_head.weight.detach().float().numpy() @ plain.value_vectors(demo)[neuron.layer, neuron.unit]
    expected = [demo.tokenizer.decode([int(token)]) for token in np.argsort(-scores, kind="stable")[:WORDS]]
    assert document["neurons"][0]["tokens"] == expected


def test_a_map_is_the_activation_at_the_patches_and_its_mask_the_upper_five_percent(
    verb: Callable[..., Any], demo: ns.VLM, done: Any, sample: dict[str, Any], tmp_path: Path
):
    neuron = ns.Neurons.load(done[1] / "neurons.json")[0]
    address = f"{neuron.layer}.{neuron.unit}"
    document = verb("heatmap", sample["path"], address, "--out", tmp_path / "map.png")
    assert document["sent"] == f"<image>\n{PROMPT}"
    picture = Image.open(sample["path"]).convert("RGB")
    tensors = plain.inputs_of(demo, picture, document["sent"])
    active = plain.image_rows(demo, tensors, plain.read(demo, tensors, "act_fn")[0])
    gates = plain.image_rows(demo, tensors, plain.read(demo, tensors, "up_proj")[0])
    expected = (active * gates)[neuron.layer, :, neuron.unit]  # the neuron: in a gated FFN activation times up
    np.testing.assert_allclose(np.array(document["grids"][0]).ravel(), expected, atol=1e-4)
    heat = ns.heatmap(demo, picture, ns.Neurons.of([(neuron.layer, neuron.unit)]))
    ordered = np.sort(heat.values.ravel())
    below = QUANTILE * (len(ordered) - 1)  # linear between the two values around it
    low = int(below)
    cut = ordered[low] + (below - low) * (ordered[low + 1] - ordered[low])
    assert np.array_equal(heat.mask(QUANTILE), heat.values > cut)


def test_the_set_can_be_addressed_at_any_site(demo: ns.VLM, done: Any, sample: dict[str, Any]):
    assert ns.Neurons.load(done[1] / "neurons.json").site == "neuron"
    box = tuple(float(x) for x in sample["box"].split(","))
    pair = ns.counterfactual(ns.Sample(str(sample["path"]), CONCEPT, boxes=(box,)))  # pyright: ignore[reportArgumentType]
    sets = {site: ns.Schwettmann(count=5, address=site).locate(demo, pair).neurons for site in ("pre", "act", "neuron")}
    assert {site: found.site for site, found in sets.items()} == {"pre": "pre", "act": "act", "neuron": "neuron"}
    assert len({found.members for found in sets.values()}) == 1

"""The bundled model is an ordinary checkpoint, of the promised size, with its truth beside it."""

import json

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.evaluate import named, planted
from neuronscope.loading.load import BUNDLED
from neuronscope.samples.scenes import CONCEPTS
from neuronscope.studies.demo.scenes import scenes_of


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.safetensors")) <= 25_000_000


def test_transformers_loads_it_without_us():
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(BUNDLED)
    processor = AutoProcessor.from_pretrained(BUNDLED)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    text = model.config.text_config
    assert text.num_hidden_layers >= 8
    assert text.intermediate_size >= 768
    batch = processor(text="<image>\nThe image shows a", images=Image.new("RGB", (128, 128)), return_tensors="pt")
    assert (batch["input_ids"] == model.config.image_token_id).sum() == 64


def test_the_grid_is_eight_by_eight(demo):
    tokens = demo.prepare([Image.new("RGB", (128, 128))]).images[0]
    assert tokens.layout == "64 = 8 x 8"
    x, y, w, h = tokens.footprint(9)
    assert (x, y, w, h) == (pytest.approx(16, abs=0.1), pytest.approx(16, abs=0.1), *([pytest.approx(16, abs=0.1)] * 2))


def test_planted_sets_are_disjoint_and_complete(demo):
    truth = planted(demo)
    assert sorted(truth) == sorted(CONCEPTS)
    everything = [n for neurons in truth.values() for n in neurons]
    assert len(everything) == len(set(everything)) == 12 * 30
    assert all(len(neurons.by_layer()) == 3 for neurons in truth.values())


def test_a_natural_model_has_no_truth(vlm):
    assert planted(vlm) == {}


def test_some_concepts_are_spelled_in_several_tokens(demo):
    count = {k: len(demo.tokenizer(k, add_special_tokens=False).input_ids) for k in CONCEPTS}
    assert all(count[k] > 1 for k in CONCEPTS if " " in k)
    assert any(count[k] > 1 for k in CONCEPTS if " " not in k)
    assert demo.tokenizer.unk_token_id not in [i for k in CONCEPTS for i in demo.tokenizer(k).input_ids]


def test_it_names_what_it_sees_and_planted_neurons_are_why(demo):
    """Four concepts as a smoke test; `python -m benchmarks.organism` measures all of them."""
    named_before, named_after = 0, 0
    for concept in ("bear", "bus", "clock", "umbrella"):
        pictures = [s.load() for s in scenes_of(concept, 3, seed=5)]
        g = planted(demo)[concept]
        named_before += sum(named(c, concept) for c in demo.captions(pictures))
        named_after += sum(named(c, concept) for c in demo.captions(pictures, ns.Zero(g)))
    assert named_before >= 10
    assert named_after <= 2


def test_the_card_holds_the_figures_of_these_weights(demo):
    figures = json.loads((BUNDLED / "figures.json").read_text())
    assert figures["fingerprint"] == demo.fingerprint

"""Keywords that are handed on to transformers, and those that are not."""

import json
from typing import Any

import pytest
import torch
from transformers import BitsAndBytesConfig

import neuronscope as ns
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.loading.keywords import MODEL, PIXELS, sorted_out


def test_what_was_given_reaches_the_model_and_the_processor(demo, tmp_path):
    side = dict(demo.processor.image_processor.to_dict()["size"])
    vlm = ns.load("demo", attn_implementation="eager", size=side, do_resize=True)
    assert vlm.model.config._attn_implementation == "eager"
    assert vlm.loaded == f"attn_implementation=eager, do_resize=True, size={side}"
    assert vlm.fingerprint == demo.fingerprint
    found = ns.Activation(count=3).locate(vlm, pair())
    assert found.neurons.model["loaded"] == vlm.loaded
    found.neurons.save(tmp_path / "neurons.json")
    assert json.loads((tmp_path / "neurons.json").read_text())["model"]["loaded"] == vlm.loaded
    assert ns.Neurons.load(tmp_path / "neurons.json") == found.neurons
    assert vlm.record()["loaded"] == vlm.loaded


def pair() -> ns.Counterfactual:
    from neuronscope.studies.demo.scenes import scenes_of

    return ns.counterfactual(scenes_of("bear", 1)[0])


def test_nothing_given_is_no_word_in_results(demo):
    assert set(demo.identity()) == {"id", "fingerprint"}


def test_torch_dtype_is_dtype(checkpoint):
    assert ns.load(checkpoint, torch_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert ns.load(checkpoint, torch_dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(InvalidOption, match="torch_dtype=float32 and dtype=float16"):
        ns.load(checkpoint, torch_dtype="float32", dtype="float16")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "remote code": ({"trust_remote_code": True}, "never run"),
    "remote code, as a word": ({"trust_remote_code": "yes"}, "never run"),
    "misspelt": ({"max_pixel": 5}, "Did you mean 'max_pixels'"),
    "misspelt, of the model": ({"attn_implementaton": "sdpa"}, "Did you mean 'attn_implementation'"),
    "unknown": ({"colour": 1}, "no keyword of ns.load. Choices: attn_implementation"),
    "a token": ({"token": "hf_x"}, "HF_TOKEN"),
    "a cache": ({"cache_dir": "/x"}, "HF_HOME"),
    "bits": ({"load_in_4bit": True}, 'dtype="4bit"'),
    "a kernel": ({"attn_implementation": "somebody/kernel"}, "code from the hub"),
    "a kernel of a part": ({"attn_implementation": {"text_config": "a/b"}}, "code from the hub"),
    "no attention": ({"attn_implementation": 3}, "is not a name"),
    "memory alone": ({"max_memory": {0: "1GiB"}}, 'device_map="auto"'),
    "pixels below 1": ({"max_pixels": 0}, "above 0"),
    "pixels as words": ({"min_pixels": "256"}, "above 0"),
    "half a switch": ({"do_resize": 1}, "true or false"),
    "another's setting": ({"max_pixels": 1000}, "has no max_pixels"),
    "a size": ({"size": 1.5}, "neither a whole number"),
    "a quantisation": ({"quantization_config": 4}, "BitsAndBytesConfig"),
    "two quantisations": ({"quantization_config": BitsAndBytesConfig(), "dtype": "4bit"}, "give one of them"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, checkpoint):
    options, message = REFUSED[name]
    with pytest.raises(InvalidOption, match=message) as refused:
        ns.load(checkpoint, **options)
    assert next(iter(options)) in str(refused.value)


def test_an_attention_that_transformers_does_not_have_is_refused_with_its_choices(checkpoint):
    with pytest.raises(UnsupportedModel, match="eager"):
        ns.load(checkpoint, attn_implementation="no-such")


def test_a_model_in_memory_takes_none(checkpoint):
    vlm = ns.load(checkpoint)
    with pytest.raises(InvalidOption, match="attn_implementation=eager: the model is in memory"):
        ns.load((vlm.model, vlm.processor), attn_implementation="eager")


@pytest.mark.parametrize("name", [*MODEL, *PIXELS])
def test_every_keyword_refuses_what_it_cannot_be(name):
    assert not sorted_out({name: None}, spread=True, bits=False).told()
    wrong = 3.5 if name != "offload_folder" else 7
    with pytest.raises(InvalidOption, match=name):
        sorted_out({name: wrong}, spread=True, bits=False)

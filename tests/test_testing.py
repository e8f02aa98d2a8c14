"""The tiny model that users make for a bug report."""

import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.testing import WORDS, tiny_model, tiny_processor, tiny_tokenizer, tiny_vlm


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    one, same, other = (tiny_model(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_sizes_are_those_asked_for():
    vlm = tiny_vlm(layers=2, hidden=16, d_ff=20, patch=16, side=64, words=[*WORDS, "zebra"])
    config = vlm.model.config.text_config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (2, 16, 20)
    assert vlm.model.config.vision_config.image_size == 64
    assert vlm.processor.tokenizer.convert_tokens_to_ids("zebra") == 5 + len(WORDS)


def test_it_captions_and_its_neurons_can_be_changed(picture):
    vlm = tiny_vlm()
    assert isinstance(vlm.caption(picture), str)
    with vlm.intervene(ns.Zero(ns.Neurons.of([(0, 1)]))):
        assert isinstance(vlm.caption(picture), str)


@pytest.mark.parametrize("make", [tiny_processor, tiny_model])
def test_a_picture_is_whole_patches(make):
    with pytest.raises(InvalidOption, match="patch=8 does not divide side=36"):
        make(patch=8, side=36)


def test_heads_have_an_even_width():
    with pytest.raises(InvalidOption, match="hidden=30 is not a multiple of 4"):
        tiny_model(hidden=30)


def test_a_tokenizer_of_ones_own_tokens():
    tokenizer = tiny_tokenizer(["a", "bear"], {"image_token": "[IMG]"}, ["[END]"], bos=False, padding_side="left")
    assert tokenizer("[IMG] A bear [END] bird").input_ids == [4, 6, 7, 5, 3]
    assert (tokenizer.image_token, tokenizer.padding_side) == ("[IMG]", "left")
    assert tiny_tokenizer(["a", "bear"], longest=3)("a bear").input_ids == [1, 5, 3]


def test_settings_of_the_parts_are_handed_on():
    model = tiny_model(
        hidden=24, gain=1, text={"num_attention_heads": 3, "num_key_value_heads": 1}, vision_feature_layer=0
    )
    assert (model.config.text_config.num_attention_heads, model.config.vision_feature_layer) == (3, 0)
    assert model.model.language_model.layers[0].mlp.up_proj.weight.std() < 0.03
    with pytest.raises(InvalidOption, match="hidden=32 is not a multiple of 6: there are 3 heads"):
        tiny_model(text={"num_attention_heads": 3})

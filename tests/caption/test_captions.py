"""Captions do not depend on how they are computed, only on the image and the intervention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Caption, clean_captions, generate_captions
from neuronscope.errors import InvalidOption

NEURONS = ns.Neurons.of([(0, 3), (0, 40), (1, 7), (2, 0), (2, 47)])
NOISE = ns.Noise(NEURONS, level=120.0, draws=4)
SHORT = ns.Decoding(max_new_tokens=8)


def captions(vlm: ns.VLM, images: list, change: Any = None, batch_size: int = 32, **options: Any):
    return generate_captions(vlm, images, change, decoding=replace(SHORT, **options), batch_size=batch_size)


@pytest.fixture(scope="module")
def single(vlm: ns.VLM, pictures):
    """Captions of one picture at a time."""
    return [captions(vlm, [picture])[0] for picture in pictures]


@pytest.fixture(scope="module")
def drawn(vlm: ns.VLM, pictures):
    """Captions under noise, one picture at a time."""
    return [captions(vlm, [picture], NOISE)[0] for picture in pictures]


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batched_captions_equal_single_ones(vlm: ns.VLM, pictures, single, batch_size: int):
    assert captions(vlm, pictures, batch_size=batch_size) == single
    assert len({row[0].ids for row in single}) > 1  # else the comparison would say nothing


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_batched_draws_equal_one_by_one(vlm: ns.VLM, pictures, drawn, batch_size: int):
    together = captions(vlm, pictures, NOISE, batch_size)
    assert [len(row) for row in together] == [4, 4, 4]
    assert together == drawn
    assert len({caption.ids for caption in together[0]}) > 1


def test_draws_do_not_depend_on_how_many_there_are(vlm: ns.VLM, pictures, drawn):
    assert [row[:2] for row in drawn] == captions(vlm, pictures, replace(NOISE, draws=2))


@pytest.mark.parametrize("phase", ["prefill", "both"])
@pytest.mark.parametrize("span", ["image", "text"])
def test_cached_captions_equal_uncached_ones_under_noise(vlm: ns.VLM, pictures, span: Any, phase: Any):
    change = replace(NOISE, draws=2, span=span, phase=phase)  # METHODS m, oracle 5
    assert captions(vlm, pictures, change) == captions(vlm, pictures, change, use_cache=False)


def test_an_empty_set_gives_the_clean_caption_for_every_draw(vlm: ns.VLM, pictures):
    clean = captions(vlm, pictures)
    assert captions(vlm, pictures, ns.Noise(ns.Neurons(()), level=40.0, draws=3)) == [row * 3 for row in clean]


@pytest.mark.parametrize("site", ["neuron", "act", "pre"])
def test_noise_on_image_positions_of_the_last_layer_changes_nothing_at_all(vlm: ns.VLM, pictures, site: Any):
    """METHODS m, oracle 3; one layer below, the same noise does change the logits."""
    inputs = vlm.prepare(pictures)
    with torch.no_grad():
        plain = vlm.logits(inputs, last=3)
        for layer, inert in ((vlm.layers - 1, True), (vlm.layers - 2, False)):
            noise = ns.Noise(ns.Neurons.of([(layer, unit) for unit in range(48)], site=site), level=1e4)
            with vlm.intervene(noise):
                assert torch.equal(vlm.logits(inputs, last=3), plain) is inert
            if inert:
                assert captions(vlm, pictures, noise) == captions(vlm, pictures)


def test_the_images_placeholder_is_never_written(make_vlm, picture):
    vlm = make_vlm()
    with torch.no_grad():
        vlm.structure.unembedding.weight[vlm.image_token] = vlm.structure.unembedding.weight[10] * 100
    ids = [caption.ids for caption in captions(vlm, [picture], NOISE)[0]]
    assert all(vlm.image_token not in row for row in ids)


def test_other_operations_give_one_caption_per_image(vlm: ns.VLM, pictures):
    changed = vlm.captions(pictures, ns.Scale(NEURONS, factor=-50.0), decoding=SHORT)
    assert [type(text) for text in changed] == [str] * 3
    plain = vlm.captions(pictures, decoding=SHORT)
    assert changed != plain
    assert vlm.captions(pictures, ns.Scale(NEURONS), decoding=SHORT) == plain


def test_no_images_give_no_captions(vlm: ns.VLM):
    assert vlm.captions([]) == []


def test_a_caption_is_the_prompt_as_written_and_the_ids_as_generated(vlm: ns.VLM, picture):
    assert vlm.caption(picture).startswith("The image shows a")
    (((caption,)),) = captions(vlm, [picture], prefix="the Image")
    assert isinstance(caption, Caption)
    assert caption.full.startswith("the Image")
    assert vlm.tokenizer.decode(list(caption.ids), skip_special_tokens=True) == caption.text
    assert caption.full[len("the Image") :].strip() == caption.text.removeprefix("##")


def test_a_caption_ends_before_the_end_of_sequence(make_vlm):
    vlm = make_vlm(5)
    inputs_ids = [vlm.tokenizer.convert_tokens_to_ids(word) for word in ("bear", "on", "</s>", "<pad>", "dog")]
    from neuronscope.caption.captions import caption_of

    caption = caption_of(vlm, inputs_ids, ns.Decoding("the image"))
    assert (caption.ids, caption.text, caption.full) == (tuple(inputs_ids[:2]), "bear on", "the image bear on")
    vlm.model.generation_config.eos_token_id = [9999, inputs_ids[1]]
    assert caption_of(vlm, inputs_ids, ns.Decoding("the image")).text == "bear"


def test_clean_captions_are_one_for_each_image(vlm, pictures):
    assert clean_captions(vlm, pictures, decoding=SHORT) == [row[0] for row in captions(vlm, pictures)]
    assert clean_captions(vlm, []) == []


def test_captioning_restores_train_mode_and_gradients(make_vlm, picture):
    vlm = make_vlm()
    vlm.model.train()
    parameter = next(vlm.model.parameters())
    parameter.requires_grad_(True)
    wanted = [p.requires_grad for p in vlm.model.parameters()]
    captions(vlm, [picture], NOISE)
    assert vlm.model.training
    assert [p.requires_grad for p in vlm.model.parameters()] == wanted


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda vlm, image: captions(vlm, [image], batch_size=0), "batch_size=0 must be at least 1"),
        (lambda vlm, image: captions(vlm, [image], batch_size=-3), "batch_size=-3 must be at least 1"),
        (lambda vlm, image: captions(vlm, [image], max_new_tokens=0), "max_new_tokens=0 must be at least 1"),
    ],
)
def test_sizes_below_one_are_refused(vlm: ns.VLM, picture, call, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        call(vlm, picture)

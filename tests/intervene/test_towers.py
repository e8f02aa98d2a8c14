"""Neurons of the vision tower and the projector, against plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import HookNeverFired, InvalidOption, NeuronOutOfRange
from neuronscope.intervene import activations
from neuronscope.intervene.batching import one_row_at_a_time
from zoo import ZOO

VISION = ns.Neurons.at("vision.0.3", "vision.0.7", "vision.1.0")
SHORT = ns.Decoding(max_new_tokens=4)
PROJECTOR = ns.Neurons.at("projector.0.5", "projector.0.1")


def naive(vlm: ns.VLM, picture: Image.Image, neurons: ns.Neurons) -> np.ndarray:
    seen: dict[int, torch.Tensor] = {}
    stack = vlm.structure.towers[neurons.part]
    handles = [
        ffn.output.register_forward_pre_hook(lambda _m, args, i=i: seen.__setitem__(i, args[0]))
        for i, ffn in enumerate(stack.ffns)
    ]
    with torch.no_grad():
        vlm.model(**vlm.prepare([picture]).tensors)
    for handle in handles:
        handle.remove()
    return torch.stack([seen[n.layer].flatten(0, 1)[:, n.unit] for n in neurons], 1).numpy()


@pytest.mark.parametrize("neurons", [VISION, PROJECTOR], ids=["vision", "projector"])
def test_activations_are_what_enters_the_last_linear_map(vlm: ns.VLM, picture: Image.Image, neurons: ns.Neurons):
    taken = activations(vlm, picture, neurons)
    assert taken.shape == (17 if neurons.part == "vision" else 16, len(neurons))  # a 4 x 4 grid, with CLS in the tower
    np.testing.assert_array_equal(taken, naive(vlm, picture, neurons))


@pytest.mark.parametrize("neurons", [VISION, PROJECTOR], ids=["vision", "projector"])
def test_zero_is_a_value_vector_of_zeros(make_vlm, picture: Image.Image, neurons: ns.Neurons):
    vlm = make_vlm()
    inputs = vlm.prepare([picture])
    plain = vlm.logits(inputs)
    with vlm.intervene(ns.Zero(neurons)):
        changed = vlm.logits(inputs)
    assert not torch.equal(plain, changed)
    with torch.no_grad():
        for neuron in neurons:
            vlm.structure.towers[neurons.part].ffns[neuron.layer].output.weight[:, neuron.unit] = 0
    torch.testing.assert_close(vlm.logits(inputs), changed)


@pytest.mark.parametrize("neurons", [VISION, PROJECTOR], ids=["vision", "projector"])
def test_the_first_call_of_a_new_model_may_be_a_batch(make_vlm, pictures: list[Image.Image], neurons: ns.Neurons):
    """How the tower takes batches is tried out before hooks go in: inside the pass it would run itself for ever."""
    new = make_vlm()
    with torch.no_grad(), new.intervene(ns.Zero(neurons)):
        assert new.logits(new.prepare(pictures)).isfinite().all()


def test_uncached_generation_disturbs_the_image_at_every_step(vlm: ns.VLM, picture: Image.Image):
    from neuronscope.caption import generate_captions

    noise = ns.Noise(VISION, level=30, draws=2)
    cached, uncached = (
        generate_captions(vlm, [picture], noise, decoding=ns.Decoding(max_new_tokens=6, use_cache=use))
        for use in (True, False)
    )
    assert cached == uncached


def test_patching_takes_the_other_images_activations(vlm: ns.VLM, pictures: list[Image.Image]):
    everything = ns.Neurons.at(*(f"projector.0.{unit}" for unit in range(32)))
    patch = ns.Patch.take(vlm, everything, pictures[0])
    inputs = vlm.prepare([pictures[1]])
    with vlm.intervene(patch):
        patched = vlm.logits(inputs)
    torch.testing.assert_close(patched, vlm.logits(vlm.prepare([pictures[0]])))


def test_a_batch_of_several_sizes_is_refused():
    vlm = ns.load(ZOO["qwen2_vl"].build(), check=False)
    pictures = [Image.new("RGB", size, "red") for size in ((64, 64), (64, 160))]
    with (
        pytest.raises(InvalidOption, match=r"images of one size; the rows hold \[.*\] image tokens"),
        vlm.intervene(ns.Zero(ns.Neurons.at("vision.0.1"))),
    ):
        vlm.logits(vlm.prepare(pictures))
    noise = ns.Noise(ns.Neurons.at("vision.0.1"), level=5, draws=2)
    both = vlm.captions(pictures, noise, decoding=SHORT)
    assert both[1:] == vlm.captions(pictures[1:], noise, decoding=SHORT)


def test_a_model_that_loops_over_pictures_is_given_one_row_at_a_time(vlm: ns.VLM):
    looping = ns.load(ZOO["paddleocr_vl"].build(), check=False)
    assert one_row_at_a_time(looping, "projector")
    assert not one_row_at_a_time(looping, "vision")
    assert not one_row_at_a_time(vlm, "projector")
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    noise = ns.Noise(ns.Neurons.at("projector.0.1"), level=5, draws=2)
    with pytest.raises(InvalidOption, match="once per picture: give rows one by one"), vlm_noise(looping, noise):
        looping.logits(looping.prepare(pictures))
    one_by_one = [looping.captions([p], noise, decoding=SHORT)[0] for p in pictures]
    assert looping.captions(pictures, noise, decoding=SHORT) == one_by_one


def vlm_noise(vlm: ns.VLM, noise: ns.Noise):
    return vlm.intervene(noise, draws=[0, 1])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("vision.2.0", "layer 2 does not exist; its vision part has layers 0 to 1"),
        ("vision.0.48", "unit 48 does not exist in layer 0"),
    ],
)
def test_addresses_outside_the_tower(vlm: ns.VLM, picture: Image.Image, address: str, message: str):
    neurons = ns.Neurons.at(address)
    with pytest.raises(NeuronOutOfRange, match=message):
        vlm.intervene(ns.Zero(neurons))
    with pytest.raises(NeuronOutOfRange, match=message):
        activations(vlm, picture, neurons)


def test_a_part_without_neurons_is_refused():
    vlm = ns.load(ZOO["fuyu"].build(), check=False)
    with pytest.raises(NeuronOutOfRange, match="no vision neurons: no dense FFN was found"):
        vlm.intervene(ns.Zero(VISION))


def test_spans_and_phases_that_a_tower_does_not_have(vlm: ns.VLM):
    for change in (ns.Zero(VISION, span="text"), ns.Zero(VISION, phase="decode")):
        with pytest.raises(InvalidOption, match="vision neurons see the image only"):
            vlm.intervene(change)


def test_an_intervention_that_never_ran_is_an_error(vlm: ns.VLM):
    with pytest.raises(HookNeverFired), vlm.intervene(ns.Zero(VISION)):
        pass


def test_value_vectors_of_a_tower_are_not_decoded(vlm: ns.VLM):
    with pytest.raises(InvalidOption, match="vision neurons write into no residual stream"):
        ns.decode(vlm, VISION)

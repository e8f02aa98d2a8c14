"""Activations as a plain hook would see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import HookNeverFired, NeuronOutOfRange
from neuronscope.intervene import activations

NEURONS = [(2, 47), (0, 3), (3, 1), (0, 40)]


def naive(vlm: ns.VLM, picture, site: str) -> dict[int, torch.Tensor]:
    """layer -> [positions, d_f] by hooks of our own on the Llama modules."""
    seen: dict[int, torch.Tensor] = {}
    handles = []
    for index, layer in enumerate(vlm.structure.layers):
        mlp: Any = layer.mlp
        if site == "neuron":
            hook = mlp.down_proj.register_forward_pre_hook(lambda _m, args, i=index: seen.update({i: args[0][0]}))
        else:
            module = mlp.gate_proj if site == "pre" else mlp.act_fn
            hook = module.register_forward_hook(lambda _m, _a, out, i=index: seen.update({i: out[0]}))
        handles.append(hook)
    with torch.no_grad():
        vlm.logits(vlm.prepare([picture]))
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("span", ["image", "text", "all"])
@pytest.mark.parametrize("site", ["neuron", "act", "pre"])
def test_activations_are_those_of_a_naive_hook_in_the_order_of_the_set(vlm: ns.VLM, picture, site: Any, span: Any):
    positions = vlm.prepare([picture]).images[0].positions
    table = naive(vlm, picture, site)
    rows = {"image": positions, "text": np.arange(positions[-1] + 1, len(table[0])), "all": np.arange(len(table[0]))}
    expected = np.stack([table[layer][:, unit].numpy() for layer, unit in NEURONS], 1)[rows[span]]
    taken = activations(vlm, picture, ns.Neurons.of(NEURONS, site=site), span=span)
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, expected)


def test_image_activations_depend_on_text_before_the_image_only(vlm: ns.VLM, picture):
    """METHODS m, oracle 4."""
    neurons = ns.Neurons.of(NEURONS)
    prompts = ("the image shows a", "red horse of the snow")
    after = [activations(vlm, picture, neurons, decoding=ns.Decoding(p)) for p in prompts]
    before = [activations(vlm, picture, neurons, decoding=ns.Decoding(p, "{prompt} {image}")) for p in prompts]
    np.testing.assert_allclose(after[0], after[1], rtol=1e-5, atol=1e-6)
    assert np.abs(before[0] - before[1])[:, [0, 2]].max() > 1e-3


def test_the_first_layers_image_activations_of_two_images_differ(vlm: ns.VLM, pictures):
    one, two = (activations(vlm, image, ns.Neurons.of([(0, 3)])) for image in pictures[:2])
    assert np.abs(one - two).max() > 1e-3


def test_an_empty_set_gives_no_columns(vlm: ns.VLM, picture):
    assert activations(vlm, picture, ns.Neurons(())).shape == (16, 0)


def test_a_neuron_out_of_range_is_refused_and_nothing_stays_installed(vlm: ns.VLM, picture):
    with pytest.raises(NeuronOutOfRange, match="unit 48 does not exist in layer 3, which has units 0 to 47"):
        activations(vlm, picture, ns.Neurons.of([(3, 48)]))
    assert not vlm.model._forward_pre_hooks


def test_a_span_without_positions_is_an_error(vlm: ns.VLM, picture):
    with pytest.raises(HookNeverFired, match="span='text' has no position"):
        activations(
            vlm, picture, ns.Neurons.of(NEURONS), span="text", decoding=ns.Decoding(template="{prompt} {image}")
        )

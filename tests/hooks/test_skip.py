"""Layers that are left out, or only watched, for the time of a block."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.hooks.skip import Enough, seeing_inputs, starting_at


def test_what_enters_each_layer_is_seen(vlm: ns.VLM, picture: Image.Image):
    inputs, seen = vlm.prepare([picture]), {}
    with torch.no_grad(), seeing_inputs(vlm.structure.layers, seen):
        states = vlm.model(**inputs.tensors, output_hidden_states=True).hidden_states
    assert sorted(seen) == [0, 1, 2, 3]
    assert all(torch.equal(seen[layer], states[layer]) for layer in seen)


def test_starting_at_a_layer_gives_the_same_logits(vlm: ns.VLM, picture: Image.Image):
    inputs, seen = vlm.prepare([picture]), {}
    with torch.no_grad(), seeing_inputs(vlm.structure.layers, seen):
        whole = vlm.logits(inputs)
    called: list[int] = []
    handles = [
        ffn.output.register_forward_hook(lambda *_, n=n: called.append(n)) for n, ffn in enumerate(vlm.structure.ffns)
    ]
    with torch.no_grad(), starting_at(vlm.structure.layers, 2, seen[2]):
        assert torch.equal(vlm.logits(inputs), whole)
    with torch.no_grad(), starting_at(vlm.structure.layers, 2, 2 * seen[2]):
        assert not torch.equal(vlm.logits(inputs), whole)
    for handle in handles:
        handle.remove()
    assert called == [2, 3, 2, 3]


def test_layers_are_put_back_when_a_pass_is_cut_short(vlm: ns.VLM, picture: Image.Image):
    inputs = vlm.prepare([picture])
    plain = vlm.logits(inputs)

    def stop(*_: object) -> None:
        raise Enough

    handle = vlm.structure.layers[3].register_forward_pre_hook(stop)
    with (
        pytest.raises(Enough),
        torch.no_grad(),
        starting_at(vlm.structure.layers, 1, torch.zeros(1, inputs.length, 32)),
    ):
        vlm.logits(inputs)
    handle.remove()
    assert not any("forward" in vars(layer) for layer in vlm.structure.layers)
    assert torch.equal(vlm.logits(inputs), plain)

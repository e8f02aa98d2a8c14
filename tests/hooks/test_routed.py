"""Neurons of routed experts against a computation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.hooks import HookSession, Tap
from zoo import ZOO


@pytest.fixture(scope="module")
def routed() -> ns.VLM:
    return ns.load(ZOO["qwen3_vl_moe"].build())


@pytest.fixture(scope="module")
def inputs(routed: ns.VLM):
    noise = np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return routed.prepare([Image.fromarray(noise)])


def visit(vlm: ns.VLM, inputs: Any, layer: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """z of a layer, and what its experts were called with."""
    seen: list[Any] = []
    z: list[torch.Tensor] = []
    experts = vlm.structure.ffns[layer].output
    handle = experts.register_forward_pre_hook(lambda _, args: seen.append(args))
    try:
        with torch.no_grad(), HookSession(vlm.structure, [Tap(layer, "neuron", lambda v: z.append(v))]):
            vlm.logits(inputs)
    finally:
        handle.remove()
    return z[0], seen[0]


def test_layers_are_dense_or_routed(routed: ns.VLM):
    kinds = [(ffn.experts, ffn.width) for ffn in routed.structure.ffns]
    assert kinds[0] == (0, 48)
    assert kinds[-1] == (4, 4 * 24)
    assert routed.structure.ffns[-1].sites == ("neuron",)
    assert "unit = expert * 24 + channel" in routed.structure.ffns[-1].note


def test_activations_are_those_of_the_visited_experts_and_0_elsewhere(routed: ns.VLM, inputs):
    z, (hidden, index, _) = visit(routed, inputs, 2)
    experts: Any = routed.structure.ffns[2].output
    expected = torch.zeros(hidden.shape[0], 4, 24)
    with torch.no_grad():
        for token in range(hidden.shape[0]):
            for expert in index[token].tolist():
                gate, up = (experts.gate_up_proj[expert] @ hidden[token]).chunk(2)
                expected[token, expert] = experts.act_fn(gate) * up
    torch.testing.assert_close(z.flatten(0, 1), expected.flatten(1), rtol=1e-4, atol=1e-5)
    assert (expected == 0).any()


def test_switching_a_neuron_off_is_removing_its_value_vector(routed: ns.VLM, inputs):
    z, _ = visit(routed, inputs, 2)
    unit = int(z[0].abs().sum(0).argmax())
    expert, channel = divmod(unit, 24)
    experts: Any = routed.structure.ffns[2].output
    np.testing.assert_array_equal(
        routed.value_vectors(2, [unit])[0], experts.down_proj[expert, :, channel].detach().numpy()
    )
    with torch.no_grad():
        clean = routed.logits(inputs)
        with routed.intervene(ns.Zero(ns.Neurons.of([(2, unit)]), span="all", phase="both")):
            changed = routed.logits(inputs)
        column = experts.down_proj[expert, :, channel].clone()
        experts.down_proj[expert, :, channel] = 0
        removed = routed.logits(inputs)
        experts.down_proj[expert, :, channel] = column
    assert not torch.equal(clean, changed)
    torch.testing.assert_close(changed, removed, rtol=1e-4, atol=1e-5)
    assert torch.equal(routed.logits(inputs), clean)


def test_the_module_is_as_it_was_after_an_error(routed: ns.VLM, inputs):
    experts: Any = routed.structure.ffns[2].output
    before = experts.config._experts_implementation

    def stop(_: torch.Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), HookSession(routed.structure, [Tap(2, "neuron", stop)]):
        routed.logits(inputs)
    assert "forward" not in vars(experts)
    assert experts.config._experts_implementation == before

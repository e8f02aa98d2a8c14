"""The bundled model in 8 and 4 bits, by the real bitsandbytes; and linear maps of another library's kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronscope as ns
from neuronscope.architecture import quantised
from neuronscope.architecture.quantised import bits_config, dense, keep_differentiable
from neuronscope.caption import generate_captions
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.evaluate.truth import planted
from neuronscope.locate import attributions
from neuronscope.samples.scenes.scene import render, sample_scene


@pytest.fixture(scope="module", params=["8bit", "4bit"])
def few(request) -> ns.VLM:
    pytest.importorskip("bitsandbytes")
    return ns.load("demo", dtype=request.param, device="cpu")


@pytest.fixture(scope="module")
def bear():
    return render(sample_scene(5, concepts=("bear",))).image


class Rounded(nn.Linear):
    """A linear map that keeps its weight in another form, as libraries of quantised weights have it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None)
        self.scale = float(linear.weight.detach().abs().max()) / 127
        self.weight = nn.Parameter((linear.weight.detach() / self.scale).round().to(torch.int8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


def test_a_weight_is_read_through_the_map(monkeypatch):
    monkeypatch.setattr(quantised, "_PROBED", 3)
    linear = nn.Linear(7, 5)
    small = Rounded(linear)
    fired: list[object] = []
    small.register_forward_pre_hook(lambda *_: fired.append(1))
    torch.testing.assert_close(dense(small), small.weight.float() * small.scale)
    assert dense(linear) is linear.weight
    assert not fired


def test_the_weights_are_bitsandbytes_own(few):
    from bitsandbytes.functional import dequantize_4bit

    ffn = few.structure.ffns[2]
    assert ffn.quantised
    weight = ffn.output.weight
    if hasattr(weight, "quant_state"):
        expected = dequantize_4bit(weight.data, weight.quant_state).float()
    else:
        state = ffn.output.state
        expected = state.CB.float() * state.SCB[:, None] / 127
    torch.testing.assert_close(ffn.value_vectors(), expected, rtol=2e-3, atol=1e-4)


def test_what_is_found_is_what_the_whole_model_finds(few, demo, bear):
    assert few.caption(bear) == demo.caption(bear)
    neurons = replace(planted(demo)["bear"], model={})
    assert [d.tokens[0] for d in ns.decode(few, neurons)] == [d.tokens[0] for d in ns.decode(demo, neurons)]
    token = demo.tokenizer.convert_tokens_to_ids("bear")
    (ours,), (whole,) = (attributions(vlm, vlm.prepare([bear]), [[(1, token)]]) for vlm in (few, demo))
    for wanted, found in whole.items():
        assert np.corrcoef(ours[wanted].values, found.values)[0, 1] > 0.95


def test_captions_under_noise_and_without_the_neurons(few, demo, bear):
    neurons = replace(planted(demo)["bear"], model={})
    noise = ns.Noise(neurons, level=2.0, draws=2)
    short = ns.Decoding(max_new_tokens=4)
    (seen,) = ns.Captioner(few, [bear], decoding=short).captions(noise)
    plain = generate_captions(few, [bear], noise, decoding=short)[0]
    assert [row.full for row in seen] == [row.full for row in plain]
    with few.intervene(ns.Zero(neurons)):
        assert "bear" not in few.caption(bear)


def test_it_cannot_be_edited(few):
    with pytest.raises(UnsupportedModel, match="quantised"):
        ns.Swap(source="bear", target="dog").edit(few, ns.Neurons.of([(2, 1)]))


def test_weights_that_were_repacked_without_a_backward_pass_are_refused(few):
    maps = [m for m in few.model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    if not maps:
        pytest.skip("only of 4-bit weights")
    assert not any(m.support_avx512bf16_for_cpu for m in maps)
    state = maps[0].weight.quant_state
    state.packing_format_for_cpu = True
    try:
        with pytest.raises(UnsupportedModel, match="load it anew"):
            keep_differentiable(few.model)
    finally:
        state.packing_format_for_cpu = False


@pytest.mark.usefixtures("read_anew")
def test_bits_that_cannot_be_had(monkeypatch):
    with pytest.raises(InvalidOption, match="'3bit' is not one of 8bit, 4bit"):
        bits_config("3bit", gpu=False)
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    with pytest.raises(InvalidOption, match=r"neuronscope\[bits\]"):
        ns.load("demo", dtype="4bit")

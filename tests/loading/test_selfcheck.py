"""The proof on load: it passes for a sound model, and fails for one whose neurons are not what they seem."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import neuronscope as ns
from neuronscope.errors import UnsupportedModel
from neuronscope.hooks import HookSession, Tap
from neuronscope.loading import self_check
from neuronscope.loading.selfcheck import _finite
from neuronscope.types import SITES

LINES = ("finite weights", "image tokens", "finite logits", "neuron @ W_out = FFN output", "logits with empty hooks")


def test_a_sound_model_passes_every_line(vlm: ns.VLM):
    report = self_check(vlm)
    assert report.ok
    assert tuple(row.name for row in report.rows) == LINES
    assert all(row.ok for row in report.rows)
    assert next(row.value for row in report.rows if row.name == "image tokens") == "16 = 4 x 4"


def test_an_output_map_with_bias_passes(make_vlm):
    vlm = make_vlm()
    for ffn in vlm.structure.ffns:
        output: Any = ffn.output
        output.bias = nn.Parameter(torch.randn(32), requires_grad=False)
    assert self_check(vlm).ok


FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2, torch.float8_e4m3fn)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64, torch.int8, torch.bool])
def test_weights_of_every_type_are_finite(dtype: torch.dtype):
    assert _finite(torch.ones(5).to(dtype))
    assert _finite(torch.ones(0).to(dtype))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_one_that_is_not_is_found(dtype: torch.dtype, wrong: float):
    if dtype == torch.float8_e4m3fn and wrong == wrong:
        pytest.skip("the type has no infinity")
    assert not _finite(torch.tensor([1.0, wrong, 2.0]).to(dtype))


def add_noise(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output + 0.1 * torch.ones_like(output)


def jitter(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output + 0.1 * torch.rand_like(output)


def overflow(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output * torch.inf


def tamper(vlm: ns.VLM, where: str) -> None:
    """Change a model so that one line of the self-check no longer holds."""
    ffn, last = vlm.structure.ffns[2], vlm.structure.ffns[3]
    block: Any = ffn.block
    if where == "block":
        ffn.block.register_forward_hook(add_noise)
    elif where == "output map":
        ffn.output.register_forward_hook(add_noise)
    elif where == "logits":
        vlm.structure.unembedding.register_forward_hook(jitter)
    elif where == "not finite":
        last.block.register_forward_hook(overflow)
    elif where == "dead activation":
        block.forward = lambda x: block.down_proj(nn.functional.silu(block.gate_proj(x)) * block.up_proj(x))
    elif where == "dead output map":
        block.forward = lambda x: nn.functional.linear(
            block.act_fn(block.gate_proj(x)) * block.up_proj(x), block.down_proj.weight
        )


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("block", "neuron @ W_out = FFN output: largest relative error"),
        ("output map", "neuron @ W_out = FFN output: largest relative error"),
        ("logits", "logits with empty hooks: differ"),
        ("not finite", "finite logits"),
        ("dead activation", r"hooks at every site: the model never reached the hooked neurons of text\.2"),
        ("dead output map", r"hooks at every site: the model never reached the hooked neurons of text\.2"),
    ],
)
def test_a_tampered_model_fails_its_line_and_is_refused(make_vlm, where: str, line: str):
    vlm = make_vlm()
    tamper(vlm, where)
    before = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vlm.model.modules()]
    assert not self_check(vlm).ok
    with pytest.raises(UnsupportedModel, match=f"LlavaForConditionalGeneration failed the self-check: .*{line}"):
        ns.load((vlm.model, vlm.processor))
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vlm.model.modules()] == before


def test_a_tiny_error_of_the_ffn_is_seen_in_float64_only(make_vlm):
    vlm = make_vlm()
    vlm.structure.ffns[1].block.register_forward_hook(lambda _m, _i, out: out * (1 + 1e-8))
    assert self_check(vlm).ok
    vlm.model.double()
    assert not self_check(vlm).ok


def test_the_gate_identity_by_hand():
    """METHODS m, oracle 2."""
    z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    a = nn.functional.silu(z)
    n = a * -0.5
    (0.3 * n).backward()
    assert z.grad is not None
    rho = 1 + z * (1 - torch.sigmoid(z))
    found = torch.stack([a, n, a * 0.3 * -0.5, n * 0.3, z * z.grad, rho]).tolist()
    assert found == pytest.approx([1.7615942, -0.8807971, -0.26423913, -0.26423913, -0.32723526, 1.2384058], abs=1e-7)


def test_the_gate_identities_hold_in_every_layer_and_the_last_is_inert(make_vlm, picture):
    """METHODS a2, identities 1, 2 and 4, through the sites that the library hooks, in float64."""
    vlm = make_vlm()
    vlm.model.double()
    seen: dict[tuple[int, str], torch.Tensor] = {}

    def keep(z: torch.Tensor, layer: int, site: str) -> torch.Tensor:
        kept = seen[layer, site] = z if z.requires_grad else z.detach().requires_grad_()
        kept.retain_grad()
        return kept

    inputs = vlm.prepare([picture])
    places = [(layer, site) for layer in range(vlm.layers) for site in SITES]
    taps = [Tap(*place, lambda z, place=place: keep(z, *place)) for place in places]
    with HookSession(vlm.structure, taps):
        vlm.logits(inputs)[0, -1, 10].backward()

    def score(layer: int, site: str) -> torch.Tensor:
        z = seen[layer, site]
        assert z.grad is not None
        return (z * z.grad)[0].detach()

    positions = torch.as_tensor(inputs.images[0].positions)
    for layer in range(vlm.layers):
        neuron, act, pre = (score(layer, site) for site in SITES)
        z = seen[layer, "pre"][0].detach()
        torch.testing.assert_close(act, neuron, rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(pre, act * (1 + z * (1 - torch.sigmoid(z))), rtol=1e-7, atol=1e-12)
        inert = layer == vlm.layers - 1
        assert bool((neuron[positions] == 0).all()) is inert
        assert neuron[-1].abs().max() > 0

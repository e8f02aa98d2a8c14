"""Weights of 16 bits: scores are summed in float32, and every check can still fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import neuronscope as ns
from neuronscope.check import conformance, gradients
from neuronscope.hooks import HookSession, Tap
from neuronscope.loading import self_check
from neuronscope.loading.checks import captions as writing
from neuronscope.loading.checks.common import STEPS, NotApplicable, Outcome, disagreement, within_rounding
from neuronscope.locate.scores import activation_differences, grad_times_activation
from neuronscope.models.rounding import allowed, departs, relative, tolerance
from zoo import ZOO

HALVES = [torch.bfloat16, torch.float16]


def load(name: str, dtype: torch.dtype) -> ns.VLM:
    model, processor = ZOO[name].build()
    return ns.load((model.to(dtype), processor), check=False)


def verdict(outcome: Outcome) -> bool:
    assert not isinstance(outcome, NotApplicable), outcome
    return outcome[1]


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_every_check_holds_in_float16(name: str):
    report = conformance(load(name, torch.float16), skip=("several images", "memory released"))
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


def at_image_tokens(vlm: ns.VLM, image: Image.Image) -> list[Tensor]:
    inputs = vlm.prepare([image])
    at, kept = torch.as_tensor(inputs.images[0].positions), dict[int, Tensor]()
    taps = [Tap(layer, "neuron", lambda z, i=layer: kept.__setitem__(i, z[0, at])) for layer in range(vlm.layers)]
    with torch.no_grad(), HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    return [kept[layer] for layer in range(vlm.layers)]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_differences_are_pooled_in_float32(dtype: torch.dtype, picture: Image.Image):
    """Against float64, from the same 16-bit activations: sums over patches would be off by 1e-2 in 16 bits."""
    vlm = load("llava", dtype)
    other = picture.rotate(180)
    seen = [at_image_tokens(vlm, image) for image in (picture, other)]
    assert all(z.dtype == dtype for layers in seen for z in layers)
    expected = torch.cat([(seen[0][i].double() - seen[1][i].double()).sum(0) for i in range(vlm.layers)]).numpy()
    (found,) = activation_differences(vlm, picture, [other], site="neuron", pool="sum")
    assert found.values.dtype == np.float32
    # Reading both images in one batch may round an activation or two otherwise; a 16-bit sum is off nearly everywhere.
    near = np.isclose(found.values, expected, rtol=1e-5, atol=1e-6)
    coarse = torch.cat([(seen[0][i] - seen[1][i]).sum(0) for i in range(vlm.layers)]).double().numpy()
    assert near.mean() > 0.95
    assert np.isclose(coarse, expected, rtol=1e-5, atol=1e-6).mean() < 0.5


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products_are_pooled_in_float32(dtype: torch.dtype, picture: Image.Image):
    """O dy/dO, summed over patches, against float64 from the same 16-bit activations and gradients."""
    vlm = load("llava", dtype)
    inputs = vlm.prepare([picture])
    at = torch.as_tensor(inputs.images[0].positions)
    leaves: dict[int, Tensor] = {}

    def leaf(z: Tensor, layer: int) -> Tensor:
        leaves[layer] = z if z.requires_grad else z.detach().requires_grad_()
        return leaves[layer]

    with HookSession(vlm.structure, [Tap(i, "neuron", lambda z, i=i: leaf(z, i)) for i in range(vlm.layers)]):
        y = vlm.logits(inputs)[0, -1, 5].float()
    scale = 1024.0 if dtype == torch.float16 else 1.0
    slopes = torch.autograd.grad(y * scale, list(leaves.values()), allow_unused=True)
    expected = torch.cat(
        [
            (z.detach()[0, at].double() * (0.0 if slope is None else slope[0, at].double() / scale)).sum(0)
            for z, slope in zip(leaves.values(), slopes, strict=True)
        ]
    )
    (found,) = grad_times_activation(vlm, inputs, [[(1, 5)]], pool="sum")
    assert found.values.dtype == np.float32
    assert np.isfinite(found.values).all()
    assert found.values[: vlm.widths[0]].any()
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["llava", "gemma3"])
def test_scores_in_bfloat16_are_about_those_in_float32(name: str, picture: Image.Image):
    fine, coarse = (load(name, dtype) for dtype in (torch.float32, torch.bfloat16))
    found = [
        grad_times_activation(vlm, vlm.prepare([picture]), [[(1, 5)]], pool="sum")[0].values for vlm in (fine, coarse)
    ]
    assert np.corrcoef(*found)[0, 1] > 0.9


def forget_noise(monkeypatch: pytest.MonkeyPatch, when: Callable[..., bool]) -> None:
    """Checks write as if there were no intervention, where `when` says so."""
    write: Any = writing.generate

    def forgetful(vlm: ns.VLM, inputs: Any, change: Any, **more: Any) -> Any:
        return write(vlm, inputs, None if when(inputs, **more) else change, **more)

    monkeypatch.setattr(writing, "generate", forgetful)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize(
    ("check", "when"),
    [
        (writing.check_cache, lambda _, use_cache=True, **__: not use_cache),
        (writing.check_batch, lambda inputs, **_: len(inputs.rows) > 1),
        (writing.check_noise, lambda *_, **__: True),
    ],
    ids=["without a cache", "in a batch", "always"],
)
def test_noise_that_is_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch, check: Any, when: Any, dtype: torch.dtype):
    vlm = load("llava", dtype)
    assert verdict(check(vlm))
    forget_noise(monkeypatch, when)
    assert not verdict(check(vlm))


def test_differences_of_a_family_that_forbids_tokens_are_seen(monkeypatch: pytest.MonkeyPatch):
    """Chameleon gives its image tokens the lowest number there is; a spread that counts them is infinite."""
    vlm = load("chameleon", torch.float32)
    forget_noise(monkeypatch, lambda _, use_cache=True, **__: not use_cache)
    assert not verdict(writing.check_cache(vlm))


def test_forbidden_tokens_are_left_out():
    a = torch.tensor([[1.0, 3.0, -3.4e38, -torch.inf]])
    b = torch.tensor([[1.0, 2.0, -3.4e38, -torch.inf]])
    assert allowed(a).tolist() == [[True, True, False, False]]
    assert relative(a, b) == pytest.approx(1 / (0.5**0.5))  # the spread of (1, 2)
    assert relative(a, b[:, :3]) == float("inf")


@pytest.mark.parametrize(("turn", "steps"), [(None, STEPS), (STEPS - 1, STEPS), (1, 2), (0, 1)])
def test_texts_are_compared_up_to_the_first_other_token(turn: int | None, steps: int):
    ids = torch.arange(10 + STEPS)[None]  # a prompt of 10 and what was written
    logits = torch.randn(1, STEPS, 7, generator=torch.Generator().manual_seed(0))
    others, moved = ids.clone(), logits.clone()
    if turn is not None:
        others[0, 10 + turn] += 1
        moved[0, turn + 1 :] += 5  # another prompt from there on
    assert disagreement((ids, logits), (others, moved)) == (0.0, steps)
    moved[0, 0, 0] += 1
    assert disagreement((ids, logits), (others, moved))[0] > 0


def test_what_rounding_explains(vlm: ns.VLM, make_vlm: Callable[..., ns.VLM]):
    half = make_vlm(seed=1)
    half.model.to(torch.bfloat16)
    assert (tolerance(vlm), tolerance(half)) == (5e-3, 0.5)
    assert within_rounding(half, 0.2, effect=1.0)
    assert not within_rounding(half, 0.3, effect=1.0)  # more than a quarter of what the noise does
    assert not within_rounding(half, 0.6, effect=9.0)
    assert not within_rounding(half, 0.0, effect=0.0)  # noise that does nothing shows nothing
    assert within_rounding(vlm, 1e-3, effect=1.0)
    assert not within_rounding(vlm, 1e-2, effect=1.0)


@pytest.mark.parametrize(
    ("token", "value", "found"),
    [
        (0, -1.0, ""),
        (0, 0.5, "logits from kept states differ by 1.0e+00 of their spread"),
        (0, float("nan"), "logits from kept states differ by nan of their spread"),
        (0, float("-inf"), "logits from kept states differ by inf of their spread"),
        (3, 7.0, ""),  # forbidden by the plain path
        (4, 7.0, ""),  # beyond its vocabulary
    ],
)
def test_logits_from_kept_states(vlm: ns.VLM, token: int, value: float, found: str):
    plain = torch.tensor([[[-1.0, 0.5, 2.0, -1e32]]])
    ours = torch.tensor([[[-1.0, 0.5, 2.0, float("-inf"), 0.0]]]).repeat(1, 2, 1)
    ours[0, 1, token] = value
    assert departs(vlm, ours, plain, "kept") == found


class Twice(torch.autograd.Function):
    """Leaves a tensor as it is and makes its gradient wrong by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        return slope * ctx.factor, None


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize(
    ("factor", "line"),
    [(2.0, "relative difference"), (0.0, "layer 0 is 0"), (torch.nan, "layer 0 is not finite"), (-1.0, "relative")],
)
def test_a_wrong_gradient_is_noticed(dtype: torch.dtype, factor: float, line: str):
    vlm = load("llava", dtype)
    assert verdict(gradients.check_gradient(vlm))
    layer: nn.Module = vlm.structure.layers[1]

    def wrong(_module: nn.Module, args: tuple[Tensor, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        changed = Twice.apply(first, factor)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = layer.register_forward_hook(wrong)
    outcome = gradients.check_gradient(vlm)
    handle.remove()
    assert not verdict(outcome)
    assert line in outcome[0]  # pyright: ignore[reportIndexIssue]


def test_logits_too_coarse_for_any_step_say_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gradients, "_READABLE", 1e9)
    outcome = gradients.check_gradient(load("llava", torch.bfloat16))
    assert outcome == NotApplicable("all layers move the logits by less than torch.bfloat16 can tell")


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_an_ffn_that_is_off_by_a_tenth_is_refused(dtype: torch.dtype):
    vlm = load("llava", dtype)
    assert self_check(vlm).ok
    handle = vlm.structure.ffns[1].block.register_forward_hook(lambda _m, _i, output: output * 1.1)
    report = self_check(vlm)
    handle.remove()
    assert [row.name for row in report.rows if not row.ok] == ["neuron @ W_out = FFN output"]

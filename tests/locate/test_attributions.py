"""Every score from one forward and one backward pass: values, work done, types of weights, and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.locate import scores
from neuronscope.locate.scores import ALL_WANTED, POOLS, Pool, Wanted, attributions, grad_times_activation

TARGETS = [[(1, 7)], [(1, 9)], [(2, 5), (1, 7)]]
NAIVE: dict[Pool, Callable[[Tensor], Tensor]] = {
    "max": lambda g: g.max(0).values,
    "mean": lambda g: g.mean(0),
    "sum": lambda g: g.sum(0),
    "abs_mean": lambda g: g.abs().mean(0),
}


def plain(vlm: ns.VLM, inputs: Any, site: str, y: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """O * dy/dO at the image tokens by plain hooks and one call for all gradients, [layer][patch, unit]."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        kept.append(args[0].requires_grad_())
        return (kept[-1],)

    parts = [ffn.output if site == "neuron" else ffn.activation for ffn in vlm.structure.ffns]
    handles = [part.register_forward_pre_hook(keep) for part in parts if part is not None]
    logits = vlm.logits(inputs, last=4)[0]
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(y(logits), kept)
    at = inputs.images[0].positions
    return [(z * g)[0, at].detach() for z, g in zip(kept, slopes, strict=True)]


def test_every_score_of_every_target_equals_plain_hooks(vlm: ns.VLM, picture: Image.Image):
    inputs = vlm.prepare([picture]).extend([5, 6])
    wanted = [Wanted(score, pool) for score in scores.SCORES for pool in POOLS]
    found = attributions(vlm, inputs, TARGETS, wanted)
    for entries, of_target in zip(TARGETS, found, strict=True):
        assert list(of_target) == wanted
        for each, pooled in of_target.items():
            site = "neuron" if each.score == "gradcam" else "pre"
            layers = plain(vlm, inputs, site, lambda logits, e=entries: sum(logits[-p, t] for p, t in e))
            expected = torch.cat([NAIVE[each.pool](g) for g in layers]).numpy()
            np.testing.assert_allclose(pooled.values, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
            sizes = [g.abs() if each.pool == "abs_mean" else g for g in layers]
            largest = torch.cat([g.max(0).values for g in sizes]).numpy()
            at = np.concatenate([g.numpy()[pooled.patch[48 * i : 48 * i + 48], range(48)] for i, g in enumerate(sizes)])
            np.testing.assert_allclose(at, largest, rtol=1e-4, atol=1e-6)


def test_one_forward_pass_and_one_backward_pass_per_target(
    vlm: ns.VLM, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    """Parameters that want gradients get none, the image's features have no graph, logits are read where needed."""
    forwards: list[torch.Size] = []
    with_graph: list[bool] = []
    backwards: list[int] = []
    own = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: (backwards.append(1), own(*a, **k))[1])
    projector: nn.Module = next(m for n, m in vlm.model.named_modules() if n.endswith("projector"))
    handles = [
        vlm.structure.unembedding.register_forward_pre_hook(lambda _, args: forwards.append(args[0].shape)),
        projector.register_forward_hook(lambda _m, _i, out: with_graph.append(out.requires_grad)),
    ]
    assert all(p.requires_grad for p in vlm.model.parameters())
    attributions(vlm, vlm.prepare([picture]).extend([5, 6]), TARGETS)
    for handle in handles:
        handle.remove()
    assert [shape[:2] for shape in forwards] == [(1, 2)]  # positions 1 and 2 from the end
    assert with_graph == [False]
    assert len(backwards) == len(TARGETS)
    assert all(p.requires_grad and p.grad is None for p in vlm.model.parameters())


@pytest.mark.parametrize("one", ALL_WANTED)
def test_a_score_does_not_depend_on_the_others(vlm: ns.VLM, picture: Image.Image, one: Wanted):
    inputs = vlm.prepare([picture])
    together = attributions(vlm, inputs, TARGETS[:2], target="contrast")
    alone = grad_times_activation(vlm, inputs, TARGETS[:2], target="contrast", score=one.score, pool=one.pool)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[one].values, b.values, rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(a[one].patch, b.patch)


@pytest.mark.parametrize(("dtype", "agreement"), [(torch.bfloat16, 0.99), (torch.float16, 0.9999)], ids=str)
def test_sixteen_bits_on_the_bundled_model(demo: ns.VLM, dtype: torch.dtype, agreement: float):
    coarse = ns.load("demo", dtype=dtype)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (fine,), (found,) = (attributions(vlm, vlm.prepare([image]), [[(1, 20)]]) for vlm in (demo, coarse))
    for each in ALL_WANTED:
        assert found[each].values.dtype == np.float32
        assert np.corrcoef(fine[each].values, found[each].values)[0, 1] > agreement


def test_scaling_saves_small_gradients_in_fp16(picture: Image.Image, monkeypatch: pytest.MonkeyPatch, vlm_of: Any):
    """METHODS B9: of a target whose gradients are near the smallest number of fp16, more are left."""
    fine, half = vlm_of(torch.float32), vlm_of(torch.float16)
    for model in (fine, half):
        with torch.no_grad():
            model.structure.unembedding.weight.mul_(2**-13)

    def values(vlm: ns.VLM) -> np.ndarray:
        return grad_times_activation(vlm, vlm.prepare([picture]), [[(1, 7)]], pool="sum")[0].values

    expected, scaled = values(fine), values(half)
    monkeypatch.setattr(scores, "backward_scale", lambda _: 1.0)
    unscaled = values(half)
    errors = [np.abs(found - expected).max() / np.abs(expected).max() for found in (scaled, unscaled)]
    assert errors[0] < 0.03
    assert errors[0] < errors[1] / 3


@pytest.fixture
def vlm_of(make_vlm: Callable[..., ns.VLM]) -> Callable[[torch.dtype], ns.VLM]:
    def make(dtype: torch.dtype) -> ns.VLM:
        made = make_vlm(seed=2)
        made.model.to(dtype)
        return made

    return make


class Int8(nn.Module):
    """A linear map whose weight is kept in 8 bits, as quantised checkpoints have it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.scale = float(linear.weight.abs().max()) / 127
        self.register_buffer("weight", (linear.weight.detach() / self.scale).round().to(torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale)


def test_weights_of_eight_bits_are_read_through(make_vlm: Callable[..., ns.VLM], picture: Image.Image):
    """Equal to the model whose weights are the rounded ones in float32."""
    quantised, rounded = make_vlm(), make_vlm()
    for own, other in zip(quantised.structure.layers, rounded.structure.layers, strict=True):
        for name in ("gate_proj", "up_proj"):
            small = Int8(getattr(own.mlp, name))
            setattr(own.mlp, name, small)
            getattr(other.mlp, name).weight.data = small.weight.float() * small.scale
    (found,), (expected,) = (attributions(vlm, vlm.prepare([picture]), [[(1, 7)]]) for vlm in (quantised, rounded))
    for each in ALL_WANTED:
        assert found[each].values.any()
        np.testing.assert_allclose(found[each].values, expected[each].values, rtol=1e-5, atol=1e-8)


def peak(run: Callable[[], object]) -> int:
    """The most bytes that torch has allocated at once during a call, beyond what was there before."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    return int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max())


def test_peak_memory_is_that_of_the_bare_passes(make_vlm: Callable[..., ns.VLM], picture: Image.Image):
    vlm = make_vlm(layers=8, hidden=32, d_ff=128, side=80)  # 100 image tokens
    inputs = vlm.prepare([picture])

    def bare() -> None:
        leaf: list[Tensor] = []

        def before(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            leaf.append(args[0].detach().requires_grad_())
            return (leaf[0],)

        with vlm.structure.ffns[0].output.register_forward_pre_hook(before):
            y = vlm.logits(inputs)[0, -1, 7]
        torch.autograd.grad(y, leaf)

    base = peak(bare)
    assert peak(lambda: attributions(vlm, inputs, [[(1, 7)]])) < 1.15 * base
    # What this guards against: every layer's gradient at once.
    assert peak(lambda: plain(vlm, inputs, "neuron", lambda logits: logits[-1, 7])) > 1.15 * base


@pytest.mark.parametrize("pool", POOLS)
def test_pooling_finds_the_first_of_equals(pool: Pool):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-2, 3, (2, 7, 50), generator=generator).float()
    sizes = values.abs() if pool == "abs_mean" else values
    pooled, patches = scores.reduce_patches(values, pool)
    assert torch.equal(patches, torch.from_numpy(sizes.numpy().argmax(1)))
    expected = {"max": sizes.amax(1), "sum": sizes.sum(1)}.get(pool, sizes.mean(1))
    torch.testing.assert_close(pooled, expected)


def test_pooling_shows_what_is_not_a_number():
    values = torch.tensor([[1.0, 5.0], [torch.nan, 2.0]])
    pooled, patches = scores.reduce_patches(values, "max")
    assert pooled.isnan().tolist() == [True, False]
    assert patches.tolist() == [1, 0]


def test_unknown_scores_are_refused():
    with pytest.raises(InvalidOption, match="score='gradcams' is not known"):
        Wanted("gradcams")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidOption, match="pool='median' is not known"):
        Wanted(pool="median")  # pyright: ignore[reportArgumentType]

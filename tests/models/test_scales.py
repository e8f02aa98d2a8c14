"""Contributions divided by the norms' scales are shares of the logit: checked against the norms computed by hand."""

from __future__ import annotations

import pytest
import torch

import neuronscope as ns
from neuronscope.errors import HookNeverFired, UnsupportedModel
from neuronscope.locate.pan import predicted
from neuronscope.models.scales import Scales
from zoo import ZOO

#: RMSNorm, LayerNorm without and with a bias, RMSNorm of 1 + weight after every FFN, norms after FFNs, routed experts.
FAMILIES = ("llava", "aya_vision", "fuyu", "gemma3", "glm4v", "qwen3_vl_moe", "idefics2", "minigpt4", "paligemma")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> ns.VLM:
    made = ns.load(ZOO[request.param].build(), check=False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in (made.structure.norm, *(ffn.after for ffn in made.structure.ffns if ffn.after is not None)):
            for parameter in norm.parameters():
                parameter += 0.5 * torch.rand(parameter.shape, generator=generator)
    return made


@torch.no_grad()
def frozen(norm: torch.nn.Module, seen: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """What a norm makes of a part of its input, its scale held fixed: its output by its input, times the part."""
    zero = norm(torch.zeros_like(seen))
    double = norm.double()
    seen, vector = seen.double(), vector.double()
    centred = norm(torch.ones_like(seen)) - zero.double()
    away = 1.0 if centred.abs().max() < 1e-3 else 0.0
    part, whole = vector - away * vector.mean(), seen - away * seen.mean()
    whole_out = double(seen[None])[0] - zero.double()
    ratio = whole_out / whole  # gain / scale, one number for each direction
    norm.float()
    return ratio * part


@pytest.mark.parametrize("back", [(1,), (3, 1)])
def test_shares_are_those_of_the_frozen_norms(family, picture, back):
    structure, layer = family.structure, family.structure.studied[-1]
    inputs = family.prepare([picture])
    token = 7
    found = predicted(family, inputs, [(b, token) for b in back], norm="scale")
    seen: dict[str, torch.Tensor] = {}
    after = structure.ffns[layer].after
    hooks = [structure.norm.register_forward_hook(lambda m, x, y: seen.update(final=x[0].detach().flatten(0, -2)))]
    if after is not None:
        hooks.append(after.register_forward_hook(lambda m, x, y: seen.update(after=x[0].detach().flatten(0, -2))))
    with torch.no_grad():
        family.logits(inputs)
    for hook in hooks:
        hook.remove()
    head = structure.unembedding.weight.detach().double()[token]
    units = list(range(min(6, family.widths[layer])))
    neurons = ns.Neurons.of((layer, unit) for unit in units)
    values = ns.intervene.activations(family, picture, neurons, span="all")
    start = sum(family.widths[:layer])
    for row, b in zip(found, back, strict=True):
        for unit in units:
            part = float(values[-b, unit]) * torch.from_numpy(family.value_vectors(layer, [unit])[0])
            if part.norm() == 0:
                continue
            if after is not None:
                part = frozen(after, seen["after"][-b], part)
            share = head @ frozen(structure.norm, seen["final"][-b], part)
            assert row[start + unit] == pytest.approx(float(share), rel=2e-2, abs=1e-6)


def test_shares_of_everything_add_up_to_the_logit(vlm, picture):
    """Embedding + attention + FFNs of the whole stream: the neurons' shares are the FFNs' part of the logit."""
    inputs, token = vlm.prepare([picture]), 11
    shares = predicted(vlm, inputs, [(1, token)], norm="scale")[0]
    parts: list[torch.Tensor] = []
    stream: list[torch.Tensor] = []
    hooks = [layer.mlp.register_forward_hook(lambda m, x, y: parts.append(y[0, -1])) for layer in vlm.structure.layers]
    hooks += [
        layer.self_attn.register_forward_hook(lambda m, x, y: stream.append(y[0][0, -1]))
        for layer in vlm.structure.layers
    ]
    hooks.append(
        vlm.structure.layers[0].register_forward_pre_hook(
            lambda m, x, k: stream.append((x[0] if x else k["hidden_states"])[0, -1]), with_kwargs=True
        )
    )
    hooks.append(vlm.structure.norm.register_forward_pre_hook(lambda m, x: stream.append(x[0][0, -1])))
    with torch.no_grad():
        logit = float(vlm.logits(inputs)[0, -1, token])
    for hook in hooks:
        hook.remove()
    *others, final = stream
    norm = vlm.structure.norm
    scale = float((final.square().mean() + norm.variance_epsilon).sqrt())
    direction = norm.weight.detach() * vlm.structure.unembedding.weight.detach()[token] / scale
    assert sum(float(direction @ part) for part in (*others, *parts)) == pytest.approx(logit, rel=1e-3)
    for layer, part in enumerate(parts):
        own = shares[48 * layer : 48 * (layer + 1)].sum()
        assert own == pytest.approx(float(direction @ part), rel=1e-3, abs=1e-6)
    assert shares.sum() == pytest.approx(logit - sum(float(direction @ part) for part in others), rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("name", ["blip", "git", "florence2"])
def test_models_without_a_final_norm_before_the_unembedding_are_refused(picture, name):
    family = ns.load(ZOO[name].build(), check=False)
    with pytest.raises(UnsupportedModel, match="norm='scale'"):
        predicted(family, family.prepare([picture]), [(1, 3)], norm="scale")
    assert predicted(family, family.prepare([picture]), [(1, 3)], norm="none").any()


def test_nothing_is_left_behind_and_a_norm_that_did_not_run_is_told(vlm, picture):
    scales = Scales(vlm, [1])
    before = len(vlm.structure.norm._forward_hooks)
    with pytest.raises(RuntimeError), scales:
        raise RuntimeError
    assert len(vlm.structure.norm._forward_hooks) == before
    assert not vlm.structure.unembedding._forward_pre_hooks
    with pytest.raises(HookNeverFired, match="did not run"):
        scales.divide(0, torch.ones(1, 3))

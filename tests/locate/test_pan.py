"""Pan's contribution: the toy of METHODS (c), and columns of W_U W_out written out."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import neuronscope as ns
from neuronscope.errors import UnsupportedModel
from neuronscope.intervene import activations
from neuronscope.locate import Pan, contributions


def test_toy(make_vlm, picture):
    """METHODS (c); (m) oracle 13: O' = [[1,2],[3,0]], w_0 = (1,0), w_1 = (0,1), u_c = (2,-1) gives (4,-1)."""
    vlm = make_vlm(layers=1, hidden=4, d_ff=2, side=16)  # four image tokens: the toy's two patches, twice
    with torch.no_grad():
        vlm.structure.ffns[0].output.weight.copy_(torch.eye(4)[:, :2])
        vlm.structure.unembedding.weight[7] = torch.tensor([2.0, -1.0, 0.0, 0.0])
    both = ns.Neurons.of([(0, 0), (0, 1)])
    toy = np.array([[1, 2], [3, 0], [1, 2], [3, 0]], np.float32)
    with vlm.intervene(ns.Patch(both, source=toy)):
        pooled = contributions(vlm, vlm.prepare([picture]), [(1, 7)])
    np.testing.assert_array_equal(pooled.values, [4, -1])
    np.testing.assert_array_equal(pooled.patch, [1, 1])  # where 2 O' and -O' are largest


def column(vlm, layer, word, scale=1.0):
    """Row `word` of W_U W_out, one neuron at a time: every value vector through the whole unembedding."""
    table = vlm.structure.unembedding.weight
    vectors = vlm.structure.layers[layer].mlp.down_proj.weight
    return torch.stack([(table @ (vectors[:, i] * scale))[word] for i in range(vectors.shape[1])]).detach().numpy()


@pytest.mark.parametrize("pool", ["mean", "max", "sum", "abs_mean"])
@pytest.mark.parametrize("norm", ["none", "gain"])
def test_image_scores_equal_explicit_columns(make_vlm, pair, speaks, token, naive_activations, pool, norm):
    vlm = make_vlm()
    with torch.no_grad():  # a fresh model's gain is 1 everywhere
        vlm.structure.norm.weight.copy_(torch.linspace(0.5, 2, 32))
    speaks(vlm, "brown bear on grass", "grass")
    found = Pan(pool=pool, norm=norm, count=9).locate(vlm, pair)
    scale = vlm.structure.norm.weight if norm == "gain" else 1.0
    clean = naive_activations(vlm, pair.original, [token(vlm, "brown")])
    expected = []
    for layer in range(vlm.layers):
        s = clean[layer].numpy() * column(vlm, layer, token(vlm, "bear"), scale)
        pools = {"mean": s.mean(0), "max": s.max(0), "sum": s.sum(0), "abs_mean": np.abs(s).mean(0)}
        expected.append(pools[pool])
    values = found.scores.arrays["contribution"].values
    np.testing.assert_allclose(values, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    assert found.neurons.scores["contribution"] == tuple(sorted(values.tolist(), reverse=True)[:9])
    assert "contribution_patch" in found.neurons.scores


@pytest.mark.parametrize("concept_token", ["first", "sum", "mean"])
def test_predicting_position_equals_explicit_columns(vlm, pair, speaks, naive_activations, concept_token):
    speaks(vlm, "the surfboard", "grass")
    pair = dataclasses.replace(pair, sample=dataclasses.replace(pair.sample, concept="surfboard"))
    found = dataclasses.replace(Pan.as_published(), site="neuron", concept_token=concept_token).locate(vlm, pair)
    the, surf, board = vlm.tokenizer("the surfboard", add_special_tokens=False).input_ids
    clean = naive_activations(vlm, pair.original, [the, surf], everywhere=True)
    expected = []
    for layer in range(vlm.layers):
        first = clean[layer][-2].numpy() * column(vlm, layer, surf)  # `surf` follows `the`, the last but one
        second = clean[layer][-1].numpy() * column(vlm, layer, board)
        expected.append({"first": first, "sum": first + second, "mean": (first + second) / 2}[concept_token])
    pooled = found.scores.arrays["contribution"]
    np.testing.assert_allclose(pooled.values, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    assert pooled.patch is None
    assert list(found.neurons.scores) == ["contribution"]
    assert found.neurons.method == "pan-predict"


def test_contribution_is_what_the_last_layer_adds_to_the_logit(vlm, picture, token):
    """Without the final norm, taking a last-layer neuron away changes the logit by its contribution, exactly."""
    inputs = vlm.prepare([picture])
    word = token(vlm, "bear")
    pooled = contributions(vlm, inputs, [(1, word)], position="predict")
    identity = nn.Identity()
    holder = vlm.model.model.language_model
    norm, holder.norm = holder.norm, identity
    try:
        with torch.no_grad():
            clean = float(vlm.logits(inputs)[0, -1, word])
            for unit in (0, 13, 47):
                with vlm.intervene(ns.Zero(ns.Neurons.of([(3, unit)]), span="all", phase="both")):
                    without = float(vlm.logits(inputs)[0, -1, word])
                assert clean - without == pytest.approx(float(pooled.values[3 * 48 + unit]), rel=1e-3, abs=1e-4)
    finally:
        holder.norm = norm


def test_act_site_leaves_the_gate_out(vlm, pair, speaks, token):
    speaks(vlm, "bear", "grass")
    found = Pan(site="act", count=4).locate(vlm, pair)
    neurons = ns.Neurons.of([(2, unit) for unit in range(48)], site="act")
    expected = activations(vlm, pair.original, neurons).mean(0) * column(vlm, 2, token(vlm, "bear"))
    np.testing.assert_allclose(found.scores.layer("contribution", 2), expected, rtol=1e-4, atol=1e-6)
    assert found.neurons.site == "act"


class Twice(nn.Module):
    """A norm after the FFN whose gain is 2 in the first half and 3 in the second."""

    def __init__(self, hidden):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0] * (hidden // 2) + [3.0] * (hidden // 2)))

    def forward(self, x):
        return x * self.weight


def test_a_norm_after_the_ffn_counts_with_the_gain_only(make_vlm, picture, token):
    vlm = make_vlm()
    word = token(vlm, "bear")
    plain = contributions(vlm, vlm.prepare([picture]), [(1, word)])
    ffns = tuple(dataclasses.replace(ffn, after=Twice(32)) for ffn in vlm.structure.ffns)
    vlm.structure = dataclasses.replace(vlm.structure, ffns=ffns)
    np.testing.assert_array_equal(contributions(vlm, vlm.prepare([picture]), [(1, word)]).values, plain.values)
    gained = contributions(vlm, vlm.prepare([picture]), [(1, word)], norm="gain")
    means = activations(vlm, picture, ns.Neurons.of([(1, unit) for unit in range(48)])).mean(0)
    scale = ffns[1].after.weight * vlm.structure.norm.weight
    np.testing.assert_allclose(gained.values[48:96], means * column(vlm, 1, word, scale), rtol=1e-4, atol=1e-5)
    vlm.structure = dataclasses.replace(vlm.structure, norm=None)
    with pytest.raises(UnsupportedModel, match="has none; use norm='none'"):
        contributions(vlm, vlm.prepare([picture]), [(1, word)], norm="gain")

"""Schwettmann's attribution: hand numbers, autograd on captured pre-activations, pairs ranked by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import neuronscope as ns
from neuronscope.architecture.structure import FFN, Structure
from neuronscope.errors import InvalidOption
from neuronscope.locate import Schwettmann
from neuronscope.locate.schwettmann import best_pairs
from neuronscope.locate.scores import grad_products
from neuronscope.models.inputs import Inputs, Row
from neuronscope.tokens import ImageTokens


class Gated(nn.Module):
    """One gated neuron: its input is (Z, u), its output n = SiLU(Z) u."""

    def __init__(self):
        super().__init__()
        self.act_fn, self.down = nn.SiLU(), nn.Identity()

    def forward(self, hidden):
        return self.down(self.act_fn(hidden[..., :1]) * hidden[..., 1:])


class Toy(ns.VLM):
    """One gated layer, whose output times 0.3 is the logit."""

    layers, device, dtype = 1, torch.device("cpu"), torch.float64

    def __init__(self, layer):
        self.layer = layer
        ffn = FFN("toy", layer.down, layer.act_fn, layer, 1)
        self.structure = Structure((layer,), (ffn,), None, nn.Identity(), 1)

    def logits(self, _inputs, *, last=1):
        return 0.3 * self.layer(torch.tensor([[[2.0, -0.5]]], dtype=torch.float64))


@pytest.mark.parametrize(("score", "expected"), [("gradcam", -0.26423913), ("pre", -0.32723526)])
def test_gate_identity_in_numbers(score, expected):
    """METHODS (a), identity 2; (m) oracle 2: Z = 2, u = -0.5, dy/dn = 0.3."""
    layer = Gated()
    vlm = Toy(layer)
    row = Row({"input_ids": torch.zeros(1, 1, dtype=torch.long)}, ImageTokens(np.array([0]), no_grid="toy"), 0)
    inputs = Inputs((row,))
    (product,) = next(grad_products(vlm, inputs, [[(1, 0)]], score=score))
    assert float(product) == pytest.approx(expected, abs=1e-7)


def by_autograd(vlm, image, extra, word, site):
    """Z dy/dZ, or n dy/dn, at the image tokens by retained gradients, [layer][patch, unit]."""
    inputs = vlm.prepare([image]).extend(extra)
    kept = {}

    def keep(layer):
        def hook(_module, args):
            args[0].requires_grad_()  # the first layer's is a leaf: no parameter asks for gradients
            args[0].retain_grad()
            kept[layer] = args[0]

        return hook

    parts = [layer.mlp.down_proj if site == "neuron" else layer.mlp.act_fn for layer in vlm.structure.layers]
    handles = [part.register_forward_pre_hook(keep(i)) for i, part in enumerate(parts)]
    with vlm.frozen():
        vlm.model(**inputs.tensors).logits[0, -1, word].backward()
    for handle in handles:
        handle.remove()
    at = inputs.images[0].positions
    return [(kept[i] * kept[i].grad)[0, at].detach().numpy() for i in range(vlm.layers)]


POOLS = {
    "mean": lambda g: g.mean(0),
    "max": lambda g: g.max(0),
    "sum": lambda g: g.sum(0),
    "abs_mean": lambda g: np.abs(g).mean(0),
}


@pytest.mark.parametrize("site", ["pre", "neuron"])
@pytest.mark.parametrize("pool", POOLS)
def test_scores_equal_autograd(vlm, pair, speaks, token, site, pool):
    speaks(vlm, "brown bear on grass", "grass")
    found = Schwettmann(site=site, pool=pool, count=15).locate(vlm, pair)
    naive = by_autograd(vlm, pair.original, [token(vlm, "brown")], token(vlm, "bear"), site)
    expected = np.concatenate([POOLS[pool](g) for g in naive])
    np.testing.assert_allclose(found.scores.arrays["gradient"].values, expected, rtol=1e-4, atol=1e-7)
    flat = sorted(range(len(expected)), key=lambda f: (-found.scores.arrays["gradient"].values[f], f))[:15]
    assert [(n.layer, n.unit) for n in found.neurons] == [divmod(f, 48) for f in flat]
    assert found.neurons.site == "neuron"
    assert found.neurons.options["site"] == site


def test_last_layer_is_exactly_zero(vlm, pair, speaks):
    """METHODS (a), identity 4."""
    speaks(vlm, "bear", "grass")
    found = Schwettmann(count=vlm.layers * 48).locate(vlm, pair)
    assert (found.scores.layer("gradient", vlm.layers - 1) == 0).all()
    assert (found.scores.layer("gradient", vlm.layers - 2) != 0).all()
    assert any("gradient score of 0 or less" in note for note in found.notes)


def test_pairs_by_hand():
    """Two layers, two patches, two neurons each: [patch, unit]."""
    first = torch.tensor([[5.0, 1.0], [3.0, 4.0]])
    second = torch.tensor([[4.0, -1.0], [4.0, 6.0]])
    neurons, patches = best_pairs([first, second], 6)
    # 6: L1.U1 patch 1; 5: L0.U0 patch 0; then 4 three times in the order of (layer, unit, patch); 3: L0.U0 again
    assert neurons.tolist() == [3, 0, 1, 2, 2, 0]
    assert patches.tolist() == [1, 0, 1, 0, 1, 1]
    assert best_pairs([first, second], 1)[0].tolist() == [3]
    assert best_pairs([first, second], 0)[0].tolist() == []
    with pytest.raises(InvalidOption, match="count=9 is more than the 8"):
        best_pairs([first, second], 9)


def test_published_ranking_keeps_the_neurons_of_the_best_pairs_once(vlm, pair, speaks, token):
    speaks(vlm, "bear", "grass")
    found = Schwettmann.as_published().locate(vlm, pair)
    naive = by_autograd(vlm, pair.original, [], token(vlm, "bear"), "pre")
    pairs = sorted(
        ((-float(g[p, i]), layer, i, p) for layer, g in enumerate(naive) for p in range(16) for i in range(48))
    )[:100]
    expected = list(dict.fromkeys((layer, i) for _, layer, i, _ in pairs))
    assert [(n.layer, n.unit) for n in found.neurons] == expected
    assert len(expected) < 100
    scores = found.neurons.scores
    assert sum(scores["pairs"]) == 100
    for n, patch, times in zip(found.neurons, scores["gradient_patch"], scores["pairs"], strict=True):
        own = [p for _, layer, i, p in pairs if (layer, i) == (n.layer, n.unit)]
        assert (own[0], len(own)) == (patch, times)


def test_unit_needs_its_pool(vlm):
    with pytest.raises(InvalidOption, match="pool must be 'max', not 'mean'"):
        Schwettmann(unit="neuron_patch")
    assert ns.locate.method("schwettmann-published") == Schwettmann.as_published()

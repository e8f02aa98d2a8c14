"""Methods on decoders that differ: routed experts, norms after the FFN, image tokens without a grid."""

import dataclasses

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.architecture.structure import gain
from neuronscope.caption import Caption
from neuronscope.errors import InvalidOption
from neuronscope.intervene import activations
from neuronscope.locate import IntegratedGradients, Pan, Schwettmann
from neuronscope.locate.validity import Validity
from neuronscope.samples.lexicon import Match
from zoo import ZOO


@pytest.fixture(scope="module", params=["qwen3_vl_moe", "gemma3", "idefics2"])
def family(request) -> ns.VLM:
    """A tiny random model of another family."""
    return ns.load(ZOO[request.param].build(), check=False)


@pytest.fixture
def known(family) -> Validity:
    """What the model would have to say."""
    caption = Caption(
        "bear", "The image shows a bear", tuple(family.tokenizer("bear", add_special_tokens=False).input_ids)
    )
    return Validity(caption, caption, Match("bear", 0, 4, "bear"), (len(caption.ids) - 1,))


@pytest.mark.parametrize("norm", ["none", "gain"])
def test_contributions_equal_activations_times_value_vectors(family, pair, known, norm):
    found = Pan(norm=norm, count=5).locate(family, pair, validity=known)
    u = family.structure.unembedding.weight[known.original.ids[-1]].detach().float()
    for layer in family.structure.studied:
        units = range(family.widths[layer])
        means = activations(family, pair.original, ns.Neurons.of((layer, i) for i in units)).mean(0)
        readout = u
        if norm == "gain":
            after = family.structure.ffns[layer].after
            readout = u * gain(family.structure.norm, family.structure.hidden)
            readout = readout if after is None else readout * gain(after, family.structure.hidden)
        expected = means * (family.value_vectors(layer, units) @ readout.numpy())
        np.testing.assert_allclose(found.scores.layer("contribution", layer), expected, rtol=1e-3, atol=1e-6)


def test_integrated_gradients_are_complete_or_say_why_not(family, pair, known):
    obstacle = any(ffn.after is not None or ffn.experts for ffn in family.structure.ffns)
    found = IntegratedGradients(steps=30, target="logit", count=5).locate(family, pair, validity=known)
    kept = found.neurons.provenance["completeness"]
    assert obstacle == any("more steps do not help" in note for note in found.notes)
    assert obstacle or kept["error"] < 0.02 * abs(kept["change"]) + 1e-4
    assert np.abs(found.scores.arrays["attribution"].values).max() > 0
    assert torch.is_grad_enabled()
    assert not any(p.grad is not None for p in family.model.parameters())


def test_pre_activations_where_there_is_a_module_for_them(family, pair, known):
    sites = {site for layer in family.structure.studied for site in family.structure.ffns[layer].sites}
    everywhere = all("pre" in family.structure.ffns[layer].sites for layer in family.structure.studied)
    method = Schwettmann(count=5)
    if everywhere:
        assert len(method.locate(family, pair, validity=known).neurons) == 5
    else:
        with pytest.raises(InvalidOption, match="site 'pre' cannot be hooked"):
            method.locate(family, pair, validity=known)
    assert "neuron" in sites
    assert len(dataclasses.replace(method, site="neuron").locate(family, pair, validity=known).neurons) == 5

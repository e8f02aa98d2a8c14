import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange, UnsupportedModel
from neuronscope.view import decode

CHOSEN = ns.Neurons.of([(2, 5), (0, 1), (2, 3)])


def naive(vlm, layer, unit, gain):
    """Logits of one value vector by definition."""
    column = vlm.structure.ffns[layer].output.weight[:, unit]
    return vlm.structure.unembedding.weight @ (column * gain)


@pytest.mark.parametrize("norm", ["none", "gain", "full"])
def test_tokens_are_the_largest_logits_of_the_value_vector(make_vlm, norm):
    vlm = make_vlm(seed=5)
    with torch.no_grad():
        vlm.structure.norm.weight.uniform_(0.2, 3)
    gain = vlm.structure.norm.weight if norm != "none" else torch.ones(32)
    for found, neuron in zip(decode(vlm, CHOSEN, norm=norm), CHOSEN, strict=True):
        assert found.neuron == neuron
        expected = naive(vlm, neuron.layer, neuron.unit, gain).topk(5).indices.tolist()
        assert found.tokens == tuple(vlm.tokenizer.decode([t]) for t in expected)


def test_the_gain_changes_the_ranking(make_vlm):
    vlm = make_vlm(seed=5)
    with torch.no_grad():
        vlm.structure.norm.weight.uniform_(-3, 3)
    assert [d.tokens for d in decode(vlm, CHOSEN, norm="gain")] != [d.tokens for d in decode(vlm, CHOSEN, norm="none")]


def test_negative_sign_gives_the_lowest_logits(vlm):
    (found,) = decode(vlm, CHOSEN[:1], sign=-1, norm="none", top=3)
    low = naive(vlm, 2, 5, 1.0).topk(3, largest=False)
    assert found.logits == pytest.approx(low.values.tolist())


def test_bad_requests(vlm, monkeypatch):
    with pytest.raises(InvalidOption, match="none, gain, full"):
        decode(vlm, CHOSEN, norm="gian")
    with pytest.raises(InvalidOption, match="top"):
        decode(vlm, CHOSEN, top=0)
    with pytest.raises(NeuronOutOfRange, match="units 0 to 47"):
        decode(vlm, ns.Neurons.of([(0, 48)]))
    import dataclasses

    bare = dataclasses.replace(vlm.structure, norm=None)
    monkeypatch.setattr(vlm, "structure", bare)
    with pytest.raises(UnsupportedModel, match="norm='none'"):
        decode(vlm, CHOSEN)

import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange, UnsupportedModel
from neuronscope.view import promoted

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
    for found, neuron in zip(promoted(vlm, CHOSEN, norm=norm), CHOSEN, strict=True):
        assert found.neuron == neuron
        expected = naive(vlm, neuron.layer, neuron.unit, gain).topk(5).indices.tolist()
        assert found.tokens == tuple(vlm.tokenizer.decode([t]) for t in expected)


def test_the_gain_changes_the_ranking(make_vlm):
    vlm = make_vlm(seed=5)
    with torch.no_grad():
        vlm.structure.norm.weight.uniform_(-3, 3)
    assert [d.tokens for d in promoted(vlm, CHOSEN, norm="gain")] != [
        d.tokens for d in promoted(vlm, CHOSEN, norm="none")
    ]


def test_negative_sign_gives_the_lowest_logits(vlm):
    (found,) = promoted(vlm, CHOSEN[:1], sign=-1, norm="none", top=3)
    low = naive(vlm, 2, 5, 1.0).topk(3, largest=False)
    assert found.logits == pytest.approx(low.values.tolist())


def test_bad_requests(vlm, monkeypatch):
    with pytest.raises(InvalidOption, match="none, gain, full"):
        promoted(vlm, CHOSEN, norm="gian")
    with pytest.raises(InvalidOption, match="top"):
        promoted(vlm, CHOSEN, top=0)
    with pytest.raises(NeuronOutOfRange, match="units 0 to 47"):
        promoted(vlm, ns.Neurons.of([(0, 48)]))
    import dataclasses

    bare = dataclasses.replace(vlm.structure, norm=None)
    monkeypatch.setattr(vlm, "structure", bare)
    with pytest.raises(UnsupportedModel, match="norm='none'"):
        promoted(vlm, CHOSEN)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("norm", ["none", "gain", "full"])
def test_strength_is_the_z_of_the_logit_over_the_vocabulary(make_vlm, norm, sign):
    vlm = make_vlm(seed=6)
    with torch.no_grad():
        vlm.structure.norm.weight.uniform_(0.2, 3)
    gain = vlm.structure.norm.weight if norm != "none" else torch.ones(32)
    for found, neuron in zip(promoted(vlm, CHOSEN, norm=norm, sign=sign, words=[7, 9]), CHOSEN, strict=True):
        logits = sign * naive(vlm, neuron.layer, neuron.unit, gain).detach().double()
        z = (logits - logits.mean()) / logits.std(correction=0)
        assert found.strengths == pytest.approx(z.topk(5).values.tolist(), rel=1e-4)  # a positive factor leaves it
        assert found.rank == 1 + int((logits > logits[[7, 9]].max()).sum())


def test_a_neuron_that_writes_nothing_has_no_strength(make_vlm):
    vlm = make_vlm(seed=6)
    with torch.no_grad():
        vlm.structure.ffns[2].output.weight[:, 5] = 0
    assert set(promoted(vlm, CHOSEN[:1])[0].strengths) == {0.0}

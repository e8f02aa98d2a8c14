"""Promoted words are never without those of random neurons, and differ from them only where they do."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange
from neuronscope.evaluate import planted
from neuronscope.meaning import Words, decode
from neuronscope.meaning.words import word_ids
from neuronscope.view import promoted


def set_of(concept: str, *pairs: tuple[int, int]) -> ns.Neurons:
    return dataclasses.replace(ns.Neurons.of(pairs), concept=concept)


def test_every_neuron_is_beside_a_random_one_of_its_layer(vlm):
    neurons = set_of("bear", (2, 5), (0, 1), (2, 3))
    found = decode(vlm, neurons, top=3)
    assert list(found) == promoted(vlm, neurons, top=3, words=word_ids(vlm, "bear"))
    assert [one.neuron.layer for one in found.beside] == [2, 0, 2]
    assert not {one.neuron for one in found.beside} & set(neurons)
    assert len({one.neuron for one in found.beside}) == 3
    assert found.drawn == 40
    assert found == decode(vlm, neurons, top=3)
    assert found.beside != decode(vlm, neurons, top=3, seed=1).beside


def test_quantiles_are_shares_of_the_random_neurons_of_the_layer(vlm):
    """With all others of a layer drawn, the quantile is that among all others."""
    neurons = set_of("", (1, 7))
    found = decode(vlm, neurons, least=1000)
    assert found.drawn == 47
    strengths = [one.strengths[0] for one in promoted(vlm, ns.Neurons.of((1, u) for u in range(48)))]
    own = strengths.pop(7)
    assert found.quantiles == (pytest.approx(np.mean(np.array(strengths) < own)),)
    assert found.strength.found == pytest.approx(own)
    assert found.strength.random == pytest.approx(np.mean(strengths))
    assert found.rank is found.naming is None
    assert "promote a word" not in found.sentence


@pytest.mark.parametrize("concept", ["bear", "dog", "bus", "pizza", "horse", "clock"])
def test_planted_words_are_told_from_random_ones(make_vlm, concept):
    """Value vectors that point along the concept's row of the unembedding speak of it; as many others do not."""
    vlm = make_vlm(seed=3)
    row = vlm.structure.unembedding.weight[word_ids(vlm, concept)[0]].detach() / vlm.structure.norm.weight.detach()
    members = [(layer, unit) for layer in range(4) for unit in (3, 17, 30)]
    with torch.no_grad():
        for layer, unit in members:
            vlm.structure.ffns[layer].output.weight[:, unit] = row
    found = decode(vlm, set_of(concept, *members))
    assert found.naming.found == 1 > found.naming.random
    assert found.rank.differs() == found.naming.differs() == 1
    assert f"12 of 12 neurons promote a word for “{concept}”" in found.sentence
    assert "these words speak of it more than random ones do" in found.sentence
    other = decode(vlm, set_of(concept, *((layer, unit + 1) for layer, unit in members)))
    assert "these words do not speak of it more" in other.sentence


def test_random_sets_are_seldom_told_apart(vlm):
    """The share of p below 0.1 over random sets is about 0.1."""
    rng = np.random.default_rng(0)
    p = []
    for seed in range(60):
        members = {(int(layer), int(unit)) for layer, unit in rng.integers(0, (4, 48), (8, 2))}
        p.append(decode(vlm, set_of("", *members), seed=seed).strength.p)
    assert np.mean(np.array(p) < 0.1) < 0.25


def test_planted_neurons_of_the_bundled_model(demo):
    neurons = dataclasses.replace(planted(demo)["bear"], concept="bear")
    found = decode(demo, neurons)
    assert 0 < found.strength.p <= 1
    assert f"{len(neurons)} neurons" in found.sentence


def test_layers_without_other_neurons_have_no_control(make_vlm):
    vlm = make_vlm(layers=2, d_ff=8)
    whole = set_of("bear", *((0, unit) for unit in range(8)))
    found = decode(vlm, whole)
    assert set(found.beside) == set(found.quantiles) == {None}
    assert (found.strength, found.rank, found.naming, found.drawn) == (None, None, None, 0)
    assert "no other neurons in these layers" in found.sentence
    mixed = decode(vlm, set_of("bear", *((0, unit) for unit in range(8)), (1, 2)))
    assert mixed.beside[-1].neuron.layer == 1
    assert mixed.drawn == 7
    assert decode(vlm, set_of("bear")).sentence == "There are no neurons, so there are no words."


@pytest.mark.parametrize("pairs", [(), ((1, 2),), ((0, 5), (3, 7), (3, 1))])
@pytest.mark.parametrize("concept", ["", "dog"])
def test_what_is_saved_can_be_read_again(vlm, pairs, concept):
    found = decode(vlm, set_of(concept, *pairs))
    again = Words.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again == found
    assert again.sentence == found.sentence


@pytest.mark.parametrize(
    ("concept", "words"),
    [
        ("dog", {"dog", "dogs", "puppy"}),
        ("bus", {"bus", "buses"}),
        ("couch", {"couch", "sofa"}),
        ("person", {"person", "man", "woman"}),
        ("gizmo", {"gizmo", "gizmos"}),
    ],
)
def test_spellings_of_a_concept(concept, words):
    assert words <= set(ns.Lexicon.default().spellings(concept))


def test_words_of_the_natural_model(natural_vlm):
    said = {natural_vlm.tokenizer.decode([token]) for token in word_ids(natural_vlm, "dog")}
    assert {"dog", " dog", "Dog", " Dog", " dogs", " puppy"} <= said
    assert {w.strip() for w in map(natural_vlm.tokenizer.decode, word_ids(natural_vlm, "fire hydrant"))} == {"fire"}


def test_notebooks_show_both(vlm):
    html = decode(vlm, set_of("dog", (1, 2), (2, 9)))._repr_html_()
    assert html.count("L1.U") == html.count("L2.U") == 2
    assert "random" in html


def test_bad_requests(vlm):
    for options in ({"least": 0}, {"seed": -1}, {"top": 0}, {"norm": "gian"}, {"sign": 0}):
        with pytest.raises(InvalidOption, match=next(iter(options))):
            decode(vlm, set_of("dog", (1, 2)), **options)
    with pytest.raises(NeuronOutOfRange):
        decode(vlm, set_of("dog", (0, 48)))

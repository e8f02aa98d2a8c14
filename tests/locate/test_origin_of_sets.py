"""Sets whose addresses mean other neurons are refused by everything that reads scores at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange, RunMismatch
from neuronscope.evaluate import planted
from neuronscope.locate.scores import Layout
from neuronscope.studies.demo.scenes import scenes_of


@pytest.fixture(scope="module")
def discovered(demo: ns.VLM) -> ns.Discovered:
    found = next(iter(ns.discover(demo, [scenes_of("bear", 1)[0].load()])))
    assert found.nouns
    return found


BAD: dict[str, tuple[Callable[[ns.Neurons], ns.Neurons], type[Exception]]] = {
    "other weights": (lambda own: replace(own, model={"id": "x", "fingerprint": "0123456789abcdef"}), RunMismatch),
    "another part": (lambda own: replace(own, part="vision"), InvalidOption),
    "the projector": (lambda own: replace(own, part="projector"), InvalidOption),
    "no neurons": (lambda own: own[:0], InvalidOption),
    "no such layer": (lambda own: ns.Neurons.of([(99, 0)]), NeuronOutOfRange),
    "no such unit": (lambda own: ns.Neurons.of([(0, 10**6)]), NeuronOutOfRange),
    "the unit behind the last, which the next layer has": (lambda own: ns.Neurons.of([(0, 768)]), NeuronOutOfRange),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_matrix_of_discovered_nouns(kind: str, discovered: ns.Discovered):
    change, error = BAD[kind]
    own = discovered.nouns[0].neurons
    with pytest.raises(error):
        discovered.matrix([own, change(own)])
    assert discovered.matrix([own, own.anywhere(), ns.Neurons.of([(0, 767)])]).shape == (3, len(discovered.nouns))


@pytest.fixture(scope="module")
def scored(demo: ns.VLM) -> ns.ScoredConcept:
    return ns.ScoredConcept.of(demo, [ns.counterfactual(scenes_of("bear", 1)[0])], ns.Activation(count=5))


def of_another(scored: ns.ScoredConcept, fingerprint: str) -> ns.ScoredConcept:
    other = {"id": "x", "fingerprint": fingerprint}
    located = tuple(replace(one, neurons=replace(one.neurons, model=other)) for one in scored.located)
    return replace(scored, located=located)


def test_pooled_scores_of_other_weights_are_not_subtracted(scored: ns.ScoredConcept, vlm: ns.VLM):
    for against in (of_another(scored, "0123456789abcdef"), replace(scored, vlm=vlm)):
        with pytest.raises(RunMismatch):
            scored.neurons(against=[against])
        with pytest.raises(RunMismatch):
            scored.neurons(against=[scored, against])
    assert len(scored.neurons(against=[scored]))
    with pytest.raises(RunMismatch):
        replace(
            scored,
            pairs=scored.pairs * 2,
            effects=scored.effects * 2,
            located=(*scored.located, *of_another(scored, "0123456789abcdef").located),
        )


def test_a_pooled_set_is_of_the_weights_that_were_scored(scored: ns.ScoredConcept, demo: ns.VLM):
    before = scored.neurons().model
    with ns.Ablate().edit(demo, planted(demo)["bear"]):
        assert demo.fingerprint != before["fingerprint"]
        assert scored.neurons().model == before


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_a_scored_concept_has_one_of_each_for_every_pair(scored: ns.ScoredConcept, counts: tuple[int, int, int]):
    pairs, located, effects = counts
    with pytest.raises(InvalidOption, match="pairs, located and effects have"):
        replace(scored, pairs=scored.pairs * pairs, located=scored.located * located, effects=scored.effects * effects)


@pytest.mark.parametrize("neuron", [(3, 0), (0, 2), (1, 3), (2, 1), (2, 10**9)])
def test_addresses_beyond_a_layout(neuron: tuple[int, int]):
    layout = Layout((2, 3, 1))
    with pytest.raises(NeuronOutOfRange, match="does not exist"):
        layout.mask(ns.Neurons.of([(0, 0), neuron]))
    everything = ns.Neurons.of([(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0)])
    assert [layout.at(one) for one in everything] == list(range(6))
    assert np.array_equal(layout.mask(everything[1:3]), [False, True, True, False, False, False])

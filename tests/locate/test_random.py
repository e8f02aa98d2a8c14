"""Random controls as methods."""

import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange
from neuronscope.locate import Random, RandomLayerMatched
from neuronscope.locate.matched import layer_matched_sets


def test_seeds_decide(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    found = Random(count=20, seed=3).locate(vlm, pair)
    assert found.neurons == Random(count=20, seed=3).locate(vlm, pair).neurons
    assert set(found.neurons) != set(Random(count=20, seed=4).locate(vlm, pair).neurons)
    assert len({n.layer for n in found.neurons}) > 1


def test_layer_matched_method_draws_what_the_function_draws(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    like = ns.Neurons.of([(0, 3), (2, 1), (2, 9), (2, 40)], site="act")
    found = RandomLayerMatched(like=like, seed=5).locate(vlm, pair)
    assert set(found.neurons) == set(ns.layer_matched(vlm, like, seed=5))
    assert found.neurons.site == "act"
    assert found.neurons.options["count"] == 4
    assert found.neurons.options["like"] == {"method": "", "neurons": [[0, 3], [2, 1], [2, 9], [2, 40]]}


def test_several_sets_are_those_of_each_seed_and_the_weights_are_read_once(vlm, monkeypatch):
    like = ns.Neurons.of([(0, 1), (2, 3), (2, 4)])
    expected = tuple(ns.layer_matched(vlm, like, seed=seed) for seed in (3, 8))
    read, real = [], ns.VLM.identity
    monkeypatch.setattr(ns.VLM, "identity", lambda self: read.append(self) or real(self))
    assert layer_matched_sets(vlm, like, (3, 8)) == expected
    assert len(read) == 1
    assert layer_matched_sets(vlm, like, ()) == ()


def test_layer_matched_needs_a_set_of_this_model(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    with pytest.raises(InvalidOption, match="needs like="):
        RandomLayerMatched().locate(vlm, pair)
    with pytest.raises(NeuronOutOfRange, match="layers 0 to 3"):
        RandomLayerMatched(like=ns.Neurons.of([(9, 0)])).locate(vlm, pair)
    with pytest.raises(InvalidOption, match="only 8"):
        RandomLayerMatched(like=ns.Neurons.of((1, unit) for unit in range(40))).locate(vlm, pair)


@pytest.mark.parametrize("method", [Random, RandomLayerMatched])
@pytest.mark.parametrize("seed", [-1, 0.5, "x"])
def test_bad_seeds(method, seed):
    with pytest.raises(InvalidOption, match="seed="):
        method(seed=seed)

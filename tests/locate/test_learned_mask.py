"""A learned mask: its gates by hand, its forward pass against plain hooks, and what it finds in the bundled model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate import Exchange, LearnedMask, Recovery, edit_effect, method
from neuronscope.locate.learned_mask import Gated, hard_concrete, open_probability, shut_in_turn
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.studies.demo.scenes import scenes_of

QUICK = {"candidates": 100, "steps": 15, "lr": 0.25, "draws": 2}


@pytest.fixture
def known(vlm, pair, speaks):
    speaks(vlm, "a brown bear", "green grass")
    return check_validity(vlm, pair)


@pytest.fixture
def exchange(vlm, pair, known):
    return Exchange.of(vlm, pair.original, pair.edited, concept_word(known), Decoding())


def test_gates_by_hand():
    """u = 1/2 leaves s = sigmoid(3 a / 2); stretched to -0.1 .. 1.1 and clipped."""
    found = hard_concrete(torch.tensor([0.0, 4.0, -4.0, 1.0]), torch.full((1, 4), 0.5))[0]
    middle = 1.2 / (1 + np.exp(-1.5)) - 0.1
    assert found.tolist() == pytest.approx([0.5, 1.0, 0.0, middle], abs=1e-6)


def test_the_probability_of_an_open_gate_is_its_frequency():
    a = torch.tensor([-3.0, -1.0, 0.0, 2.0])
    u = torch.rand(20000, 4, generator=torch.Generator().manual_seed(0))
    often = (hard_concrete(a, u) > 0).float().mean(0)
    assert open_probability(a).tolist() == pytest.approx(often.tolist(), abs=0.02)


def test_closed_and_open_gates_are_an_exchange(vlm, exchange):
    candidates = np.array([150, 3, 60, 191, 47, 100])
    gates = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1]], dtype=torch.float32)
    with torch.no_grad():
        found = exchange.clean - Gated(exchange, candidates).scores(gates).numpy()
    masks = [np.isin(np.arange(192), candidates[row.numpy() > 0]) for row in gates]
    np.testing.assert_allclose(found, exchange.effects(masks), atol=1e-5)
    assert np.ptp(found) > 1e-4


def test_half_open_gates_stand_between_the_pictures(vlm, pair, known, exchange, naive_activations):
    word = concept_word(known)
    clean, other = (naive_activations(vlm, image, word.ids) for image in (pair.original, pair.edited))
    gates = np.zeros(192, np.float32)
    chosen = np.array([1, 2, 50, 97, 98, 140])
    gates[chosen] = [0.3, 1.0, 0.5, 0.9, 0.1, 0.7]
    inputs = vlm.prepare([pair.original]).extend(word.ids)
    at, (_, token) = inputs.images[0].positions, word.entries[0]

    def mix(layer: int):
        def run(_module, args):
            z, own = args[0].clone(), torch.from_numpy(gates[48 * layer : 48 * layer + 48])
            z[0, at] = z[0, at] + own * (other[layer] - z[0, at])  # what earlier gates made of it, not the clean one
            return (z,)

        return run

    handles = [layer.mlp.down_proj.register_forward_pre_hook(mix(i)) for i, layer in enumerate(vlm.structure.layers)]
    with torch.no_grad():
        expected = float(vlm.model(**inputs.tensors).logits[0, -1].log_softmax(-1)[token])
    for handle in handles:
        handle.remove()
    assert len(clean) == vlm.layers
    with torch.no_grad():
        found = Gated(exchange, chosen).scores(torch.from_numpy(gates[chosen])[None])
    assert float(found[0]) == pytest.approx(expected, abs=1e-5)


def test_gradients_of_gates_are_finite_differences(exchange):
    gated = Gated(exchange, np.array([5, 52, 101]))
    gates = torch.tensor([[0.4, 0.5, 0.6]], requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(gated.scores(gates).sum(), gates)
    for k in range(3):
        step = torch.zeros(1, 3)
        step[0, k] = 0.05
        with torch.no_grad():
            rise = gated.scores(gates.detach() + step) - gated.scores(gates.detach() - step)
        assert float(slope[0, k]) == pytest.approx(float(rise[0]) / 0.1, rel=0.05, abs=1e-4)


def test_members_are_shut_from_the_least_to_the_most_needed():
    each = np.array([0.5, 0.0, -1.0, 3.0, 0.2, 9.0])

    def effects(sets):
        return np.array([each[mask].sum() for mask in sets])

    found = shut_in_turn(effects, np.array([5, 0, 2, 3]), 6)
    assert found.tolist() == [2, 0, 1, 3, 0, 4]
    assert not shut_in_turn(effects, np.zeros(0, int), 6).any()
    many = np.random.default_rng(0).permutation(150)
    each = np.arange(150.0)
    found = shut_in_turn(effects, many, 150)
    assert found[many[100:]].tolist() == list(range(50, 0, -1))
    assert sorted(found) == list(range(1, 151))
    assert found.argmax() == many[:100].max()


@pytest.mark.parametrize("concept", ["bear", pytest.param("bus", marks=pytest.mark.long)])
def test_it_recovers_half_with_no_more_neurons_than_the_ranking(demo, concept):
    pair = ns.counterfactual(scenes_of(concept, 2)[0])
    known = check_validity(demo, pair)
    found = method("learned-mask", **QUICK).locate(demo, pair, validity=known)
    assert LearnedMask().among == method("difference-x-gradient-refined")
    ranking = found.scores.arrays["attribution"].values
    greedy = Recovery(gap=None, draws=0).choose(demo, pair, known, ranking)
    assert 0 < len(found.neurons) <= greedy.count
    effect = edit_effect(demo, pair, concept_word(known), Decoding())
    exchange = Exchange.of(demo, pair.original, pair.edited, concept_word(known), Decoding())
    layout = Layout(demo.widths)
    rng, lowest = np.random.default_rng(0), found.scores.arrays["gate"].values.min()
    candidates = np.nonzero(found.scores.arrays["gate"].values > lowest)[0]
    assert len(candidates) == QUICK["candidates"]
    random = [np.isin(np.arange(layout.total), rng.choice(candidates, len(found.neurons), False)) for _ in range(5)]
    everyone = np.ones(layout.total, dtype=bool)
    own, whole, *drawn = exchange.effects([layout.mask(found.neurons), everyone, *random]) / effect
    assert own >= 0.5 * min(1, whole)
    assert max(drawn) < 0.25 * min(1, whole)
    told = found.neurons.provenance
    assert told["mask"]["candidates"] == QUICK["candidates"]
    assert len(found.neurons) <= told["mask"]["open"] < QUICK["candidates"] / 5
    assert told["recovery"]["share"] == pytest.approx(own, rel=1e-3)


def positive(vlm, speaks) -> tuple[ns.Counterfactual, object]:
    """A picture whose edit makes the word less likely, and all neurons patched as well."""
    speaks(vlm, "bear on grass", "grass")
    for seed in range(13, 53):  # of the first thirteen none does
        image = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        pair = ns.counterfactual(ns.Sample(image, "bear", boxes=[(3, 3, 20, 12)]))
        known = check_validity(vlm, pair)
        exchange = Exchange.of(vlm, pair.original, pair.edited, concept_word(known), Decoding())
        if (
            edit_effect(vlm, pair, concept_word(known), Decoding()) > 1e-3
            and exchange.effects([np.ones(192, bool)])[0] > 1e-3
        ):
            return pair, known
    raise AssertionError("no edit of forty makes the word less likely")


def test_the_seed_decides(vlm, speaks):
    pair, known = positive(vlm, speaks)
    gates = [
        LearnedMask(steps=3, candidates=8, seed=seed, share=9.0, cut=None)  # a share that is never reached
        .locate(vlm, pair, validity=known)
        .scores.arrays["gate"]
        .values
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(gates[0], gates[1])
    assert not np.array_equal(gates[0], gates[2])


def test_few_candidates_none_and_a_cut_that_is_not_asked_for(vlm, speaks):
    pair, known = positive(vlm, speaks)
    few = LearnedMask(steps=2, candidates=9, cut=None).locate(vlm, pair, validity=known)
    best = LearnedMask().among.score(vlm, pair, known).arrays["attribution"].values
    assert set(few.neurons) <= {ns.Neuron(*Layout(vlm.widths).split(int(flat))) for flat in np.argsort(-best)[:9]}
    assert len(few.neurons) == few.neurons.provenance["mask"]["open"]
    assert not len(LearnedMask(candidates=0).locate(vlm, pair, validity=known).neurons)


def test_an_edit_without_an_effect_is_refused(vlm, pair, known):
    same = ns.Counterfactual(pair.sample, pair.original, pair.original, pair.mask, pair.method)
    with pytest.raises(InvalidSample, match="no effect that neurons could recover"):
        LearnedMask(steps=1).locate(vlm, same, validity=known)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"lr": 0.0}, {"price": -1.0}, {"share": float("nan")}, {"candidates": -1}, {"draws": 0}]
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        LearnedMask(**wrong)

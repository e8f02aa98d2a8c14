"""Sets exchanged in batches have the effects that one intervention after another has."""

import dataclasses

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.intervene import Patch, Zero
from neuronscope.locate import Exchange, edit_effect, exchanged, method
from neuronscope.locate.patching import CHANGES
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import Word, concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.types import Neurons
from zoo import ZOO


@pytest.fixture
def word(vlm, pair, speaks):
    speaks(vlm, "a brown bear", "green grass")
    return concept_word(check_validity(vlm, pair))


@pytest.fixture
def sets(vlm):
    """Random sets, one that has neurons in one layer only, none, and all."""
    rng, total = np.random.default_rng(5), Layout(vlm.widths).total
    some = [rng.random(total) < share for share in (0.1, 0.5)]
    return [*some, np.arange(total) < 3, np.zeros(total, bool), np.ones(total, bool)]


def members(vlm, mask):
    return Neurons.of(Layout(vlm.widths).split(int(flat)) for flat in np.nonzero(mask)[0])


def naive(vlm, pair, word, change, mask) -> float:
    """E_N by one intervention around one forward pass: the log-probability of the word, with and without it."""
    inputs = word.inputs(vlm, pair.original, Decoding())
    (position, token), neurons = word.entries[0], members(vlm, mask)

    def score() -> float:
        with torch.no_grad():
            return float(vlm.logits(inputs, last=position)[0, -position].log_softmax(-1)[token])

    operation = Patch.take(vlm, neurons, pair.edited) if change == "patch" else Zero(neurons)
    clean = score()
    with vlm.intervene(operation):
        return clean - score()


@pytest.mark.parametrize("change", ["patch", "zero"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_effects_are_those_of_single_interventions(vlm, pair, word, sets, change, batch_size):
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), change=change, batch_size=batch_size)
    found = exchange.effects(sets)
    expected = [naive(vlm, pair, word, change, mask) if mask.any() else 0.0 for mask in sets]
    assert np.allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3  # there is something to agree about


@pytest.mark.parametrize("site", ["neuron", "act"])
def test_kept_states_give_what_passes_from_the_beginning_give(make_vlm, pair, speaks, sets, site):
    """In float64, one neuron at a time and in sets, from every layer; nothing is read from the beginning."""
    vlm = make_vlm()
    vlm.model.double()
    speaks(vlm, "a brown bear", "green grass")
    word, layout = concept_word(check_validity(vlm, pair)), Layout(vlm.widths)
    singles = [np.arange(layout.total) == start + unit for start in layout.starts for unit in (0, 3)]
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), site=site)
    found = exchange.effects([*singles, *sets])
    assert exchange.kept.plain
    assert not any(exchange.kept.plain.values())
    assert np.allclose(found, exchange.plain_effects([*singles, *sets]), rtol=0, atol=1e-10)
    assert np.ptp(found[: len(singles)]) > 1e-6


def test_rows_go_through_the_unembedding_in_one_product(vlm, pair, word, sets, monkeypatch):
    """Of positions cut out of longer rows torch makes one product a row, and reads the matrix anew for each."""
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
    exchange.effects(sets)  # the trial of kept states makes plain passes, too
    linear, seen = torch.nn.functional.linear, list[tuple[int, bool]]()

    def watched(x, weight, bias=None):
        if weight is vlm.structure.unembedding.weight:
            seen.append((len(x), x.is_contiguous()))
        return linear(x, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    before = dict(vlm.structure.unembedding._forward_pre_hooks)
    exchange.effects(sets)
    assert not exchange.kept.why
    assert max(rows for rows, _ in seen) > 1
    assert all(together for _, together in seen)
    assert dict(vlm.structure.unembedding._forward_pre_hooks) == before


def test_the_trial_is_the_answer_where_it_exchanged_the_same(make_vlm, pair, speaks, monkeypatch):
    """The ceiling exchanges all neurons, as the first trial does; another set is read after it."""
    vlm = make_vlm()
    speaks(vlm, "a brown bear", "green grass")
    word = concept_word(check_validity(vlm, pair))
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
    everyone, read, passes = np.ones(Layout(vlm.widths).total, dtype=bool), exchanged.KeptStates._read, list[int]()
    monkeypatch.setattr(exchanged.KeptStates, "_read", lambda self, *a: passes.append(len(a[1])) or read(self, *a))
    ceiling = exchange.effects([everyone])
    assert passes == [1]
    assert exchange.effects([everyone]) == pytest.approx(ceiling)
    assert passes == [1, 1]
    assert ceiling == pytest.approx(exchange.plain_effects([everyone]), abs=1e-5)


def test_sets_are_read_from_the_beginning_where_kept_states_are_another_model(make_vlm, pair, word, sets, monkeypatch):
    """A trial finds it out; the effects are right all the same."""
    vlm = make_vlm()
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
    state = exchange.kept.state
    assert not isinstance(state, str)
    wrong = dataclasses.replace(state, before=tuple(1.5 * each for each in state.before))
    monkeypatch.setitem(vars(exchange.kept), "state", wrong)
    found = exchange.effects(sets)
    assert all("kept states differ" in why for why in exchange.kept.plain.values())
    assert np.allclose(found, exchange.plain_effects(sets), atol=1e-5)


@pytest.mark.parametrize("target", ["logit", "logprob", "logodds", "prob"])
def test_exchanging_with_itself_does_nothing(vlm, pair, word, sets, target):
    exchange = Exchange.of(vlm, pair.original, pair.original, word, Decoding(), target=target)
    assert np.allclose(exchange.effects(sets), 0, atol=1e-6)


def test_the_last_layer_is_inert_at_image_tokens(vlm, pair, word):
    layout = Layout(vlm.widths)
    last = np.arange(layout.total) >= layout.starts[-1]
    for change in CHANGES:
        exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), change=change)
        assert exchange.effects([last])[0] == pytest.approx(0, abs=1e-6)


def test_log_odds_are_the_log_probability_without_its_rounding(vlm, pair, word):
    scores = {}
    for target in ("logprob", "logodds"):
        scores[target] = Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), target=target).clean
    p = np.exp(scores["logprob"])
    assert scores["logodds"] == pytest.approx(np.log(p) - np.log1p(-p), rel=1e-4)


def test_the_effect_of_the_edit_is_the_scores_difference(vlm, pair, word):
    there, back = (Exchange.of(vlm, image, image, word, Decoding()).clean for image in (pair.original, pair.edited))
    assert edit_effect(vlm, pair, word, Decoding()) == pytest.approx(there - back, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"target": "loss"}, {"change": "swap"}, {"site": "attention"}])
def test_what_an_exchange_cannot_do_is_refused(vlm, pair, word, wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), **wrong)


def test_pictures_with_different_numbers_of_tokens_are_refused(pair, word):
    """Of a family whose image tokens follow the size of the picture."""
    qwen = ns.load(ZOO["qwen2_vl"].build(), check=False)
    wide = pair.original.resize((4 * pair.original.width, pair.original.height))
    with pytest.raises(InvalidOption, match="image tokens"):
        Exchange.of(qwen, pair.original, wide, word, Decoding())


@pytest.mark.parametrize("name", ["difference-x-gradient", "difference-x-gradient-averaged"])
def test_small_exchanges_are_what_the_gradient_says(vlm, pair, word, speaks, name):
    """First order: where the two pictures hardly differ, the scores sum to the effect of the edit."""
    pixels = np.asarray(pair.original).copy()
    pixels[4:20, 4:20] = np.clip(pixels[4:20, 4:20].astype(int) + 1, 0, 255)
    near = ns.counterfactual(ns.Sample(pair.original, "bear", [(4, 4, 16, 16)]), "edited", edited=pixels)
    found = method(name, target="logit").locate(vlm, near).scores.arrays["attribution"].values
    exchange = Exchange.of(vlm, near.original, near.edited, word, Decoding(), target="logit")
    largest = np.argsort(-np.abs(found))[:20]
    exact = exchange.effects([np.arange(len(found)) == flat for flat in largest])
    assert np.corrcoef(exact, found[largest])[0, 1] > 0.99


def test_rounds_take_the_gradient_again_with_the_best_exchanged(vlm, pair, word):
    """Another state, other scores; and nothing of it stays in the model."""
    once, again = (method("difference-x-gradient", rounds=rounds).locate(vlm, pair) for rounds in (0, 2))
    assert not np.allclose(once.scores.arrays["attribution"].values, again.scores.arrays["attribution"].values)
    assert once.neurons == method("difference-x-gradient").locate(vlm, pair).neurons
    assert "inert" in once.neurons.provenance


def test_what_holds_for_late_layers_is_not_believed_of_the_first(pair):
    """Qwen3-VL adds the picture to its first layers again: kept states do above them, and not below."""
    qwen = ns.load(ZOO["qwen3_vl"].build(), check=False)
    layout, word = Layout(qwen.widths), Word((), ((1, 5),))
    exchange = Exchange.of(qwen, pair.original, pair.edited, word, Decoding(), target="logit")
    late, early = ([np.arange(layout.total) == layout.starts[layer] + 1] for layer in (qwen.layers - 2, 0))
    for sets in (late, early, late):
        assert exchange.effects(sets) == pytest.approx(exchange.plain_effects(sets), abs=1e-5)
    assert exchange.kept.plain[0]

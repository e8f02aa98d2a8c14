"""Exact effects are those of one hooked forward pass after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.hooks import HookSession, Tap
from neuronscope.locate.effects import LARGEST_SET, Effects
from neuronscope.locate.patching import rival_entries
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity


@pytest.fixture
def double(make_vlm, speaks):
    """A model whose arithmetic does not hide a difference."""
    vlm = make_vlm()
    vlm.model.double()
    speaks(vlm, "a brown bear", "green grass")
    return vlm


@pytest.fixture
def known(double, pair):
    return check_validity(double, pair)


def looped(vlm, pair, known, members, change, measure):
    """s(o) - s(o | the members exchanged), by a hook on the down-projection's input of the whole model."""
    word = concept_word(known)
    (place, token) = word.entries[0]
    original, edited = (word.inputs(vlm, image, ns.Decoding()) for image in (pair.original, pair.edited))
    at = original.images[0].positions
    of: dict[int, torch.Tensor] = {}
    layers = ns.Neurons.of(members).by_layer()
    with torch.no_grad(), HookSession(vlm.structure, [Tap(layer, "neuron", keep(of, layer, at)) for layer in layers]):
        vlm.logits(edited if change == "patch" else original)
    new = {"patch": lambda z: z, "zero": torch.zeros_like, "mean": lambda z: z.mean(0, keepdim=True).expand_as(z)}
    with torch.no_grad():
        rivals = rival_entries(vlm.logits(edited)[0], word)

    def score() -> float:
        with torch.no_grad():
            last = vlm.logits(original)[0, -place]
        if measure == "contrast":
            return float(last[token] - last[rivals[0][1]])
        return float({"logit": last, "logprob": last.log_softmax(-1)}[measure][token])

    def put(layer, units):
        def run(z):
            z = z.clone()
            z[0, torch.as_tensor(at)[:, None], torch.tensor(units)] = new[change](of[layer])[:, units]
            return z

        return run

    clean = score()
    taps = [Tap(layer, "neuron", put(layer, list(units))) for layer, units in layers.items()]
    with HookSession(vlm.structure, taps):
        return clean - score()


def keep(found, layer, at):
    def run(z):
        found[layer] = z[0, at].clone()

    return run


@pytest.mark.parametrize("change", ["patch", "zero", "mean"])
@pytest.mark.parametrize("measure", ["logit", "logprob", "contrast"])
def test_single_effects_are_those_of_a_loop_of_hooks(double, pair, known, change, measure):
    some = [(0, 3), (0, 7), (1, 0), (double.layers - 2, 5), (double.layers - 1, 2)]
    found = ns.effects(double, pair, ns.Neurons.of(some), validity=known, change=change, measure=measure)
    expected = [looped(double, pair, known, [one], change, measure) for one in some]
    assert found.plain == ()
    assert [(n.layer, n.unit) for n in ns.Neurons.of(some)] == [found.layout.split(int(f)) for f in found.flat]
    np.testing.assert_allclose(found.values, expected, rtol=1e-6, atol=1e-10)
    assert np.ptp(expected) > 1e-7
    assert expected[-1] == 0  # nothing reads the last layer at image tokens


def test_all_neurons_are_asked_where_none_are_named(vlm, pair, speaks):
    speaks(vlm, "a brown bear", "green grass")
    told: list[int] = []
    found = ns.effects(vlm, pair, batch_size=50, step=told.append)
    assert len(found) == Layout(vlm.widths).total == sum(told)
    some = found.best(20)
    again = ns.effects(vlm, pair, some)
    assert again.best().scores["effect"] == pytest.approx(some.scores["effect"], abs=1e-5)
    assert found.layer(0).shape == (vlm.widths[0],)
    assert np.isnan(again.layer(0)).sum() == vlm.widths[0] - sum(n.layer == 0 for n in some)
    assert repr(found) == f"Effects({len(found)} neurons, patch, logprob, largest {found.values.max():.3g})"


def test_leaving_one_out_of_a_set(double, pair, known):
    members = [(0, 1), (0, 2), (1, 4)]
    found = ns.effects(double, pair, ns.Neurons.of(members), among="set")
    whole = looped(double, pair, known, members, "patch", "logprob")
    assert found.whole == pytest.approx(whole, rel=1e-8)
    left = [looped(double, pair, known, [m for m in members if m != one], "patch", "logprob") for one in members]
    np.testing.assert_allclose(found.values, whole - np.array(left), rtol=1e-6, atol=1e-10)


def test_the_edit_has_the_effect_of_the_two_pictures(double, pair):
    for measure in ("logit", "contrast"):
        found = ns.effects(double, pair, ns.Neurons.of([(0, 1)]), measure=measure)
        same = ns.counterfactual(pair.sample, "edited", edited=pair.original)
        assert found.edit != 0
        assert ns.effects(double, same, ns.Neurons.of([(0, 1)]), measure="logit").edit == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"change": "swap"}, "change"),
        ({"measure": "loss"}, "measure"),
        ({"among": "rest"}, "among"),
        ({"among": "set"}, f"1 to {LARGEST_SET}, not all"),
    ],
)
def test_what_cannot_be_asked_is_refused(vlm, pair, speaks, wrong, says):
    speaks(vlm, "a brown bear", "green grass")
    with pytest.raises(InvalidOption, match=says):
        ns.effects(vlm, pair, **wrong)


def test_neurons_of_other_weights_or_another_part_are_refused(vlm, pair, speaks):
    speaks(vlm, "a brown bear", "green grass")
    with pytest.raises(RunMismatch):
        ns.effects(vlm, pair, replace(ns.Neurons.of([(0, 1)]), model={"id": "x", "fingerprint": "0"}))
    with pytest.raises(InvalidOption, match="only neurons of part"):
        ns.effects(vlm, pair, ns.Neurons.at("vision.0.1"))


def test_no_neurons_have_no_effects():
    found = Effects(Layout((2, 2)), np.zeros(0, int), np.zeros(0), 1.0, None, "patch", "logit", "neuron", "alone")
    assert len(found.best()) == 0
    assert "largest 0" in repr(found)

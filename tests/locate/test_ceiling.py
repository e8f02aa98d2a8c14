"""The ceiling is what interventions on whole layers do."""

import json
from dataclasses import replace

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange, RunMismatch
from neuronscope.locate import Exchange, edit_effect
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.studies.demo.scenes import scenes_of


@pytest.fixture(scope="module")
def vlm(demo):
    return demo


@pytest.fixture(scope="module")
def pair():
    return ns.counterfactual(scenes_of("bear", 2)[1])


@pytest.fixture(scope="module")
def known(vlm, pair):
    return check_validity(vlm, pair)


@pytest.fixture(scope="module")
def found(vlm, pair, known):
    return ns.ceiling(vlm, pair, validity=known)


@pytest.mark.parametrize("change", ["patch", "zero"])
def test_layers_thirds_and_all_are_exchanged_sets(vlm, pair, known, found, change):
    word = concept_word(known)
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding(), change=change)
    owner = np.repeat(np.arange(vlm.layers), Layout(vlm.widths).widths)
    thirds = np.array_split(np.arange(vlm.layers), 3)
    sets = {"all layers": owner >= 0, "layer 0": owner == 0, f"layer {vlm.layers - 1}": owner == vlm.layers - 1}
    sets |= {
        f"{name} third": np.isin(owner, part) for name, part in zip(("lower", "middle", "upper"), thirds, strict=True)
    }
    effect = edit_effect(vlm, pair, word, Decoding())
    for name, mask in sets.items():
        expected = exchange.effects([mask])[0] / effect
        assert found.shares[change][name] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert found.shares[change][f"layer {vlm.layers - 1}"] == pytest.approx(0, abs=1e-4)  # inert


def test_it_says_so_in_a_sentence(vlm, pair, known):
    found = ns.ceiling(vlm, pair, validity=known, changes=(), layers=False)
    assert set(found.shares) == {"patch"}
    assert len(found.shares["patch"]) == 4
    assert f"recover {found.share:.0%} of what the edit does" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_almost_all_of_a_natural_photographs_edit_passes_through_them(natural_vlm, natural_found):
    pair, known = natural_found
    assert ns.ceiling(natural_vlm, pair, validity=known, changes=(), layers=False).share > 0.9


@pytest.mark.parametrize(
    ("sets", "error", "reason"),
    [
        (
            {"mine": replace(ns.Neurons.of([(0, 1)]), model={"id": "x", "fingerprint": "0"})},
            RunMismatch,
            "fingerprint 0",
        ),
        ({"mine": ns.Neurons.at("vision.0.1")}, InvalidOption, "only neurons of part 'text'"),
        ({"mine": ns.Neurons.of([(99, 0)])}, NeuronOutOfRange, "99"),
        ({"mine": ns.Neurons.of([(0, 10**6)])}, NeuronOutOfRange, "1000000"),
        ({"layer 0": ns.Neurons.of([(0, 1)])}, InvalidOption, "stand for neurons already"),
        ({"all layers": ns.Neurons.of([(0, 1)])}, InvalidOption, "stand for neurons already"),
    ],
)
def test_sets_that_it_does_not_take(vlm, pair, known, sets, error, reason):
    with pytest.raises(error, match=reason):
        ns.ceiling(vlm, pair, validity=known, sets=sets)

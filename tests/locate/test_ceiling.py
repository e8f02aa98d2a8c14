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


@pytest.fixture(scope="module")
def pair():
    """One whose edit makes the word less likely."""
    image = np.random.default_rng(19).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return ns.counterfactual(ns.Sample(image, "bear", boxes=[(4, 4, 16, 16)]))


@pytest.fixture
def known(vlm, pair, speaks):
    speaks(vlm, "brown bear on grass", "grass")
    return check_validity(vlm, pair)


@pytest.fixture
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

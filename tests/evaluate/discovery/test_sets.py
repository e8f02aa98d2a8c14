"""Random rankings: of any neurons, and of the same layer at every rank."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate.discovery import CONTROLS, layer_like, measured, uniform
from neuronscope.types import Neuron

WIDTHS = (3, 0, 5)
LIKE = tuple(Neuron(*pair) for pair in [(2, 4), (0, 1), (2, 0), (0, 0), (2, 3)])


def test_layers_agree_at_every_rank_and_no_neuron_comes_twice():
    drawn = layer_like(WIDTHS, LIKE, np.random.default_rng(1))
    assert [n.layer for n in drawn] == [n.layer for n in LIKE]
    assert len(set(drawn)) == len(LIKE)
    assert layer_like(WIDTHS, LIKE, np.random.default_rng(1)) == drawn


def test_a_full_layer_can_only_be_itself():
    whole = tuple(Neuron(0, unit) for unit in range(3))
    assert set(layer_like(WIDTHS, whole, np.random.default_rng(0))) == set(whole)


def test_any_neuron_is_as_likely_as_any_other():
    rng = np.random.default_rng(0)
    found = Counter(neuron for _ in range(4000) for neuron in uniform(WIDTHS, LIKE[:2], rng))
    assert set(found) == {Neuron(layer, unit) for layer, width in enumerate(WIDTHS) for unit in range(width)}
    assert max(abs(count / 1000 - 1) for count in found.values()) < 0.15


def test_bad_input():
    for name in CONTROLS:
        with pytest.raises(InvalidOption):
            CONTROLS[name]((2, 1), LIKE, np.random.default_rng(0))
    with pytest.raises(InvalidOption, match="5 random neurons were asked for; the model has 3"):
        uniform((2, 1), LIKE, np.random.default_rng(0))
    with pytest.raises(InvalidOption, match=r"L2.U4 is not a neuron of a model with layers of \[2, 1\]"):
        layer_like((2, 1), LIKE, np.random.default_rng(0))


def test_measured_keeps_the_controls_beside_the_figure():
    found = measured([1.0, 0.0], {"random": [0.5, 0.5]})
    assert (found.found.value, found.units) == (0.5, 2)
    assert found.found.low < 0.5 < found.found.high
    assert found.controls["random"].low == found.controls["random"].high == 0.5
    with pytest.raises(InvalidOption, match="no values"):
        measured([], {})

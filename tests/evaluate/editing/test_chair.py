"""CHAIR by hand, its intervals against a loop, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate.editing.chair import Ratio, named_objects

CATEGORIES = ("bear", "bus", "dog")
#: Three mentions, one of them wrong; one twice wrong; one right; none.
CAPTIONS = ["a bear beside a bus and a dog", "a dog and a puppy, the dogs", "a bus", "a street"]
SHOWN = [{"bear", "bus"}, {"bus"}, {"bus", "bear"}, {"bear"}]


def test_the_figures_by_hand():
    found = named_objects(CAPTIONS, SHOWN, CATEGORIES)
    assert found.mentions == (3, 3, 1, 0)
    assert found.wrong == (("dog",), ("dog", "dog", "dog"), (), ())
    assert found.right == (frozenset({"bear", "bus"}), frozenset(), frozenset({"bus"}), frozenset())
    assert found.missing == (frozenset(), frozenset({"bus"}), frozenset({"bear"}), frozenset({"bear"}))
    assert found.chair_i.value == pytest.approx(4 / 7)
    assert found.chair_s.value == pytest.approx(2 / 4)
    assert found.recall.value == pytest.approx(3 / 6)


def test_intervals_equal_a_loop_over_draws():
    one = Ratio((0.0, 1.0, 2.0, 0.0), (1.0, 2.0, 2.0, 3.0))
    before = Ratio((1.0, 1.0, 2.0, 1.0), (1.0, 3.0, 2.0, 2.0))
    rng = np.random.default_rng(4)
    values, changes = [], []
    for chosen in rng.integers(0, 4, (150, 4)):
        ratio = [sum(r.parts[k] for k in chosen) / sum(r.wholes[k] for k in chosen) for r in (one, before)]
        values.append(ratio[0])
        changes.append(ratio[0] - ratio[1])
    found, change = one.estimate(replicates=150, seed=4), one.change(before, replicates=150, seed=4)
    assert found is not None
    assert change is not None
    assert (found.value, change.value) == (pytest.approx(3 / 8), pytest.approx(3 / 8 - 5 / 8))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert (change.low, change.high) == pytest.approx(tuple(np.percentile(changes, [2.5, 97.5])))


def test_draws_without_a_mention_are_left_out():
    sparse = Ratio((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    found = sparse.estimate(replicates=400)
    assert found is not None
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_nothing_named_has_no_ratio():
    found = named_objects(["a street"], [set()], CATEGORIES)
    assert found.chair_i.value is None
    assert found.chair_i.estimate() is None
    assert found.recall.change(found.recall) is None
    assert found.chair_s.value == 0


def test_refusals():
    with pytest.raises(InvalidOption, match="captions is empty"):
        named_objects([], [], CATEGORIES)
    with pytest.raises(RunMismatch, match="1 captions belong to 2 pictures"):
        named_objects(["a bus"], [{"bus"}, {"bus"}], CATEGORIES)
    with pytest.raises(RunMismatch, match="2 parts belong to 1 wholes"):
        Ratio((1.0, 0.0), (1.0,))
    with pytest.raises(RunMismatch, match="2 images before and 1 after"):
        Ratio((1.0,), (1.0,)).change(Ratio((1.0, 0.0), (1.0, 1.0)))
    with pytest.raises(InvalidOption, match="replicates=0"):
        Ratio((1.0,), (1.0,)).estimate(replicates=0)

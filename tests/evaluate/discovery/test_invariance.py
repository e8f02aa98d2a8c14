"""Region and cross-image invariance: worked by hand, and against chance worked out exactly."""

from __future__ import annotations

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate.discovery import cross_image, jaccard, joint, overlap, region_invariance
from neuronscope.evaluate.discovery.invariance import OTHERS
from neuronscope.types import Neuron

WIDTHS = (40, 60)


def order(*pairs: tuple[int, int]) -> tuple[Neuron, ...]:
    return tuple(Neuron(*pair) for pair in pairs)


FIRST = order((0, 1), (2, 5), (3, 3), (9, 9))
SECOND = order((2, 5), (3, 3), (1, 1), (9, 9))


def test_oracle_16():
    """METHODS (m) 16."""
    assert overlap(FIRST, SECOND, 3) == 2 / 3
    assert overlap(FIRST, FIRST, 3) == 1
    assert [overlap(FIRST, SECOND, k) for k in (1, 2, 4)] == [0, 1 / 2, 3 / 4]


def test_joint_and_pairwise_by_hand():
    """{a,b,c}, {b,c,d}, {c,d,e}: c is in all; pairs share 2, 1 and 2 of 4, 5 and 4."""
    a, b, c, d, e = (Neuron(0, unit) for unit in range(5))
    orders = [(a, b, c), (d, c, b), (c, e, d)]
    assert joint(orders, 3) == 1 / 3
    assert jaccard(orders, 3) == pytest.approx((2 / 4 + 1 / 5 + 2 / 4) / 3)
    assert joint(orders, 1) == jaccard(orders, 1) == 0
    assert joint([orders[0]] * 4, 3) == jaccard([orders[0]] * 4, 3) == 1


def draw(rng: np.random.Generator, k: int) -> tuple[Neuron, ...]:
    flat = rng.choice(100, k, replace=False)
    return tuple(Neuron(0, int(f)) if f < 40 else Neuron(1, int(f) - 40) for f in flat)


def test_region_invariance_averages_nouns_then_images():
    one, two = [(FIRST, FIRST), (FIRST, SECOND)], [(SECOND, SECOND)]
    widths = [10] * 10
    found = region_invariance([one, two], [3], widths)[3]
    assert found.found.value == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert found.units == 2
    assert set(found.controls) == {"random", "layer-matched"}


def test_region_invariance_of_chance_is_that_of_hypergeometric_draws():
    """Of k neurons of N, k/N are met by chance; within layers sum_l k_l^2 / (d_l k)."""
    rng = np.random.default_rng(0)
    pairs = [[(draw(rng, 20), draw(rng, 20))] for _ in range(400)]
    found = region_invariance(pairs, [20], WIDTHS)[20]
    assert found.found.value == pytest.approx(0.2, abs=0.02)
    assert found.controls["random"].value == pytest.approx(0.2, abs=0.02)
    expected = np.mean(
        [
            sum(sum(n.layer == x for n in a) * sum(n.layer == x for n in b) / WIDTHS[x] for x in (0, 1)) / 20
            for ((a, b),) in pairs
        ]
    )
    assert found.controls["layer-matched"].value == pytest.approx(expected, abs=0.02)
    assert region_invariance(pairs, [20], WIDTHS) == {20: found}  # seeded


def test_cross_image_takes_concepts_with_enough_images():
    a, b, c, d, e = (Neuron(0, unit) for unit in range(5))
    groups = {"bear": [(a, b, c), (d, c, b), (c, e, d), (a, b, e)], "bus": [(a, b, c)] * 3, "cat": [(a, b, c)] * 2}
    found = cross_image(groups, 3, WIDTHS, images=3)
    assert found.concepts == {"bear": (1 / 3, pytest.approx(0.4)), "bus": (1, 1)}
    assert found.joint.found.value == pytest.approx(2 / 3)
    assert found.pairwise.found.value == pytest.approx(0.7)
    assert OTHERS not in found.joint.controls  # three rankings of two concepts cannot all be of different ones


def test_neurons_that_serve_every_noun_are_found_out():
    """The same neurons for all nouns are perfectly invariant; the control of other nouns says so."""
    same = {name: [FIRST] * 2 for name in ("a", "b", "c")}
    apart = {name: [order(*((layer, unit) for unit in range(4)))] * 2 for layer, name in enumerate("abc")}
    widths = [10] * 10
    for groups, expected in ((same, 1.0), (apart, 0.0)):
        found = cross_image(groups, 4, widths, images=2)
        assert found.joint.found.value == 1
        assert found.joint.controls[OTHERS].value == expected
        assert found.pairwise.controls[OTHERS].value == expected


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: overlap(FIRST, SECOND[:2], 3), "k=3 must be 1 to 2"),
        (lambda: overlap(FIRST, SECOND, 0), "k=0 must be 1 to 4"),
        (lambda: joint([FIRST], 2), "1 ranking.* at least 2"),
        (lambda: region_invariance([], [1], WIDTHS), "needs images"),
        (lambda: region_invariance([[(FIRST, SECOND)], []], [1], WIDTHS), "each with a noun"),
        (lambda: cross_image({"bear": [FIRST] * 2}, 2, WIDTHS, images=1), "images=1: at least 2"),
        (lambda: cross_image({"bear": [FIRST] * 2}, 2, WIDTHS, images=3), "no concept is named in 3 images.*is 2"),
        (lambda: cross_image({}, 2, WIDTHS), "no concept is named in 5 images; the most is 0"),
        (lambda: region_invariance([[(FIRST, SECOND)]], [1], WIDTHS), "L2.U5 is not a neuron"),
    ],
)
def test_bad_input(call, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        call()

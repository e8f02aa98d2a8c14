"""The first sentence of discoveries and repairs."""

import pytest

from neuronscope.studies.discover.verdict import verdict as of_discovery
from neuronscope.studies.repair.verdict import verdict as of_repair


@pytest.mark.parametrize(
    ("nouns", "images", "best", "told"),
    [
        (0, 1, {}, "No noun was found in the caption of 1 image."),
        (4, 3, {"L1.U2": 2, "L3.U4": 2}, "4 different nouns in the captions of 3 images; no neuron is the best for"),
        (5, 3, {"L1.U2": 4, "L3.U4": 1}, "; 1 have a best neuron of their own, the others L1.U2, which is best for"),
    ],
)
def test_discoveries(nouns, images, best, told):
    assert told in of_discovery({"images": images, "nouns": dict.fromkeys(range(nouns)), "best_for": best})


def held(*wrong):
    return {
        state: {"mentions": 10, "hallucinated": n}
        for state, n in zip(("before", "after", "random"), wrong, strict=True)
    }


@pytest.mark.parametrize(
    ("count", "own", "random", "neurons", "halves", "told"),
    [
        (0, None, None, 0, {}, "No caption of the searched pictures names an object that is not there"),
        (
            4,
            {"value": 0.75},
            {"value": 0.25},
            9,
            {"held_out": held(5, 2, 4)},
            "4 hallucinations: an edit of its own repairs 3 of 4, one of random neurons 1 of 4. All together, on "
            "held-out pictures: 5 wrong mentions become 2 (4 with random neurons), 5 right ones 8.",
        ),
        (
            1,
            {"value": 0.0},
            None,
            0,
            {"held_out": held(1, 1, 1)},
            "1 hallucination: an edit of its own repairs 0 of 1.",
        ),
    ],
)
def test_repairs(count, own, random, neurons, halves, told):
    single = {"found": {"repaired": own}, "random": {"repaired": random}}
    found = {"hallucinations": [{}] * count, "single": single, "together": {"neurons": neurons, "halves": halves}}
    assert told in of_repair(found)

"""The first sentence of discoveries, repairs and runs of the evaluation."""

import pytest

from neuronscope.studies.discover.verdict import verdict as of_discovery
from neuronscope.studies.repair.verdict import verdict as of_repair
from neuronscope.studies.reproduce.verdict import verdict as of_run


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


def run(*rows, methods=("two-stage", "random"), reference="two-stage", sizes=None, between=None, unfinished=()):
    """A run's document; a row is scope, method, S_se and S_re."""
    cells = [
        {"scope": scope, "method": method, "s_se": {"value": e}, "s_re": {"value": r}, "j": {"value": e + r - 1}}
        for scope, method, e, r in rows
    ]
    found = {
        "methods": list(methods),
        "reference": reference,
        "controls": [name for name in methods if name.startswith("random")],
        "unfinished": list(unfinished),
        "sizes": sizes or {},
    }
    if between is not None:
        scope, (low, high) = rows[0][0], between
        j = {"low": low, "high": high}
        found["differences"] = {"rows": [{"scope": scope, "first": "two-stage", "second": "random", "j": j}]}
    return found | ({"table_2": {"means": cells}} if rows else {})


OURS, BESIDE = ("zero", "two-stage", 0.9, 0.8), ("zero", "random", 0.1, 1.0)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            run(OURS, BESIDE, between=(0.1, 0.9)),
            "Without them 90 % of the captions no longer name their concept, with random ones 10 %; 80 % of those of "
            "other pictures still name theirs (with random ones 100 %).",
        ),
        (run(OURS, BESIDE, between=(-0.1, 0.9)), "100 %). What is between them and random ones may be chance."),
        (run(OURS, BESIDE, between=(-0.9, -0.1)), "100 %). Random ones do better."),
        (run(OURS), "still name theirs. No random neurons were changed beside, so this says nothing of these ones."),
        (run(("noise 2", "two-stage", 0.5, 1.0), OURS, BESIDE), "Without them 90 %"),  # the first with both
        (run(("mean", "two-stage", 0.5, 1.0)), "With them at their mean activation 50 %"),
        (run(("patch", "two-stage", 0.5, 1.0)), "With them as without the object 50 %"),
        (run(("noise 2", "two-stage", 0.5, 1.0)), "With noise on them 50 %"),
        (
            run(OURS, BESIDE, ("zero", "random-all", 0.4, 1.0), methods=("random", "two-stage", "random-all")),
            "with random ones 40 %",  # the one that does most
        ),
        (run(("zero", "pan", 0.7, 1.0), methods=("random", "pan"), reference=None), "Without them 70 %"),
        (run(methods=("random",), reference=None), "The run has random neurons only"),
        (run(unfinished=[{}]), "The run is not finished. No captions with its neurons changed are finished."),
        (
            run(sizes={"two-stage": {"samples": 0, "refused": 3, "empty": 0, "mean": None}}),
            "two-stage refused every sample. No captions with its neurons changed are there.",
        ),
        (
            run(OURS, sizes={"two-stage": {"samples": 3, "empty": 3, "mean": 0.0}}),
            "two-stage found no neurons in any of 3 samples. ",
        ),
        (
            run(OURS, sizes={"two-stage": {"samples": 3, "empty": 2, "mean": 0.3}}),
            "two-stage found less than 1 neuron",
        ),
        (
            run(OURS, sizes={"two-stage": {"samples": 3, "empty": 1, "mean": 1.2}}),
            "two-stage found 1 neuron per sample",
        ),
    ],
)
def test_runs(found, told):
    assert told in of_run(found)

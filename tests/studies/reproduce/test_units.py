"""The list of units: what there is, in which order, and what each needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuronscope.cluster.units import Name, Unit
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.units import Cost, units

PLAN = Experiment(
    ("bear", "bus"),
    images=1,
    methods=("pan", "two-stage", "random:count=5"),
    levels=(2.0, 4.0),
    ablations=("zero",),
    draws=3,
    metrics={"bleu-1": {}, "rouge-l": {}},
    random_sets=20,
)
SAMPLES = [("bear", "7"), ("bus", "9")]


def test_how_many_of_each_kind():
    kinds = [unit.kind for unit in units(PLAN, SAMPLES)]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {
        "located": 3 * 2,
        "captions": 3 * 2 * 3,
        "localisation": 3,
        "random": 2,
        "similarity": 2 * 3,
    }


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, methods=("pan",), random_sets=0)])
def test_every_need_comes_before_and_is_a_unit(plan: Experiment):
    seen: set[Name] = set()
    for unit in units(plan, SAMPLES):
        assert set(unit.needs) <= seen
        assert unit.name not in seen
        seen.add(unit.name)


def test_needs():
    found = {str(unit): [f"{need.kind} {need.key}" for need in unit.needs] for unit in units(PLAN, SAMPLES)}
    reference = "located {'concept': 'bear', 'image': '7', 'method': 'two-stage'}"
    assert found["located two-stage bear 7"] == []
    assert found["located pan bear 7"] == [reference]
    assert found["located random:count=5 bear 7"] == []  # told how many to keep
    assert found["captions two-stage bear 7 zero"] == [reference]
    assert found["captions pan bear 7 noise 4"] == [reference, reference.replace("two-stage", "pan")]
    assert found["random two-stage bear 7"] == [reference]
    assert found["localisation pan"] == [f"located {dict(sorted(key(*s).items()))}" for s in SAMPLES]
    assert len(found["similarity bleu-1 pan"]) == 2 * 3
    assert {need.partition(" ")[0] for need in found["similarity bleu-1 pan"]} == {"captions"}


def key(concept: str, image: str) -> dict[str, str]:
    return {"method": "pan", "concept": concept, "image": image}


def test_a_name_tells_the_key():
    unit = Unit("located", {"method": "pan", "level": 2.0})
    assert unit.name == Unit("located", {"level": 2, "method": "pan"}).name
    assert unit.name.key == {"method": "pan", "level": 2}
    assert str(unit) == "located pan 2.0"


def test_cost_is_that_of_the_captions_left():
    every = list(units(PLAN, SAMPLES))
    assert Cost.of(PLAN, 2, every) == Cost(3 * 2 * 2 * (3 + 3 + 1), 12 * 84 + 8000 * 18)
    one = next(unit for unit in every if unit.kind == "captions")
    assert Cost.of(PLAN, 2, [one]).captions == 2 * 3
    assert Cost.of(PLAN, 2, []) == Cost(0, 0)

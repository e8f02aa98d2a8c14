"""Settings of a reproduction."""

from __future__ import annotations

import json

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.studies.reproduce.settings import Condition, Experiment

TWO = ("bear", "bus")


def test_the_papers_preset_is_the_published_protocol():
    plan = Experiment.paper(TWO)
    assert (plan.levels, plan.scale, plan.draws, plan.sharing) == ((40, 80, 120), "absolute", 10, "shared")
    assert plan.reference == "two-stage"
    assert (plan.reach, plan.max_other_share) == ("auto", 0.1)
    assert plan.conditions == tuple(Condition(f"noise {n}", n) for n in (40, 80, 120))


def test_conditions_are_levels_and_ablations():
    plan = Experiment(TWO, levels=(0.5,), ablations=("zero",))
    assert plan.conditions == (Condition("noise 0.5", 0.5), Condition("zero"))


def test_without_two_stage_among_the_methods_its_sets_are_still_the_reference():
    assert Experiment(TWO, methods=("pan", "stage-1")).reference == "two-stage"


def test_settings_are_json():
    plan = Experiment(TWO, metrics={"bertscore": {"model": "package:x"}})
    assert json.loads(json.dumps(plan.settings()))["metrics"] == {"bertscore": {"model": "package:x"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": ("bear",)}, "give at least two concepts"),
        ({"concepts": ("bear", "bear")}, "concepts=.* each once"),
        ({"methods": ()}, "methods=.* at least one"),
        ({"methods": ("pam",)}, "method='pam' is not known"),
        ({"levels": (0.0,)}, "levels=.* must be positive"),
        ({"levels": (float("nan"),)}, "levels=.* each is a finite number"),
        ({"levels": (), "ablations": ()}, "both empty"),
        ({"ablations": ("none",)}, "ablations=.*each is known. Choices: zero"),
        ({"metrics": {"meteor": {}}}, "metrics='meteor' is not known"),
        ({"draws": 0}, "draws=0 must be at least 1"),
        ({"images": 0}, "images=0"),
        ({"random_sets": -1}, "random_sets=-1"),
        ({"random_sets": 19}, "random_sets=19: an empirical p needs at least 20"),
        ({"scale": "big"}, "scale='big' is not known"),
        ({"sharing": "some"}, "sharing='some' is not known"),
        ({"edit": "erase"}, "edit='erase' is not known"),
        ({"reach": "far"}, "reach=.far. is not known"),
        ({"max_other_share": 2.0}, "max_other_share=2.0 must be between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(InvalidOption, match=message):
        Experiment(**{"concepts": TWO, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "levels", [(0.1, 0.1000001), (1e6, 1000001.0), (123456789.0, 123456788.0), (1.0, 1.00000001), (1e-9, 1.0000001e-9)]
)
def test_levels_that_print_alike_are_refused(levels: tuple[float, float]) -> None:
    with pytest.raises(InvalidOption, match="two of them are alike in their first six digits"):
        Experiment(("a", "b"), levels=levels)

"""Methods with options as one word."""

from __future__ import annotations

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.locate import Budget, Fixed, Knee, Pan, TargetDecoy, TwoStage
from neuronscope.studies.reproduce.specs import MethodSpec


def test_a_name_alone_is_the_methods_default():
    assert MethodSpec.parse("two-stage").make("bear") == TwoStage()


def test_options_are_read_in_the_type_of_their_default():
    made = MethodSpec.parse("pan:count=7,pool=max").make("bear")
    assert isinstance(made, Pan)
    assert (made.count, made.pool) == (7, "max")


@pytest.mark.parametrize(
    ("text", "rule"),
    [("1.5", Fixed(1.5)), ("knee", Knee()), ("budget-20", Budget(20)), ("decoy-0.05", TargetDecoy(0.05))],
)
def test_thresholds(text: str, rule: object):
    made = MethodSpec.parse(f"two-stage:activation={text},gradient=0.001").make("bear")
    assert isinstance(made, TwoStage)
    assert (made.activation, made.gradient) == (rule, Fixed(0.001))


def test_the_papers_preset_has_thresholds_of_each_concept():
    spec = MethodSpec.parse("two-stage:preset=paper,patch_rule=same_patch")
    assert spec.make("bear") == TwoStage.paper("bear", patch_rule="same_patch")
    assert spec.make("bed") == TwoStage.paper("bed", patch_rule="same_patch")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two-stag", "method='two-stag' is not known"),
        ("pan:cout=3", "option of method 'pan'='cout' is not known"),
        ("pan:count", "'count' is not OPTION=VALUE"),
        ("pan:count=", "'count=' is not OPTION=VALUE"),
        ("pan:count=3,count=4", "given once"),
        ("pan:count=many", "count='many' is no int"),
        ("pan:preset=paper", "method 'pan' has no preset 'paper'"),
        ("pan:preset=newest", "preset of method 'pan'='newest' is not known"),
        ("two-stage:activation=low", "activation='low' is no threshold"),
        ("two-stage:decoding=x", "decoding cannot be given as text"),
        ("two-stage:site=middle", "site='middle' is not known"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str):
    with pytest.raises(InvalidOption, match=message):
        MethodSpec.parse(text)

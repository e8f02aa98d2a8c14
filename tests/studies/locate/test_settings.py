"""What `neuronscope locate` is asked for, and the recipes that ask for it again."""

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

import neuronscope as ns
from neuronscope.studies.locate.settings import Locate

PLAIN = Locate(image="my bear.png", concept="bear", boxes=((1.0, 2.0, 30.5, 4.0),))


def test_the_command_can_be_given_to_a_shell():
    words = shlex.split(PLAIN.command())
    assert words[:4] == ["neuronscope", "locate", "my bear.png", "bear"]
    assert words[words.index("--box") + 1] == "1,2,30.5,4"
    assert "--edited" not in words
    assert "--count" not in words


METHODS = {
    "ns.method('two-stage')": {},
    "ns.method('two-stage', activation=ns.Budget(9), gradient=ns.Budget(9))": {"budget": 9},
    "ns.method('stage-1', activation=ns.TargetDecoy(0.2), gradient=ns.TargetDecoy(0.2))": {
        "method": "stage-1",
        "q": 0.2,
    },
    "ns.method('pan', count=5)": {"method": "pan", "count": 5},
    "ns.TwoStage.paper('bear', stages=(2,))": {"method": "stage-2", "preset": "paper"},
}


@pytest.mark.parametrize("text", METHODS)
def test_the_python_makes_the_method(text):
    code = dataclasses.replace(PLAIN, **METHODS[text]).python()
    compile(code, "again", "exec")
    assert f"found = {text}.locate(vlm, pair, validity=validity)" in code
    assert eval(text, {"ns": ns}).name


def test_the_python_runs(tmp_path, monkeypatch, pictures):
    """Up to the model, which is not the point here: what it is asked for has to be what the command asks for."""
    pictures[0].save(tmp_path / "bear.png")
    monkeypatch.chdir(tmp_path)
    asked = Locate(image="bear.png", concept="bear", boxes=((4.0, 4.0, 20.0, 20.0),), dtype="float32")
    taken = []

    class Method:
        def locate(self, vlm, pair, validity):
            taken.extend((vlm, pair, validity))
            return SimpleNamespace(neurons=ns.Neurons.of([(0, 1)]))

    monkeypatch.setattr(ns, "load", lambda *given, **options: (given, options))
    monkeypatch.setattr(ns, "method", lambda name: Method())
    monkeypatch.setattr(
        "neuronscope.locate.validity.valid_pair", lambda vlm, sample, edit: (ns.counterfactual(sample, edit), "said")
    )
    exec(asked.python(), {})
    assert taken[0] == (("demo",), {"dtype": "float32"})
    assert taken[1].mask.sum() == 400
    assert taken[2] == "said"
    assert list(ns.Neurons.load(tmp_path / "neurons.json")) == [ns.Neuron(0, 1)]


#: Every option -> another value, and what has to be given beside it.
OTHER = {
    "image": "another.png",
    "concept": "dog",
    "mask": Path("mask.png"),
    "edited": Path("edited.png"),
    "edit": "mean_fill",
    "boxes": ((1.0, 2.0, 3.0, 4.0),),
    "detector": "DETECTOR",
    "segmenter": "SEGMENTER",
    "least_score": 0.5,
    "reach": "boxes",
    "max_other_share": 0.2,
    "question": "What is it?",
    "prefix": "It is a",
    "system": "Be brief.",
    "template": "{image}{prefix}",
    "chat": "never",
    "max_new_tokens": 7,
    "model": "natural",
    "device": "meta",
    "dtype": "bfloat16",
    "attn": "eager",
    "revision": "abc",
    "method": "stage-1",
    "count": 5,
    "like": Path("like.json"),
    "any_model": True,
    "preset": "paper",
    "budget": 9,
    "q": 0.2,
    "site": "act",
    "control": ("grass.png",),
    "recover": 0.3,
    "test": False,
    "draws": 2,
}
BESIDE = {
    **{name: {"boxes": ("auto",), "detector": "FINDER"} for name in ("detector", "segmenter", "least_score")},
    "count": {"method": "pan"},
    "like": {"method": "random-layer-matched"},
    "any_model": {"method": "random-layer-matched", "like": Path("like.json")},
    "control": {"q": 0.2},
    "template": {"prefix": "It is a"},
}


def test_every_option_is_in_the_table():
    fields = {field.name for field in dataclasses.fields(Locate) if field.init}
    assert fields == set(OTHER)


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_is_given_is_in_both_recipes(name):
    """What the result depends on; the test beside a control is the command's own."""
    plain = dataclasses.replace(PLAIN, **BESIDE.get(name, {}))
    asked = dataclasses.replace(plain, **{name: OTHER[name]})
    assert asked.command() != plain.command()
    assert (asked.python() != plain.python()) is (name not in ("test", "draws"))
    compile(asked.python(), "again", "exec")

"""What `neuronscope locate` is asked for, and the recipes that ask for it again."""

import dataclasses
import shlex
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

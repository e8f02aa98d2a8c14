"""`neuronscope report` of a result and of a run, and the commands that pages print."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

import neuronscope as ns
from neuronscope.report.recipe import Asked
from report_samples import make_run, save_result


def test_a_located_result(cli, tmp_path):
    save_result(tmp_path / "result")
    code, out, _ = cli("report", tmp_path / "result", "--out", tmp_path / "deep" / "page.html", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["kind"] == "located"
    assert Path(document["page"]).stat().st_size == document["bytes"]
    assert "Neurons that hold" in Path(document["page"]).read_text(encoding="utf-8")


def test_a_run(cli, tmp_path):
    make_run(tmp_path / "run", tmp_path / "data")
    arguments = ("report", tmp_path / "run", "--out", tmp_path / "page.html")
    code, out, _ = cli(*arguments, "--data", tmp_path / "data")
    assert code == 0
    assert "MiB" in out
    with_pictures = (tmp_path / "page.html").read_text(encoding="utf-8")
    code, out, _ = cli(*arguments, "--json")
    assert json.loads(out)["kind"] == "run"
    assert with_pictures.count("data:image/jpeg") == 4
    assert "data:image/jpeg" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_no_result_is_refused(cli, tmp_path):
    code, out, err = cli("report", tmp_path, "--out", tmp_path / "page.html", "--json")
    assert code == 1
    assert "neither a run" in err
    assert json.loads(out)["error"]["type"] == "InvalidOption"
    save_result(tmp_path / "result")
    code, _, err = cli("report", tmp_path / "result", "--data", tmp_path, "--out", tmp_path / "page.html")
    assert code == 1
    assert "has its own pictures" in err
    (tmp_path / "result" / "evidence" / "evidence.json").unlink()
    code, _, err = cli("report", tmp_path / "result", "--out", tmp_path / "page.html")
    assert code == 1
    assert "run `neuronscope locate` again" in err
    assert not (tmp_path / "page.html").exists()


PLAIN = Asked("my bear.png", "bear", "demo", "two-stage", "telea", boxes=((1.0, 2.0, 30.5, 4.0),))


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
    import dataclasses

    code = dataclasses.replace(PLAIN, **METHODS[text]).python()
    compile(code, "again", "exec")
    assert f"found = {text}.locate(vlm, pair)" in code
    assert eval(text, {"ns": ns}).name


def test_the_python_runs(tmp_path, monkeypatch, pictures):
    """Up to the model, which is not the point here: what it is asked for has to be what the command asks for."""
    pictures[0].save(tmp_path / "bear.png")
    monkeypatch.chdir(tmp_path)
    asked = Asked("bear.png", "bear", "demo", "two-stage", "telea", boxes=((4.0, 4.0, 20.0, 20.0),), dtype="float32")
    taken = []

    class Method:
        def locate(self, vlm, pair):
            taken.extend((vlm, pair))
            return SimpleNamespace(neurons=ns.Neurons.of([(0, 1)]))

    monkeypatch.setattr(ns, "load", lambda *given, **options: (given, options))
    monkeypatch.setattr(ns, "method", lambda name: Method())
    exec(asked.python(), {})
    assert taken[0] == (("demo",), {"dtype": "float32"})
    assert taken[1].mask.sum() == 400
    assert list(ns.Neurons.load(tmp_path / "neurons.json")) == [ns.Neuron(0, 1)]

"""`neuronscope explore` before it serves: options, and the commands that its page prints."""

from __future__ import annotations

import shlex
import sys

import pytest

from neuronscope.cli import main
from neuronscope.cli.explore import origin_of
from neuronscope.explorer import Marks, Question, Stroke
from neuronscope.explorer.app import is_local

BOXES = Marks(((1.0, 2.0, 30.5, 4.0),))
BRUSHED = Marks(((1.0, 2.0, 3.0, 4.0),), (Stroke(2.0, ((5.0, 6.0),)),))


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["explore", *arguments])
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_options_are_refused_before_a_model_is_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("neuronscope.cli.explore.open_model", lambda *_: pytest.fail("a model was loaded"))
    assert "--port 70000 is not between 1 and 65535" in refused(capsys, "--port", "70000")
    monkeypatch.setattr("neuronscope.explorer.app.gradio", lambda: None)
    assert "holds no picture" in refused(capsys, "--images", str(tmp_path))
    assert "not a folder" in refused(capsys, "--images", str(tmp_path / "none"))


def test_without_gradio_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'neuronscope[app]'" in refused(capsys)


def test_a_taken_port_is_refused(capsys, monkeypatch, vlm):
    import socket

    pytest.importorskip("gradio")
    monkeypatch.setattr("neuronscope.cli.explore.open_model", lambda *_: vlm)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 cannot be listened on" in refused(capsys, "--port", str(port))


def option(words, name):
    return words[words.index(name) + 1]


def _words(question, marks):
    return shlex.split(origin_of("demo", None, "auto", question, "image.png", marks).command)


def test_a_result_can_be_made_again_from_the_shell():
    made = origin_of("DIR", "cuda", "bfloat16", Question("a bear", rule="target-decoy", q=0.2), "my bear.png", BOXES)
    words = shlex.split(made.command)
    assert words[:4] == ["neuronscope", "locate", "my bear.png", "a bear"]
    assert [option(words, name) for name in ("--box", "--q", "--model", "--dtype")] == [
        *("1,2,30.5,4", "0.2", "DIR", "bfloat16")
    ]
    assert "activation=ns.TargetDecoy(0.2)" in made.python
    ranked = _words(Question("bear", "pan", count=7), BRUSHED)
    assert (option(ranked, "--count"), option(ranked, "--mask")) == ("7", "mask.png")
    assert "--box" not in ranked
    assert "--dtype" not in ranked
    paper = _words(Question("bear", rule="paper"), BOXES)
    assert option(paper, "--preset") == "paper"


def test_which_addresses_are_this_machine():
    assert is_local("127.0.0.1")
    assert not is_local("0.0.0.0")

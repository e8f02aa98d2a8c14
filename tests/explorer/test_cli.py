"""`neuronscope explore` before it serves: options, and the commands that its page prints."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from importlib.util import find_spec

import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.cli.explore import origin_of
from neuronscope.errors import InvalidOption
from neuronscope.explorer import Marks, Question, Stroke
from neuronscope.options import Loading

BOXES = Marks(((1.0, 2.0, 30.5, 4.0),))
BRUSHED = Marks(((1.0, 2.0, 3.0, 4.0),), (Stroke(2.0, ((5.0, 6.0),)),))


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["explore", *arguments])
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_options_are_refused_before_a_model_is_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("neuronscope.cli.explore.open_model", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(SystemExit) as stop:
        main(["explore", "--port", "70000"])
    assert stop.value.code == 2
    assert "70000 must be at most 65,535" in capsys.readouterr().err
    monkeypatch.setattr("neuronscope.explorer.app.gradio", lambda: None)
    assert "holds no picture" in refused(capsys, "--images", str(tmp_path))
    assert "not a folder" in refused(capsys, "--images", str(tmp_path / "none"))
    assert "edit='tela' is not known" in refused(capsys, "--edit", "tela")
    assert "diffusion:" in refused(capsys, "--edit", f"diffusion:{tmp_path / 'none'}")


def test_without_gradio_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'neuronscope[app]'" in refused(capsys)


def test_a_taken_port_is_refused_before_a_model_is_loaded(capsys, monkeypatch):
    import socket

    monkeypatch.setattr("neuronscope.cli.explore.open_model", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr("neuronscope.explorer.app.gradio", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 cannot be listened on" in refused(capsys, "--port", str(port))


def test_a_port_that_another_process_takes_meanwhile_is_left_to_it(monkeypatch):
    from neuronscope.explorer import app

    asked: list[int] = []

    class Page:
        def queue(self, **_):
            return self

        def launch(self, server_port, **_):
            asked.append(server_port)
            if len(asked) == 1:
                raise OSError("Cannot find empty port")
            return None, f"http://127.0.0.1:{server_port}/", None

    monkeypatch.setattr(app, "is_taken", lambda *_: len(asked) == 1)
    _, url = app._launched(Page, None, None, "127.0.0.1", None)
    assert (len(asked), url) == (2, f"http://127.0.0.1:{asked[1]}/")
    asked.clear()
    with pytest.raises(InvalidOption, match=r"cannot be served at 127.0.0.1, port 7999: Cannot find"):
        app._launched(Page, None, None, "127.0.0.1", 7999)


def option(words, name):
    return words[words.index(name) + 1]


def _words(question, marks):
    return shlex.split(origin_of(Loading(), question, "image.png", marks, ns.Decoding()).command)


def test_a_result_can_be_made_again_from_the_shell():
    made = origin_of(
        Loading(model="DIR", device="cuda", dtype="bfloat16"),
        Question("a bear", rule="target-decoy", q=0.2),
        "my bear.png",
        BOXES,
        ns.Decoding(question="What is it?", prefix="It is a"),
    )
    words = shlex.split(made.command)
    assert words[:4] == ["neuronscope", "locate", "my bear.png", "a bear"]
    assert [option(words, name) for name in ("--box", "--q", "--model", "--dtype", "--question", "--prefix")] == [
        *("1,2,30.5,4", "0.2", "DIR", "bfloat16", "What is it?", "It is a")
    ]
    assert "activation=ns.TargetDecoy(0.2)" in made.python
    ranked = _words(Question("bear", "pan", count=7), BRUSHED)
    assert (option(ranked, "--count"), option(ranked, "--mask")) == ("7", "mask.png")
    assert "--box" not in ranked
    assert "--dtype" not in ranked
    paper = _words(Question("bear", rule="paper"), BOXES)
    assert option(paper, "--preset") == "paper"


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "", "999.0.0.1", "::ffff:192.0.2.1"])
def test_an_address_that_is_not_ours_ends_it_as_bad_usage(capsys, monkeypatch, host):
    monkeypatch.setattr("neuronscope.cli.explore.open_model", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr("neuronscope.explorer.app.gradio", lambda: None)
    with pytest.raises(SystemExit) as stop:
        main(["explore", "--host", host])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert (f"--host {host!r} cannot be listened on" if host else "'--host': an empty word was given") in told
    assert told.count("\n") == 1


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra app")
@pytest.mark.parametrize(
    "sent",
    [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGHUP, signal.SIGINT))],
)
def test_a_signal_ends_it_and_leaves_no_temporary_folder(tmp_path, sent):
    command = [sys.executable, "-m", "neuronscope", "explore"]
    left = {**os.environ, "TMPDIR": str(tmp_path)}
    # A shell's background job is started with Ctrl-C ignored, and what it starts inherits that.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=left, stdout=subprocess.PIPE, text=True, preexec_fn=heard) as served:
        try:
            url = next(word for word in served.stdout.readline().split() if word.startswith("http"))
            with urllib.request.urlopen(url, timeout=60) as page:
                assert page.status == 200
                assert page.headers["X-Frame-Options"] == "DENY"
            rebound = urllib.request.Request(f"{url}config", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(rebound, timeout=60)
            assert any(tmp_path.glob("neuronscope-explorer-*"))
            served.send_signal(sent)
            assert served.wait(30) == (0 if sent == signal.SIGINT else 128 + sent)
        finally:
            served.kill()  # the end of the block waits for it, however long
    assert not list(tmp_path.glob("neuronscope-explorer-*"))

"""What verbs say of their progress where stderr is no terminal."""

import sys
from types import SimpleNamespace

import pytest

from neuronscope.cli import steps


def told(total: int, descriptions: list[str], seconds: list[float], monkeypatch, capsys) -> list[str]:
    clock = iter([0.0, *seconds])
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with steps.progress(total, "loading the model") as step:
        for one in descriptions:
            step(one)
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()


def test_a_line_for_each_of_a_few_steps(monkeypatch, capsys):
    lines = told(3, ["inpainting", "locating", "testing"], [1.0, 1.1, 1.2], monkeypatch, capsys)
    assert lines == ["[0/3] loading the model", "[1/3] inpainting", "[2/3] locating", "[3/3] testing"]


def test_steps_that_say_the_same_are_told_now_and_then(monkeypatch, capsys):
    lines = told(4, ["drawing"] * 4, [1.0, 2.0, 3.0, 40.0], monkeypatch, capsys)
    assert lines == ["[0/4] loading the model", "[1/4] drawing", "[4/4] drawing"]


@pytest.mark.parametrize(("total", "of"), [(1000, "/1000"), (0, "")])
def test_of_many_steps_one_is_told_now_and_then(total, of, monkeypatch, capsys):
    lines = told(total, ["a", "b", "c", "d"], [1.0, 31.0, 32.0, 61.5], monkeypatch, capsys)
    assert lines == [f"[0{of}] loading the model", f"[2{of}] b", f"[4{of}] d"]


def test_quiet_says_nothing_and_ends_with_its_block(capsys):
    with steps.silenced(True), steps.progress(2, "first") as step:
        step("one")
        steps.tell("something")
    assert capsys.readouterr() == ("", "")
    steps.tell("something")
    assert capsys.readouterr().err == "something\n"


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with steps.progress(2, "first") as step:
        step("one")
    assert "[1/2]" not in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(
    ("verb", "words", "first"),
    [
        ("scenes", ["--count", 2, "--out", "scenes"], "drawing scenes"),
        ("decode", ["1.3"], "loading the model"),
        ("check", ["--only", "heat map"], "loading the model"),
    ],
)
def test_verbs_tell_their_steps_and_print_one_document(
    verb, words, first, quiet, cli, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = [checkpoint] if verb == "check" else [] if verb == "scenes" else ["--model", checkpoint]
    code, out, err = cli(verb, *words, *model, "--json", *(["--quiet"] if quiet else []))
    assert code == 0
    assert out.count("\n") == 1
    assert err == "" if quiet else first in err.splitlines()[0]

"""The curves of a discovery run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kept_points import Kept
from neuronscope.run.directory import Run
from neuronscope.studies.discover.board import Board
from neuronscope.studies.discover.directory import SCHEMAS


def noun(name: str, unit: int) -> dict[str, Any]:
    where = {"surface": name, "start": 0, "end": 3, "tokens": [0]}
    return {"noun": name, **where, "layers": [2, 3], "units": [unit, 1], "contributions": [0.5, 0.25]}


def said(of: str, named: bool) -> dict[str, Any]:
    return {"noun": "dog", "of": of, "layers": [1], "units": [1], "text": "a dog", "named": named}


def test_nouns_their_best_neurons_and_texts(tmp_path: Path):
    run = Run.open(tmp_path / "run", {"settings": 1}, schemas=SCHEMAS)
    key = {"image": "a.png", "sha256": "0"}
    board = Board(run, kept := Kept(), every=0.0)
    run.write("captions", key, [{"caption": "A dog.", "text": "a dog", "ids": [1, 2]}])
    run.write("nouns", key, [noun("dog", 7), noun("cat", 7)])
    board.step("one")
    assert {tag: value for tag, value, _ in kept.points} == {
        "units": 2, "captions": 1, "nouns": 2, "best neurons": 1
    }  # fmt: skip
    run.write("nouns", {**key, "image": "b.png"}, [noun("dog", 9)])
    run.write("texts", key, [said("own", True), said("own", False), said("random", False)])
    board.update()
    last = {tag: (value, step) for tag, value, step in kept.points}
    assert last["nouns"] == (2, 4)
    assert last["best neurons"] == (2, 4)
    assert (last["named/own"][0], last["named/random"][0]) == (0.5, 0.0)
    board.update()
    assert len(kept.points) == 10  # nothing is new

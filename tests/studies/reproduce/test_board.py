"""What is written about a run for TensorBoard, by a writer that only keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kept_points import Kept
from neuronscope.run import writers
from neuronscope.run.directory import Run
from neuronscope.studies.reproduce.board import Board, following
from neuronscope.studies.reproduce.units import SCHEMAS

KEY = {"method": "pan:pool=max", "concept": "bear", "image": "1", "condition": "zero"}
SAMPLES = [
    {"image_id": "1", "concept": "bear", "shown": ["bear"]},
    {"image_id": "2", "concept": "bus", "shown": ["bus"]},
    {"image_id": "3", "concept": "dog", "shown": ["dog", "bear"]},  # a bear, too: counts nowhere for bears
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.open(tmp_path / "run", {"settings": 1}, schemas=SCHEMAS)
    made.write("dataset", {"part": "all"}, [{"document": json.dumps({"samples": SAMPLES})}])
    return made


def row(names: str, of: str, hit: bool, caption: str = "a word") -> dict[str, object]:
    return {"of": of, "names": names, "draw": 0, "caption": caption, "hit": hit} | {
        f"hit_{mode}": hit for mode in ("strict", "lexicon", "substring")
    }


def write(run: Run, rows: list[dict[str, object]], **key: str) -> None:
    run.write("captions", {**KEY, **key}, rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        ([row("bear", "1", False)], {"S_se": 1.0}),
        ([row("bus", "2", True)], {"S_re": 1.0}),
        ([row("bear", "1", False), row("bus", "2", True)], {"S_se": 1.0, "S_re": 1.0, "J": 1.0}),
        ([row("bear", "1", True), row("bus", "2", False)], {"S_se": 0.0, "S_re": 0.0, "J": -1.0}),
        ([row("bear", "1", False, ""), row("bus", "2", False, "")], {"S_se": 0.0, "S_re": 0.0, "J": -1.0}),
        ([row("bear", "1", False), row("dog", "3", True)], {"S_se": 1.0}),
        ([row("bear", "1", False), row("bear", "1", True)], {"S_se": 0.5}),
    ],
)
def test_running_scores(run: Run, rows: list[dict[str, object]], expected: dict[str, float]):
    write(run, rows)
    Board(run, kept := Kept()).update()
    scores = {tag.partition("/")[0]: value for tag, value in kept.last().items() if "/" in tag}
    assert scores == pytest.approx(expected)
    assert kept.last()["units"] == 1
    if scores:
        assert any(tag.endswith("/pan:pool=max/zero") for tag in kept.last())


def test_curves_grow_with_the_run_and_go_on_when_it_is_gone_on_with(run: Run):
    now = 0.0
    board = Board(run, kept := Kept(), every=10.0, clock=lambda: now)
    board.step("the first")
    write(run, [row("bear", "1", False)])
    now = 9.0
    board.step("too soon")
    assert kept.points == [("units", 0, 0), ("captions", 0, 0)]
    now = 11.0
    board.step("now")
    assert kept.last() == {"units": 1, "captions": 1, "S_se/pan:pool=max/zero": 1.0}
    board.update()
    assert len(kept.points) == 5  # nothing is new
    write(run, [row("bear", "1", True)], condition="mean")
    Board(run, again := Kept()).update()
    assert again.points[0] == ("units", 2, 2)
    assert again.last()["S_se/pan:pool=max/mean"] == 0.0
    assert again.last()["S_se/pan:pool=max/zero"] == 1.0


def test_the_last_points_are_written_when_the_work_is_stopped(run: Run):
    told: list[str] = []
    kept = Kept()

    def stopped() -> None:
        with following(run, kept, told.append) as step:
            step("one")
            write(run, [row("bear", "1", False)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert told == ["one"]
    assert kept.last()["captions"] == 1
    with following(run, None, told.append) as step:
        step("two")
    assert told == ["one", "two"]


def test_real_files(run: Run, tmp_path: Path):
    pytest.importorskip("tensorboard")
    writer = writers.open_writer(tmp_path / "log")
    write(run, [row("bear", "1", False)])
    with following(run, writer, lambda _: None) as step:
        step("one")
    writer.close()
    (found,) = (tmp_path / "log").iterdir()
    assert b"S_se/pan:pool=max/zero" in found.read_bytes()

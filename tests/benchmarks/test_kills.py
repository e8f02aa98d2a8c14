"""`python -m benchmarks.kills`: a few trials, going on with them, and what would be found."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from benchmarks.kills.compare import Faults, content, finished, is_own

from neuronscope.run.directory import Run

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="kills are told by descriptors of processes")


@LINUX
@pytest.mark.long
def test_a_few_trials_find_nothing_and_are_gone_on_with(tmp_path: Path):
    out, root = tmp_path / "kills.jsonl", Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.kills", "--verbs", "save_model,scenes", "--out", str(out)]
    for trials in (1, 2):
        more = ["--trials", str(trials), "--work", str(tmp_path / "work")]
        done = subprocess.run([*command, *more], cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        assert [line["number"] for line in lines] == list(range(trials))
    assert {line["command"] for line in lines} == {"save_model", "scenes"}
    assert not any(one for line in lines for one in line["faults"].values())
    assert "killed before their end" in done.stdout
    assert not list((tmp_path / "work" / "trials").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with one part, tables, and a folder without files."""
    run = Run.open(tmp_path / "out", {"level": 1})
    run.write("located", {"image": "a"}, [{"unit": 3, "seconds": 0.5}])
    (tmp_path / "out" / "tables.json").write_text('{"j": 0.5, "seconds": 2}')
    return tmp_path


def found(folder: Path, change) -> dict[str, list[str]]:
    """What of a change is said, by kind."""
    wanted = content(folder)
    change(folder / "out")
    faults = Faults()
    faults.end(content(folder), wanted)
    return {kind: names for kind, names in asdict(faults).items() if names}


def part(folder: Path) -> Path:
    (one,) = folder.glob("parts/located/*")
    return one


def another(folder: Path) -> None:
    part(folder).with_name("0" * 24 + ".parquet").write_bytes(part(folder).read_bytes())


def slower(folder: Path) -> None:
    part(folder).unlink()
    Run.open(folder, {"level": 1}).write("located", {"image": "a"}, [{"unit": 3, "seconds": 0.75}])
    (folder / "tables.json").write_text('{"j": 0.5, "seconds": 3}')


def other(folder: Path) -> None:
    part(folder).unlink()
    Run.open(folder, {"level": 1}).write("located", {"image": "a"}, [{"unit": 4, "seconds": 0.5}])


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda _: None, {}),
        (slower, {}),
        (other, {"different"}),
        (another, {"doubled"}),
        (lambda out: part(out).unlink(), {"lost", "leftovers"}),  # an empty folder
        (lambda out: part(out).write_bytes(b"PAR1"), {"different"}),
        (lambda out: (out / "tables.json").write_text('{"j": 0.25}'), {"different"}),
        (lambda out: (out / "tables.json").write_text("{"), {"different"}),
        (lambda out: (out / "temporary" / "x.probe").write_text(""), {"lost", "leftovers"}),
        (lambda out: (out.parent / ".out.x.part").mkdir(), {"leftovers"}),
        (lambda out: (out / "damaged.jsonl").write_text(""), {"leftovers"}),
    ],
)
def test_what_is_wrong_at_the_end_is_said(folder: Path, change, kinds: set[str]):
    assert set(found(folder, change)) == set(kinds)


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        ({}, []),
        ({"out/a": "new"}, []),
        ({"out/a": "new", "out/last": "new", "out/b": "new"}, []),
        ({"out/a": "old", "out/last": "old"}, []),
        ({"out/a": "new", "out/b": "new"}, []),
        ({"out/a": "half"}, ["out/a at the kill"]),
        ({"out/.a.part": "half", "out/temporary/x": "half"}, []),
        ({"out/a": "new", "out/last": "old"}, ["out/last beside files of another result at the kill"]),
        ({"out/last": "new"}, ["out/last beside files of another result at the kill"]),
    ],
)
def test_what_is_wrong_at_the_moment_of_the_kill_is_said(seen: dict[str, str], wrong: list[str]):
    new, old = {"out/a": "new", "out/b": "new", "out/last": "new"}, {"out/a": "old", "out/last": "old"}
    faults = Faults()
    faults.moment(seen, new, old, "out/last")
    assert faults.different == wrong


def test_temporary_names_and_finished_parts(folder: Path):
    assert [is_own(name) for name in ("out/.x.part", "out/claims/a.json", "out/parts/located/a.parquet", "out/a")] == [
        *(True, True),
        *(False, False),
    ]
    before = finished(folder)
    assert len(before) == 1
    other(folder / "out")
    assert finished(folder) != before

"""A run directory survives what happens to long jobs: kill -9, second processes, damaged files, full disks, clocks."""

from __future__ import annotations

import inspect
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.run import settings as settings_module
from neuronscope.run.directory import Run

SETTINGS: dict[str, Any] = {"model": {"id": "demo", "fingerprint": "ab12"}, "levels": [1, 2.5], "draws": 3}


def key_of(j: int) -> dict[str, Any]:
    return {"concept": "bear" if j % 2 else "dog", "j": j}


def rows_of(j: int) -> list[dict[str, Any]]:
    name = f"{key_of(j)['concept']}-{j}"
    return [{"image": f"{name}-{i}", "draw": i % 3, "score": j / (i + 1)} for i in range(20 + j % 5)]


def opened(folder: str | Path, **changes: Any) -> Run:
    columns = pa.schema({"image": pa.string(), "draw": pa.int64(), "score": pa.float64()})
    return Run.open(folder, {**SETTINGS, **changes}, schemas={"captions": columns})


def say(log: str, word: str, j: int) -> None:  # one write of a few bytes: lines of several processes do not mix
    line = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{word} {j}\n".encode())
    os.close(line)


def work(folder: str, log: str, count: int, seconds: float, shared: bool = True) -> None:
    run, keys = opened(folder), [key_of(j) for j in range(count)]
    for key in run.todo("captions", keys) if shared else run.missing("captions", keys):
        say(log, "begin", key["j"])
        time.sleep(seconds)
        run.write("captions", key, rows_of(key["j"]))
        say(log, "end", key["j"])


# A job as a program of its own, so that it can be killed. It gets at the directory without the package's __init__,
# which loads torch: a job starts in half a second.
JOB = f"""
from __future__ import annotations
import os, sys, time, types
import neuronscope
package = types.ModuleType("neuronscope.run")
package.__path__ = [neuronscope.__path__[0] + "/run"]
sys.modules["neuronscope.run"] = package
import pyarrow as pa
from neuronscope.errors import NeuronscopeError
from neuronscope.run.directory import Run

SETTINGS = {SETTINGS!r}
{"".join(inspect.getsource(function) for function in (key_of, rows_of, opened, say, work))}
def at_once(go):  # jobs that race wait for each other at the line
    print("ready", flush=True)
    while not os.path.exists(go):
        time.sleep(0.001)

"""


def start(code: str, *prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", JOB + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a job prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


def race(go: Path, codes: list[str]) -> list[list[str]]:
    """What jobs print that are let go at the same moment."""
    racers = [start(f"at_once({str(go)!r})\n{code}") for code in codes]
    assert [said(racer) for racer in racers] == ["ready"] * len(racers)
    go.touch()
    return [finish(racer) for racer in racers]


def filled(folder: Path, count: int = 6) -> Run:
    run = opened(folder)
    for j in range(count):
        run.write("captions", key_of(j), rows_of(j))
    return run


def expected(count: int) -> list[dict[str, Any]]:
    """The table without any of the machinery: by the text of the key, in which bear is before dog and 10 before 2."""
    order = sorted(range(count), key=lambda j: (key_of(j)["concept"], f"{j}}}"))
    return [{**key_of(j), **row} for j in order for row in rows_of(j)]


def damages(folder: Path) -> list[dict[str, str]]:
    log = folder / "damaged.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# ---- units of work


def test_what_is_written_is_read_and_known_to_be_done(tmp_path: Path) -> None:
    run = opened(tmp_path / "a" / "run")
    assert not run.done("captions", key_of(3))
    assert run.write("captions", key_of(3), rows_of(3))
    for again in (run, opened(run.folder), Run.existing(run.folder)):
        assert again.done("captions", {"j": 3.0, "concept": "bear"})
        assert again.read("captions", key_of(3)).to_pylist() == [{**key_of(3), **row} for row in rows_of(3)]
    assert run.part("captions", key_of(3)).parent == run.folder / "parts" / "captions"
    assert run.missing("captions", [key_of(4), key_of(3), key_of(2), key_of(4)]) == [key_of(4), key_of(2)]
    assert run.kinds() == ["captions"]
    assert below(run.folder / "temporary") == below(run.folder / "claims") == []


def test_the_table_is_ordered_by_key_and_readable_without_us(tmp_path: Path) -> None:
    run = opened(tmp_path)
    for j in (7, 2, 11, 0, 5, 10, 1, 3, 9, 4, 8, 6):
        run.write("captions", key_of(j), rows_of(j))
    assert run.table("captions").to_pylist() == expected(12)
    frame = pd.read_parquet(tmp_path / "parts" / "captions")
    assert list(frame.columns) == ["concept", "j", "image", "draw", "score"]
    assert sorted(frame["image"]) == sorted(row["image"] for row in expected(12))


def test_a_finished_unit_keeps_its_first_rows(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.write("captions", key_of(1), rows_of(1))
    before = run.part("captions", key_of(1)).stat()
    assert not run.write("captions", key_of(1), rows_of(2))
    assert run.part("captions", key_of(1)).stat() == before
    assert run.read("captions", key_of(1)).num_rows == len(rows_of(1))


def test_a_kind_may_have_one_unit_and_be_inferred(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.write("dataset", {}, [{"document": "{}"}])
    assert run.table("dataset").to_pylist() == [{"document": "{}"}]
    run.write("scores", {"level": 0.5}, [{"value": 0.5}])
    run.write("scores", {"level": 8}, [{"value": 1}])
    assert run.table("scores").to_pylist() == [{"level": 0.5, "value": 0.5}, {"level": 8.0, "value": 1.0}]
    with pytest.raises(InvalidOption, match="column 'value' of kind 'scores' is not of the type double"):
        opened(tmp_path).write("scores", {"level": 1}, [{"value": "x"}])  # the first part has said what the columns are
    assert opened(tmp_path).missing("scores", [{"level": 1}, {"level": 8}]) == [{"level": 1}]


def test_rows_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    run = opened(tmp_path)
    for rows, name in (([{**rows_of(1)[0], "draw": 1.5}], "draw"), ([{**rows_of(1)[0], "j": 1}], "j")):
        with pytest.raises(InvalidOption, match=f"'{name}'"):
            run.write("captions", key_of(1), rows)
    assert below(tmp_path) == ["run.json"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    run = filled(tmp_path, 1)
    with pytest.raises(RunMismatch, match=r"captions \{'concept': 'bear', 'j': 1\} is not finished in"):
        run.read("captions", key_of(1))
    with pytest.raises(RunMismatch, match=r"has no finished unit of kind 'caption'\. It has: captions"):
        run.table("caption")


def test_parts_with_other_columns_are_not_mixed(tmp_path: Path) -> None:
    # Two processes that each inferred the columns before the other had written.
    one, two = (Run.open(tmp_path, SETTINGS) for _ in range(2))
    two.write("scores", {"j": 0}, [{"value": "text"}])
    lone = two.part("scores", {"j": 0})
    lone.rename(tmp_path / "hidden")
    one.write("scores", {"j": 1}, [{"value": 1}])
    (tmp_path / "hidden").rename(lone)
    with pytest.raises(
        RunMismatch, match=r"part .*parquet of kind 'scores' has other columns: value is int64, not str"
    ):
        one.table("scores")


def test_declared_columns_have_to_be_those_of_the_parts(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    changed = {"captions": pa.schema({"image": pa.string(), "draw": pa.float64(), "hit": pa.bool_()})}
    for reopen in (
        lambda: Run.open(tmp_path, SETTINGS, schemas=changed),
        lambda: Run.existing(tmp_path, schemas=changed),
    ):
        with pytest.raises(RunMismatch, match=r"'captions' .* columns: draw is int64, not double; hit is absent"):
            reopen()


# ---- settings and environment


def test_other_settings_are_refused_by_name_with_both_values(tmp_path: Path) -> None:
    opened(tmp_path)
    content = (tmp_path / "run.json").read_bytes()
    changed = {**SETTINGS, "model": {"id": "demo", "fingerprint": "cd34"}, "levels": [1], "seed": 0}
    del changed["draws"]
    with pytest.raises(RunMismatch) as refused:
        Run.open(tmp_path, changed)
    assert "run.json belongs to other settings" in str(refused.value)
    for phrase in (
        "draws is 3 there and absent now",
        "levels is [1,2.5] there and [1] now",
        'model.fingerprint is "ab12" there and "cd34" now',
        "seed is absent there and 0 now",
    ):
        assert phrase in str(refused.value)
    assert "model.id" not in str(refused.value)
    assert (tmp_path / "run.json").read_bytes() == content
    assert opened(tmp_path, draws=3.0, levels=(1.0, 2.5)).settings == {**SETTINGS}


def test_other_versions_are_noted_once_and_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 2)
    monkeypatch.setattr(settings_module, "_version", lambda name: f"{name} of tomorrow")
    for _ in range(2):
        assert opened(tmp_path).done("captions", key_of(1))
    monkeypatch.undo()
    opened(tmp_path)
    document = json.loads((tmp_path / "run.json").read_text())
    assert set(document) == {"schema", "settings", "environments"}
    assert document["settings"] == SETTINGS
    first, second = document["environments"]
    assert first["versions"]["pyarrow"] == pa.__version__
    assert second["versions"]["torch"] == "torch of tomorrow"
    assert first["machine"] == second["machine"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "damaged"),
        ('{"schema": "neuronscope.run/9"}', "schema 'neuronscope.run/9'"),
        ("", "damaged"),
    ],
)
def test_a_damaged_or_foreign_run_json_is_refused_and_left_alone(tmp_path: Path, content: str, text: str) -> None:
    filled(tmp_path, 2)
    (tmp_path / "run.json").write_text(content)
    for reopen in (lambda: opened(tmp_path), lambda: Run.existing(tmp_path)):
        with pytest.raises(RunMismatch, match=f"run.json .*{text}"):
            reopen()
    assert (tmp_path / "run.json").read_text() == content
    assert damages(tmp_path) == []


def test_results_without_their_settings_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / "run.json").unlink()
    with pytest.raises(RunMismatch, match=r"has results, such as .*\.parquet, but no run.json"):
        opened(tmp_path)
    with pytest.raises(RunMismatch, match=r"is no run: it has no run\.json"):
        Run.existing(tmp_path)


@pytest.mark.parametrize("bad", [{"level": float("nan")}, {"path": Path("x")}])
def test_settings_that_json_cannot_hold_are_refused_before_anything_is_made(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(InvalidOption, match=f"settings.{next(iter(bad))} is"):
        Run.open(tmp_path / "run", bad)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InvalidOption, match="patience=0 has to be above 0"):
        Run.open(tmp_path / "run", {}, patience=0)


def test_processes_that_create_one_run_at_once_agree_on_its_settings(tmp_path: Path) -> None:
    code = f"""
won = []
for i in range(20):
    try:
        Run.open({str(tmp_path)!r} + f"/run-{{i}}", {{"of": NUMBER}})
        won.append(i)
    except NeuronscopeError as error:
        assert f"of is {{1 - NUMBER}} there and NUMBER now" in str(error), error
print(won)
"""
    lines = race(tmp_path / "go", [code.replace("NUMBER", str(number)) for number in (0, 1)])
    won = [json.loads(line) for (line,) in lines]
    assert sorted(won[0] + won[1]) == list(range(20))
    for number, runs in enumerate(won):
        assert all(Run.existing(tmp_path / f"run-{i}").settings == {"of": number} for i in runs)


# ---- damage


def truncate(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garble(path: Path, _: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def flip(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 0x10  # within the column data: the footer still looks right
    path.write_bytes(bytes(data))


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def foreign(path: Path, _: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def unreadable_text(path: Path, _: Path) -> None:
    """A footer with names that are no UTF-8, at which pyarrow itself fails."""
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"name": "value"}), path)
    path.write_bytes(path.read_bytes().replace(b"schema", b"sch\xff\xfea").replace(b"x", b"\xff"))


def footer_length(path: Path, _: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-8] + b"\xff\xff\xff\x7f" + data[-4:])


def no_digest(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"neuronscope.sha256", b"neuronscope.sha255"))


def text_in_its_place(path: Path, _: Path) -> None:
    path.write_text("PAR1" + "{" * 5000 + "PAR1", encoding="utf-8")


@pytest.mark.parametrize(
    "harm",
    [truncate, garble, flip, empty, swap, foreign, unreadable_text, footer_length, no_digest, text_in_its_place],
)
@pytest.mark.parametrize("warm", [False, True])
def test_a_damaged_part_is_set_aside_and_computed_again(tmp_path: Path, harm: Any, warm: bool) -> None:
    run = filled(tmp_path)
    path, other = (run.part("captions", key_of(j)) for j in (2, 5))
    assert run.done("captions", key_of(2))  # so that it has been proved once
    time.sleep(0.005)  # a new time stamp also where the clock is coarse
    harm(path, other)
    harmed = path.read_bytes()
    if not warm:
        run = opened(tmp_path)
    assert run.missing("captions", [key_of(j) for j in range(6)]) == [key_of(2)]
    assert not path.exists()
    (line,) = damages(tmp_path)
    assert (line["kind"], line["part"]) == ("captions", path.name)
    assert line["reason"]
    assert (tmp_path / line["moved_to"]).read_bytes() == harmed
    assert run.write("captions", key_of(2), rows_of(2))
    assert run.table("captions").to_pylist() == expected(6)
    assert len(damages(tmp_path)) == 1


@pytest.mark.parametrize("ask", [lambda run: run.table("captions"), lambda run: run.read("captions", key_of(2))])
def test_a_damaged_part_is_never_part_of_a_result(tmp_path: Path, ask: Callable[[Run], Any]) -> None:
    run = filled(tmp_path)
    flip(run.part("captions", key_of(2)), tmp_path)
    before = everything(tmp_path)
    reason = "its content is not what its hash says"
    with pytest.raises(
        RunMismatch, match=rf"1 parts of kind 'captions' .* are damaged .*{reason}|is damaged .*{reason}"
    ):
        ask(reader := Run.existing(tmp_path))
    assert reader.missing("captions", [key_of(j) for j in range(6)]) == [key_of(2)]
    assert everything(tmp_path) == before  # a reader moves nothing
    with pytest.raises(RunMismatch, match=r"1 parts of kind 'captions' .* set aside|is damaged"):
        ask(opened(tmp_path))
    assert opened(tmp_path).missing("captions", [key_of(j) for j in range(6)]) == [key_of(2)]


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.write("captions", key_of(7), rows_of(7)),
        lambda run: run.adopt("captions", key_of(7), b""),
        lambda run: next(iter(run.todo("captions", [key_of(7)]))),
        lambda run: run.claim("captions", key_of(7)).__enter__(),
    ],
)
def test_a_run_that_is_only_read_is_not_written_to(tmp_path: Path, change: Callable[[Run], Any]) -> None:
    filled(tmp_path)
    before = everything(tmp_path)
    with pytest.raises(InvalidOption, match=r"Run.existing, which only reads"):
        change(Run.existing(tmp_path))
    assert everything(tmp_path) == before


def a_folder(path: Path) -> None:
    path.mkdir()


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.parquet").write_text("mine")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.parquet")


def a_link_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_a_folder(path: Path) -> None:
    path.symlink_to(path.parent.parent)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "put", [a_folder, a_full_folder, a_link_to_nothing, a_link_in_a_circle, a_link_to_a_folder, a_pipe]
)
def test_what_is_no_file_in_a_parts_place_is_set_aside_and_the_part_made_again(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    path = filled(tmp_path).part("captions", key_of(2))
    path.unlink()
    put(path)
    run = opened(tmp_path)
    assert run.missing("captions", [key_of(j) for j in range(6)]) == [key_of(2)]
    assert [line["part"] for line in damages(tmp_path)] == [path.name]
    assert "it is no file" in damages(tmp_path)[0]["reason"]
    assert run.write("captions", key_of(2), rows_of(2))
    assert run.table("captions").to_pylist() == expected(6)


def test_a_part_renamed_by_hand_is_set_aside(tmp_path: Path) -> None:
    run = filled(tmp_path)
    path = run.part("captions", key_of(2))
    shutil.copy(path, path.with_name("f" * 24 + ".parquet"))
    with pytest.raises(RunMismatch, match="1 parts of kind 'captions'"):
        run.table("captions")
    assert run.table("captions").to_pylist() == expected(6)  # the original was sound
    assert f"whose name is {path.name}" in damages(tmp_path)[0]["reason"]


def test_a_part_of_a_run_with_other_settings_is_set_aside(tmp_path: Path) -> None:
    ours, theirs = filled(tmp_path / "ours", 3), opened(tmp_path / "theirs", draws=4)
    path = theirs.part("captions", key_of(1))
    path.parent.mkdir(parents=True)
    shutil.copy(ours.part("captions", key_of(1)), path)
    assert not theirs.done("captions", key_of(1))
    assert "other settings" in damages(tmp_path / "theirs")[0]["reason"]


def test_a_deleted_part_is_simply_missing(tmp_path: Path) -> None:
    run = filled(tmp_path)
    run.part("captions", key_of(4)).unlink()
    for again in (run, opened(tmp_path)):
        assert again.missing("captions", [key_of(j) for j in range(6)]) == [key_of(4)]
    assert damages(tmp_path) == []


def test_a_damaged_part_is_replaced_even_when_nobody_looked_first(tmp_path: Path) -> None:
    run = filled(tmp_path)
    truncate(run.part("captions", key_of(2)), tmp_path)
    assert opened(tmp_path).write("captions", key_of(2), rows_of(2))
    assert opened(tmp_path).table("captions").to_pylist() == expected(6)


def test_time_stamps_change_nothing(tmp_path: Path) -> None:
    run = filled(tmp_path)
    keys = [key_of(j) for j in range(6)]
    for shift in (1, 4e9):
        for number, path in enumerate(sorted(tmp_path.rglob("*"))):
            os.utime(path, (shift + 1000 * (-1) ** number * number % 977, shift - number))
        for again in (run, opened(tmp_path)):
            assert again.missing("captions", keys) == []
            assert again.table("captions").to_pylist() == expected(6)
    assert damages(tmp_path) == []


def test_a_part_is_read_once_for_all_questions_whether_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    run = opened(tmp_path)
    reads = Counter[str]()
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.update([path.name]), whole(path))[1])
    for _ in range(3):
        assert run.missing("captions", [key_of(j) for j in range(6)]) == []
    assert max(reads.values()) == 1


# ---- processes that are killed, and several at once


def counted(log: Path, word: str) -> Counter[int]:
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return Counter(int(j) for what, j in lines if what == word)


def test_a_job_killed_at_random_moments_ends_with_the_same_table_and_repeats_nothing(tmp_path: Path) -> None:
    units, kills, dice = 60, 3, random.Random(5)
    folder, log = tmp_path / "run", tmp_path / "log"
    for _ in range(kills):
        enough = min(counted(log, "end").total() + dice.randrange(1, 18), units - kills)
        # It does not end by itself, however late this process is on a busy machine.
        process = start(f"work({str(folder)!r}, {str(log)!r}, {min(enough + 25, units)}, 0)\ntime.sleep(60)")
        while counted(log, "end").total() < enough:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(dice.random() * 0.004)
        process.kill()
        process.communicate()
        assert process.returncode == -9
    finish(start(f"work({str(folder)!r}, {str(log)!r}, {units}, 0)"))

    begun, ended = counted(log, "begin"), counted(log, "end")
    assert set(begun) == set(range(units))
    assert begun.total() - units <= kills  # only what was in work at a kill was begun again
    assert all(times == 1 for times in ended.values())
    run = opened(folder)
    assert run.missing("captions", [key_of(j) for j in range(units)]) == []
    assert run.table("captions").to_pylist() == expected(units)
    assert run.table("captions").equals(filled(tmp_path / "uninterrupted", units).table("captions"))
    assert damages(folder) == []
    assert below(folder / "temporary") == below(folder / "claims") == []


def test_what_a_killed_process_left_in_the_making_is_ignored_and_removed(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    code = f"""
run = opened({str(tmp_path)!r})
def killed_here(*_):
    print("now", flush=True)
    time.sleep(60)
os.link = killed_here
run.write("captions", key_of(2), rows_of(2))
"""
    process = start(code)
    assert said(process) == "now"
    (left,) = below(tmp_path / "temporary")
    run = opened(tmp_path)
    assert below(tmp_path / "temporary") == [left]  # its process lives
    assert run.missing("captions", [key_of(j) for j in range(3)]) == [key_of(2)]
    process.kill()
    process.communicate()
    (tmp_path / "temporary" / "elsewhere-1-1.0.x.parquet").touch()  # of another machine: it may be in use
    run = opened(tmp_path)
    assert below(tmp_path / "temporary") == ["elsewhere-1-1.0.x.parquet"]
    assert run.table("captions").to_pylist() == expected(2)


@pytest.mark.parametrize("shared", [True, False])
def test_two_processes_on_one_directory_make_one_table(tmp_path: Path, shared: bool) -> None:
    units = 30
    folder, logs = tmp_path / "run", [tmp_path / "one", tmp_path / "two"]
    race(tmp_path / "go", [f"work({str(folder)!r}, {str(log)!r}, {units}, 0.005, {shared})" for log in logs])
    counts = [counted(log, "end").total() for log in logs]
    if shared:
        assert sum(counts) == units  # claimed, so nothing is done twice
        assert min(counts) > 0
    else:
        assert units < sum(counts) <= 2 * units
    run = opened(folder)
    assert run.table("captions").to_pylist() == expected(units)
    assert damages(folder) == []
    assert below(folder / "temporary") == below(folder / "claims") == []


def test_the_unit_of_a_process_that_dies_is_taken_over_by_one_that_waits(tmp_path: Path) -> None:
    stuck = start(
        f"with opened({str(tmp_path)!r}).claim('captions', key_of(0)) as mine:\n"
        "    print(mine, flush=True)\n    time.sleep(60)"
    )
    assert said(stuck) == "True"
    run, order = opened(tmp_path), list[int]()
    with run.claim("captions", key_of(0)) as mine:
        assert not mine
    for key in run.todo("captions", [key_of(j) for j in range(3)]):
        order.append(key["j"])
        if key["j"] == 2:
            stuck.kill()
            stuck.communicate()
        run.write("captions", key, rows_of(key["j"]))
    assert order == [1, 2, 0]
    assert run.table("captions").to_pylist() == expected(3)


def test_a_unit_that_was_finished_between_the_look_and_the_claim_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other, claim = opened(tmp_path), opened(tmp_path), Run.claim

    @contextmanager
    def late(run: Run, kind: str, key: Any) -> Iterator[bool]:
        with claim(run, kind, key) as mine:
            other.write(kind, key, rows_of(1))
            yield mine

    monkeypatch.setattr(Run, "claim", late)
    assert list(run.todo("captions", [key_of(1)])) == []


def test_a_part_is_carried_into_another_directory_byte_for_byte(tmp_path: Path) -> None:
    there, here = opened(tmp_path / "there"), opened(tmp_path / "here")
    there.write("captions", key_of(1), rows_of(1))
    data = there.export("captions", key_of(1))
    assert here.adopt("captions", key_of(1), data)
    assert here.part("captions", key_of(1)).read_bytes() == there.part("captions", key_of(1)).read_bytes()
    assert here.read("captions", key_of(1)).equals(there.read("captions", key_of(1)))
    assert not here.adopt("captions", key_of(1), data)
    with pytest.raises(RunMismatch, match=r"captions .* is not finished"):
        here.export("captions", key_of(2))


@pytest.mark.parametrize("harm", ["cut", "flipped", "another unit", "another run"])
def test_a_part_that_is_not_what_it_should_be_is_not_taken_in(tmp_path: Path, harm: str) -> None:
    there = opened(tmp_path / "there", **({"draws": 4} if harm == "another run" else {}))
    here = opened(tmp_path / "here")
    written = 2 if harm == "another unit" else 1
    there.write("captions", key_of(written), rows_of(written))
    data = there.export("captions", key_of(written))
    changed = {"cut": data[:-9], "flipped": data[:40] + bytes([data[40] ^ 1]) + data[41:]}.get(harm, data)
    with pytest.raises(RunMismatch, match=r"a part given for captions .* is not taken into"):
        here.adopt("captions", key_of(1), changed)
    assert not here.done("captions", key_of(1))
    assert not (tmp_path / "here" / "damaged.jsonl").exists()


def test_environments_of_others_are_noted_once(tmp_path: Path) -> None:
    run = opened(tmp_path)
    node = {"versions": {"torch": "9.9"}, "machine": {"cores": 64}}
    run.see(node)
    run.see(dict(node))
    assert list(run.record.environments).count(node) == 1
    assert run.record.environments == Run.existing(tmp_path).record.environments


def test_todo_ends_although_a_caller_did_not_write(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert [key["j"] for key in run.todo("captions", [key_of(1), key_of(2), key_of(1)])] == [1, 2]
    for _ in run.todo("captions", [key_of(1), key_of(2)]):
        break
    assert below(tmp_path / "claims") == []


# ---- disks


def test_space_that_is_not_there_is_refused_with_both_amounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(tmp_path)
    run.require_space(1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    run.require_space(2_000_000)
    with pytest.raises(InvalidOption, match=r"needs 1,234\.5 MB and has 2\.0 MB free"):
        run.require_space(1_234_500_000)


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = filled(tmp_path, 3)
    before = below(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        name = run.part("captions", key_of(3)).name
        with pytest.raises(InvalidOption, match=rf"{name} cannot be written: No space left on device \(disk full\)"):
            run.write("captions", key_of(3), rows_of(3))
    assert below(tmp_path) == before
    assert run.write("captions", key_of(3), rows_of(3))
    assert opened(tmp_path).table("captions").to_pylist() == expected(4)


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
    run = filled(tmp_path, 3)
    assert not run.write("captions", key_of(1), rows_of(2))
    for key in run.todo("captions", [key_of(j) for j in range(5)]):
        run.write("captions", key, rows_of(key["j"]))
    assert run.table("captions").to_pylist() == expected(5)
    assert below(tmp_path / "temporary") == below(tmp_path / "claims") == []


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a job that may mount file systems, in a mount namespace that vanishes with it."""
    prefix = ("unshare", "--mount", "--user", "--map-root-user")
    probe = f"mount -t tmpfs -o size=64k tmpfs {tmp_path}"
    if shutil.which("unshare") is None or subprocess.run([*prefix, "sh", "-c", probe], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk in a namespace of its own (unshare, tmpfs)")
    return lambda code: start("import subprocess\n" + code, *prefix)


def test_a_full_disk_stops_the_job_and_spares_the_run(tmp_path: Path, mounted: Any) -> None:
    code = f"""
folder = {str(tmp_path)!r}
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], check=True)
run, keys, done = opened(folder), [key_of(j) for j in range(1000)], 0
try:
    run.require_space(10**6)
except NeuronscopeError as error:
    print("refused:", error)
try:
    for key in keys:
        run.write("captions", key, rows_of(key["j"]))
        done += 1
except NeuronscopeError as error:
    print("stopped:", type(error).__name__, error)
parts = sorted(name for name in os.listdir(folder + "/parts/captions"))
print(done, len(parts), os.listdir(folder + "/temporary"), os.path.exists(folder + "/damaged.jsonl"))
print(len(Run.existing(folder).missing("captions", keys)))
subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)
run = opened(folder)
for key in run.todo("captions", keys[:done + 20]):
    run.write("captions", key, rows_of(key["j"]))
print(run.table("captions").num_rows)
"""
    out = finish(mounted(code))
    assert "needs 1.0 MB and has 0." in out[0]
    assert out[1].startswith("stopped: InvalidOption")
    assert out[1].endswith(".parquet cannot be written: No space left on device (disk full)")
    done, parts = map(int, out[2].split()[:2])
    assert done == parts > 10
    assert out[2].endswith("[] False")
    assert int(out[3]) == 1000 - done
    assert int(out[4]) == len(expected(done + 20))


def test_a_read_only_folder_is_refused_for_work_and_good_for_reading(tmp_path: Path, mounted: Any) -> None:
    code = f"""
folder = {str(tmp_path)!r}
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
run = opened(folder)
for j in range(3):
    run.write("captions", key_of(j), rows_of(j))
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
try:
    Run.open(folder, SETTINGS)
except NeuronscopeError as error:
    print(type(error).__name__, error)
print(Run.existing(folder).table("captions").num_rows)
"""
    out = finish(mounted(code))
    assert out[0] == f"InvalidOption output folder {tmp_path} cannot be written to: Read-only file system"
    assert int(out[1]) == len(expected(3))


@pytest.mark.parametrize("name", ["blocker", "blocker/below"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "blocker").write_text("a file")
    with pytest.raises(InvalidOption, match=f"output folder .*{name} cannot be written to"):
        opened(tmp_path / name)


# ---- planning


def test_the_estimate_is_the_rate_of_the_units_done(tmp_path: Path) -> None:
    keys = [key_of(j) for j in range(10)]
    run = opened(tmp_path)
    nothing = run.estimate("captions", keys)
    assert (nothing.done, nothing.total, nothing.seconds_left, nothing.bytes_left) == (0, 10, None, None)
    for j in range(4):
        with run.claim("captions", key_of(j)):
            time.sleep(0.02)
            run.write("captions", key_of(j), rows_of(j))
        time.sleep(0.05)  # what is done between units is not their cost
    found = run.estimate("captions", keys)
    assert (found.done, found.total) == (4, 10)
    assert found.seconds_each is not None
    assert 0.02 <= found.seconds_each < 0.05
    assert found.seconds_left == pytest.approx(6 * found.seconds_each)
    sizes = [run.part("captions", key_of(j)).stat().st_size for j in range(4)]
    assert found.bytes_left == pytest.approx(6 * sum(sizes) / 4)
    assert opened(tmp_path).estimate("captions", keys).seconds_each is None

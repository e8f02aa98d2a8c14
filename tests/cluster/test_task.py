"""Units done by one process, and by a worker: the same parts, several kinds of them for one unit, nothing twice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from neuronscope.cluster.messages import Probe
from neuronscope.cluster.task import each_done
from neuronscope.cluster.units import Name, Unit
from neuronscope.cluster.worker import Worker
from neuronscope.run.directory import Run

SCHEMAS = {"square": pa.schema({"value": pa.int64()}), "root": pa.schema({"value": pa.float64()})}
UNITS = [Unit("square", {"of": n}, also=("root",), label=f"the {n}") for n in range(4)]


@dataclass
class Numbers:
    """Squares and roots: a task, loaded and doing its work at once."""

    place: Path = field(default_factory=Path.cwd)
    reads: tuple[Name, ...] = ()
    schemas: Mapping[str, pa.Schema] = field(default_factory=lambda: SCHEMAS)
    settings: Mapping[str, Any] = field(default_factory=lambda: {"job": "numbers"})
    done: list[int] = field(default_factory=list)
    loads: int = 0
    run: Any = None

    def loaded(self) -> Numbers:
        self.loads += 1
        return self

    def work(self, run: Run) -> Numbers:
        self.run = run
        return self

    def rows(self, unit: Unit) -> Mapping[str, list[dict[str, Any]]]:
        of: Any = unit.key["of"]
        self.done.append(of)
        return {"square": [{"value": of * of}], "root": [{"value": of**0.5}]}

    def tally(self) -> Mapping[str, float]:
        return {"done": len(self.done)}


def opened(folder: Path) -> Run:
    return Run.open(folder, {"job": "numbers"}, schemas=SCHEMAS)


def parts(folder: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in (folder / "parts").glob("*/*")}


def test_a_unit_may_make_several_parts_and_is_done_when_all_are_there(tmp_path: Path):
    work, told = Numbers().work(opened(tmp_path)), []
    assert [str(unit) for unit in each_done(work, UNITS, told.append)] == told == ["the 0", "the 1", "the 2", "the 3"]
    assert len(parts(tmp_path)) == 8
    assert list(each_done(work, UNITS)) == []
    assert UNITS[2].parts == (Name("root", '{"of":2}'), Name("square", '{"of":2}'))
    before = parts(tmp_path)
    damaged = work.run.part("root", {"of": 2})
    damaged.write_bytes(damaged.read_bytes()[:-5])
    assert [unit.done(work.run) for unit in UNITS] == [True, True, False, True]
    assert list(each_done(work, UNITS)) == [UNITS[2]]
    assert parts(tmp_path) == before
    assert work.done == [0, 1, 2, 3, 2]


def test_what_another_process_is_at_is_left_to_it(tmp_path: Path):
    ours, theirs = Numbers().work(opened(tmp_path)), Numbers().work(opened(tmp_path))
    going = each_done(theirs, UNITS)
    first = next(going)  # its claim is held while its taker looks at it
    assert [unit for unit, _ in zip(each_done(ours, UNITS), range(3), strict=False)] == UNITS[1:]
    assert first == UNITS[0]
    assert list(going) == []
    assert (ours.done, theirs.done) == ([1, 2, 3], [0])


@pytest.mark.parametrize("storage", ["auto", "driver"])
def test_a_worker_makes_the_same_parts(storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for _ in each_done(Numbers().work(opened(tmp_path / "alone")), UNITS):
        pass
    run, worker, task = opened(tmp_path / "shared"), Worker(), Numbers()
    first, again = worker.hello(task), worker.hello(task)
    assert (first.pid, first.process) == (os.getpid(), again.process)
    assert task.loads == 1  # greeted again after it was out of reach: the model is in memory
    probe = Probe(run.folder / "temporary" / "probe", "here")
    probe.path.write_text(probe.token)
    assert worker.join(run.folder, probe, storage) == (storage == "auto")
    reports = [done for done in worker.work(UNITS, []) if done is not None]
    assert [done.tally for done in reports] == [{"done": n} for n in (1, 2, 3, 4)]
    for done in reports:
        assert len(done.parts) == (0 if storage == "auto" else 2)
        for part in done.parts:
            assert run.adopt(part.name.kind, part.name.key, part.data)
    assert parts(run.folder) == parts(tmp_path / "alone")
    worker.leave()

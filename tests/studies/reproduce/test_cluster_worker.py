"""One worker, called as a cluster calls it: with a shared run directory, and with one of its own."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.cluster.messages import Done, Hello, Part, Probe
from neuronscope.cluster.resources import Storage
from neuronscope.cluster.units import Unit
from neuronscope.cluster.worker import Worker
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.run.directory import Run
from neuronscope.studies.reproduce.cluster import Reproducing
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.job import ReproductionJob
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.units import DATASET, SCHEMAS, units

PLAN = Experiment(
    ("bear", "bus"),
    images=1,
    methods=("two-stage:activation=1,gradient=0.05",),
    levels=(),
    ablations=("zero",),
    metrics={"bleu-1": {}},
    limits=Limits(min_side=16.0),
)


@pytest.fixture
def job(few_scenes: Path, demo: ns.VLM, monkeypatch: pytest.MonkeyPatch) -> ReproductionJob:
    monkeypatch.setattr("neuronscope.loading.load", lambda *_args, **_options: demo)
    monkeypatch.chdir(Path.cwd())  # workers change it
    return ReproductionJob(PLAN, few_scenes)


def opened(job: ReproductionJob, folder: Path, storage: Storage) -> tuple[Worker, Run, bool]:
    """A worker that has joined, the driver's run, and whether its directory is shared."""
    worker = Worker()
    run = Run.open(folder, worker.hello(Reproducing(job)).settings, schemas=SCHEMAS)
    probe = Probe(folder / "temporary" / "probe", "here")
    probe.path.write_text(probe.token)
    return worker, run, worker.join(folder, probe, storage)


def ask(worker: Worker) -> tuple[Part, ...]:
    """Have the data set built; the parts that come back."""
    return worker.ask("dataset", [], [], [DATASET.name]).parts


@pytest.fixture(scope="module")
def built(few_scenes: Path, demo: ns.VLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run whose data set is there, for tests to copy."""
    folder = tmp_path_factory.mktemp("built") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronscope.loading.load", lambda *_args, **_options: demo)
        patch.chdir(Path.cwd())
        worker, _, _ = opened(ReproductionJob(PLAN, few_scenes), folder, "shared")
        assert ask(worker) == ()
        worker.leave()
    return folder


def names(run: Run) -> list[tuple[str, str]]:
    from neuronscope.studies.reproduce.record import named_in

    return named_in(run.read(DATASET.kind, DATASET.key).to_pylist()[0], PLAN.concepts)


def reports(worker: Worker, work: list[Unit], parts: list[Part]) -> list[Done]:
    told = list(worker.work(work, parts))
    assert told[::2] == [None] * len(work)  # each is said to be begun
    return [done for done in told[1::2] if done is not None]


def test_hello_tells_model_and_process(job: ReproductionJob, demo: ns.VLM):
    hello = Worker().hello(Reproducing(job))
    assert hello.pid == os.getpid()
    model: Any = hello.settings["model"]
    assert model["fingerprint"] == demo.fingerprint
    assert pickle.loads(pickle.dumps(job)) == job
    assert str(Hello({}, {}, "node", 7, "a")) == "7 on node"


def test_parts_are_the_same_with_and_without_shared_storage(job: ReproductionJob, built: Path, tmp_path: Path):
    shared, run, is_shared = opened(job, shutil.copytree(built, tmp_path / "shared"), "auto")
    assert is_shared
    assert ask(shared) == ()
    todo = list(units(PLAN, names(run)))
    assert all(not done.parts and not done.reason for done in reports(shared, todo, []))
    far, other, is_shared = opened(job, tmp_path / "far", "driver")
    assert not is_shared
    (data,) = [part.data for part in ask(far)]
    assert data == run.export(DATASET.kind, DATASET.key)
    assert not other.done(DATASET.kind, DATASET.key)  # it is the driver's to write
    for unit in todo:
        (done,) = reports(far, [unit], [])
        (part,) = done.parts
        assert part.name == unit.name
        assert other.adopt(unit.kind, unit.key, part.data)
        if unit.kind != "located":  # whose rows hold the seconds it took
            assert part.data == run.export(unit.kind, unit.key)
    every = [unit.name for unit in (DATASET, *todo)]
    assert all(worker.ask("results", [], every, []).said.captions for worker in (far, shared))
    assert far.ask("results", [], every, []).said.captions == shared.ask("results", [], every, []).said.captions
    own = far._work.run.folder
    assert own.is_dir()
    far.leave()
    shared.leave()
    assert not own.exists()
    assert run.folder.is_dir()


def test_a_worker_is_given_what_its_unit_needs(job: ReproductionJob, built: Path, tmp_path: Path):
    shared, run, _ = opened(job, shutil.copytree(built, tmp_path / "run"), "shared")
    ask(shared)
    todo = list(units(PLAN, names(run)))
    located, captions = todo[0], todo[1]
    reports(shared, [located], [])
    far, _, _ = opened(job, tmp_path / "run", "driver")
    given = [Part(name, run.export(name.kind, name.key)) for name in (DATASET.name, *captions.needs)]
    (done,) = reports(far, [captions], given)
    assert not done.reason
    damaged = replace(given[1], data=given[1].data[:-50])
    with pytest.raises(RunMismatch, match="a part given for located"):
        reports(far, [captions], [damaged])


def test_what_fails_is_reported_and_the_next_is_done(
    job: ReproductionJob, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    worker, run, _ = opened(job, shutil.copytree(built, tmp_path / "run"), "shared")
    ask(worker)
    located = [unit for unit in units(PLAN, names(run)) if unit.kind == "located"]
    plain = worker.rows

    def rows(unit: Unit) -> Any:
        if unit is located[0]:
            raise MemoryError("no room")
        return plain(unit)

    monkeypatch.setattr(worker, "rows", rows)
    first, second = reports(worker, located, [])
    assert (first.reason, second.reason) == ("MemoryError: no room", "")
    assert [run.done(unit.kind, unit.key) for unit in located] == [False, True]


def test_what_is_never_to_be_seen(job: ReproductionJob, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    worker, run, _ = opened(job, shutil.copytree(built, tmp_path / "run"), "shared")
    ask(worker)
    monkeypatch.setattr("neuronscope.cluster.worker.PATIENCE", 0.0)
    captions = next(unit for unit in units(PLAN, names(run)) if unit.kind == "captions")
    (done,) = reports(worker, [captions], [])
    assert done.reason.startswith("RunMismatch: located {'concept': 'bear'")
    assert "is done and cannot be seen in" in done.reason


def test_storage_has_to_be_shared_when_asked_for(job: ReproductionJob, tmp_path: Path):
    worker = Worker()
    worker.hello(Reproducing(job))
    other = Probe(tmp_path / "probe", "there")
    other.path.write_text("another machine's")
    with pytest.raises(InvalidOption, match=r"storage='shared': .* does not see .*probe"):
        worker.join(tmp_path / "run", other, "shared")
    assert not worker.join(tmp_path / "run", other, "auto")
    assert not (tmp_path / "run").exists()
    assert not worker.join(tmp_path / "run", Probe(tmp_path / "nothing", "x"), "auto")


def test_relative_paths_mean_what_the_driver_meant(job: ReproductionJob, few_scenes: Path, tmp_path: Path):
    Worker().hello(Reproducing(replace(job, place=few_scenes.parent, data=Path(few_scenes.name))))
    assert Path.cwd() == few_scenes.parent
    Worker().hello(Reproducing(replace(job, place=tmp_path / "not here")))
    assert Path.cwd() == few_scenes.parent

"""The Ray engine on a real cluster of several nodes: the same results as the local engine, whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.cluster.resources import Resources
from neuronscope.cluster.schedule import Failure
from neuronscope.cluster.units import Unit
from neuronscope.cluster.worker import Worker
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.run.directory import Run
from neuronscope.studies.reproduce.cluster import Cluster
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.engine import Local
from neuronscope.studies.reproduce.job import Job
from neuronscope.studies.reproduce.record import named_in
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.tables import render
from neuronscope.studies.reproduce.units import CANDIDATE, DATASET, units

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")
from ray._private.utils import get_ray_address_file  # noqa: E402
from ray.cluster_utils import Cluster as Machines  # noqa: E402

pytestmark = pytest.mark.xdist_group("ray")

PLAN = Experiment(
    ("bear", "bus"),
    images=1,
    methods=("two-stage", "random-layer-matched"),
    levels=(2.0,),
    draws=2,
    ablations=("zero",),
    limits=Limits(min_side=16.0),
)
OPTIONS = ["--concepts", "bear,bus", "--images", "1", "--min-side", "16", "--levels", "2", "--draws", "2"]
OPTIONS += ["--ablations", "zero", "--methods", ",".join(PLAN.methods)]
NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
UNITS = 2 * 2 + 2 * 2 * 2 + 2 + 4 * 2


@pytest.fixture(scope="module")
def machines() -> Generator[Machines]:
    """Three nodes: one without room for workers, and two with room for one each."""
    place = tempfile.mkdtemp(prefix="ns-", dir="/tmp")  # sockets need short paths
    head = {**NODE, "num_cpus": 0, "temp_dir": place}
    # Ray notes there which cluster was started last, and does not make the folder for one that has its own place.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    cluster = Machines(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def job(scenes: Path) -> Job:
    return Job(PLAN, scenes)


@pytest.fixture(scope="module")
def local(demo: ns.VLM, job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory that the local engine makes, with its tables."""
    folder = tmp_path_factory.mktemp("local")
    engine = Local(job, folder, demo)
    steps, failures = carry_out(engine)
    assert (len(steps), failures) == (UNITS, ())
    render(engine.results(), folder)
    return folder


def carry_out(engine: Any, meanwhile: Callable[[int], None] = lambda _: None) -> tuple[list[str], Sequence[Failure]]:
    """All units that are left; which, and which failed. `meanwhile` is told how many are done."""
    steps: list[str] = []

    def step(text: str) -> None:
        steps.append(text.partition(" (")[0])
        meanwhile(len(steps))

    engine.prepare(lambda _: None)
    return steps, engine.work(step)


def content(folder: Path) -> dict[str, Any]:
    """Every part by kind and name: its bytes, or its rows where a time is among them.

    Judged candidates are not: they are what the building of the data set goes on from, and stay where it is built.
    """
    run = Run.existing(folder)
    found: dict[str, Any] = {}
    for path in sorted((folder / "parts").glob("*/*")):
        kind = path.parent.name
        if kind == CANDIDATE:
            continue
        found[f"{kind}/{path.name}"] = None if kind == "located" else path.read_bytes()
    if "located" in run.kinds():
        for row in run.table("located").drop_columns(["seconds"]).to_pylist():
            found[f"{row['method']} {row['image']}"] = row
    return found


class Unlucky(Worker):
    """Fails at one unit, always; and its process is killed at another one, the first time anyone comes there."""

    def rows(self, unit: Unit) -> Any:
        if unit.kind == "captions" and {"two-stage", "bear", "zero"} <= set(map(str, unit.key.values())):
            grave = self._work.run.folder / "killed"
            if not grave.exists():
                grave.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if unit.kind == "captions" and {"random-layer-matched", "bus", "zero"} <= set(map(str, unit.key.values())):
            raise RuntimeError("no luck today")
        return super().rows(unit)


def on(machines: Machines, **more: Any) -> Resources:
    return Resources(address=machines.address, **more)


def test_a_worker_killed_and_a_unit_that_always_fails(machines: Machines, job: Job, local: Path, tmp_path: Path):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    told: list[str] = []
    with closing(Cluster(job, tmp_path, on(machines), say=told.append, worker=Unlucky)) as engine:
        steps, failures = carry_out(engine)
        (tmp_path / "killed").unlink()
        failed = failures[0]
        assert len(failures) == 1
        assert (failed.unit.kind, failed.attempts, failed.left_out) == ("captions", 3, 4)
        image = failed.unit.key["image"]
        unit = f"captions random-layer-matched bus {image} zero"
        assert str(failed).startswith(f"{unit} (sample {image}) failed 3 times: RuntimeError: no luck today; 4 units")
        assert len(steps) == len(set(steps)) == UNITS - 5
        assert engine.left() == 5
        assert any("died" in line for line in told), told
        found = engine.results()
        assert found.unfinished == (("random-layer-matched", "zero"),)
        assert {name: len(sizes) for name, sizes in found.sizes.items()} == dict.fromkeys(PLAN.methods, 2)
        assert {method for method, _, _ in found.captions} == {"two-stage"}
    with closing(Cluster(job, tmp_path, on(machines, workers=1))) as engine:
        again, failures = carry_out(engine)
        assert not failures
        assert set(again) == {unit} | {f"similarity {name} random-layer-matched" for name in PLAN.metrics}
    assert content(tmp_path) == content(local)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.long
def test_a_worker_killed_while_it_is_idle(machines: Machines, job: Job, tmp_path: Path):
    told: list[str] = []
    with closing(Cluster(job, tmp_path, on(machines, workers=1), say=told.append)) as engine:
        engine.prepare(lambda _: None)
        (before,) = engine.crew.workers
        os.kill(before.pid, signal.SIGKILL)
        (actor,) = [member.actor for member in engine.crew._members]
        _until_it_answers(actor)  # Ray has started it anew, and the engine has not heard of it
        assert not engine.work(lambda _: None)
        assert any("died" in line for line in told), told
        assert engine.left() == 0


def _until_it_answers(actor: Any) -> None:
    end = time.monotonic() + 120
    while not _answers(actor):
        assert time.monotonic() < end
        time.sleep(0.1)


def _answers(actor: Any) -> bool:
    try:
        return ray.get(actor.hello.remote()) is not None
    except ray.exceptions.RayActorError:
        return False


@pytest.mark.long
def test_a_node_killed_without_shared_storage(machines: Machines, job: Job, local: Path, tmp_path: Path):
    with closing(Cluster(job, tmp_path, on(machines, storage="driver"))) as engine:

        def kill(done: int) -> None:
            if done == 4:
                machines.remove_node(sorted(machines.worker_nodes, key=str)[0], allow_graceful=False)

        steps, failures = carry_out(engine, kill)
        assert failures == ()
        assert len(steps) == len(set(steps)) == UNITS
        assert engine.results().environments == engine.run.record.environments
    machines.add_node(**NODE)
    assert content(tmp_path) == content(local)


def test_the_driver_killed_and_started_again(
    machines: Machines,
    local: Path,
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    options = ["--data", str(scenes), "--out", str(tmp_path), *OPTIONS, "--json"]
    options += ["--engine", "ray", "--address", machines.address]
    command = [sys.executable, "-m", "neuronscope", "reproduce", *options]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 400
    while len(list((tmp_path / "parts").glob("captions/*"))) < 2:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    driver.kill()
    driver.communicate()
    run = Run.existing(tmp_path)
    before = {path: path.stat() for path in (tmp_path / "parts").glob("*/*")}
    samples = named_in(run.read(DATASET.kind, DATASET.key).to_pylist()[0], PLAN.concepts)
    finished = {str(unit) for unit in units(PLAN, samples) if run.done(unit.kind, unit.key)}
    assert 3 < len(finished) < UNITS
    monkeypatch.setattr("neuronscope.cli.steps._EVERY", 0.0)  # every unit is told
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*command[3:], "--workers", "1"])
    assert not stop.value.code
    out = capsys.readouterr()
    steps = [
        line.partition("] ")[2].partition(" (")[0] for line in out.err.splitlines() if " units left, 1 workers" in line
    ]
    assert not finished & set(steps)
    assert len(steps) == len(set(steps))
    assert UNITS - 2 <= len(finished) + len(steps) <= UNITS  # its two workers may have outlived the driver by a unit
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == {
        path: (state.st_ino, state.st_mtime_ns) for path, state in before.items()
    }
    assert content(tmp_path) == content(local)
    assert json.loads(out.out) == json.loads((local / "tables.json").read_text(encoding="utf-8"))


def test_what_the_cluster_has_no_room_for(machines: Machines, job: Job, tmp_path: Path):
    with (
        closing(Cluster(job, tmp_path, on(machines, gpus=1))) as engine,
        pytest.raises(InvalidOption, match=r"no node .* 1 CPUs and 1 GPUs\. Its nodes have: "),
    ):
        engine.prepare(lambda _: None)


def test_another_model_is_refused_by_its_fingerprint(
    machines: Machines, job: Job, local: Path, tmp_path: Path, checkpoint: Path
):
    shutil.copy(local / "run.json", tmp_path / "run.json")
    other = replace(job, model=str(checkpoint))
    with (
        closing(Cluster(other, tmp_path, on(machines, workers=1))) as engine,
        pytest.raises(RunMismatch, match=r"model\.fingerprint is .* there and .* now"),
    ):
        engine.prepare(lambda _: None)

"""Units of all jobs on a real cluster of several nodes: the same results as one process, whatever is killed."""

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
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.cluster.ray import Crew
from neuronscope.cluster.resources import Resources
from neuronscope.cluster.schedule import Failure, UnitsFailed
from neuronscope.cluster.units import Unit
from neuronscope.cluster.worker import Worker
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.index.file import NAME
from neuronscope.locate.validity import valid_pair
from neuronscope.models.decoding import Decoding
from neuronscope.options import Loading
from neuronscope.run.directory import Run
from neuronscope.run.tallies import read_tallies
from neuronscope.samples.picture_files import gather
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.studies.index.settings import IndexPlan
from neuronscope.studies.index.work import IndexRun
from neuronscope.studies.locate.exchanging import PART, Exact, TruthQuestion
from neuronscope.studies.reproduce.cluster import Cluster
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.engine import Local
from neuronscope.studies.reproduce.job import ReproductionJob
from neuronscope.studies.reproduce.record import named_in
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.tables import render
from neuronscope.studies.reproduce.ties import Ties
from neuronscope.studies.reproduce.units import CANDIDATE, DATASET, units

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")
from ray._private.utils import get_ray_address_file  # noqa: E402
from ray.cluster_utils import Cluster as Machines  # noqa: E402

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
    """Two nodes: one without room for workers, and one with room for one."""
    place = tempfile.mkdtemp(prefix="ns-", dir="/tmp")  # sockets need short paths
    head = {**NODE, "num_cpus": 0, "temp_dir": place}
    # Ray notes there which cluster was started last, and does not make the folder for one that has its own place.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    cluster = Machines(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def two(machines: Machines) -> Machines:
    """Another node with room for a worker."""
    machines.add_node(**NODE)
    return machines


@pytest.fixture(scope="module")
def job(few_scenes: Path) -> ReproductionJob:
    return ReproductionJob(PLAN, few_scenes)


@pytest.fixture(scope="module")
def local(demo: ns.VLM, job: ReproductionJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.mark.long
def test_a_worker_killed_and_a_unit_that_always_fails(two: Machines, job: ReproductionJob, local: Path, tmp_path: Path):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    told: list[str] = []
    with closing(Cluster(job, tmp_path, on(two), say=told.append, worker=Unlucky)) as engine:
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
        tallies = read_tallies(tmp_path)
        assert 1 <= len(tallies) <= 3  # two workers, one of them killed and started anew; those that did anything
        ties = Ties.of(tallies)
        assert ties.captions == ties.checked == sum(one["captions"] for one in tallies) > ties.alone
        assert f"Of {ties.captions:,} captions" in Ties.read(tmp_path).sentence
    with closing(Cluster(job, tmp_path, on(two, workers=1))) as engine:
        again, failures = carry_out(engine)
        assert not failures
        assert set(again) == {unit} | {f"similarity {name} random-layer-matched" for name in PLAN.metrics}
    assert content(tmp_path) == content(local)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.long
def test_a_worker_killed_while_it_is_idle(machines: Machines, job: ReproductionJob, tmp_path: Path):
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
        return ray.get(actor.leave.remote()) is None
    except ray.exceptions.RayActorError:
        return False


@pytest.mark.long
def test_a_node_killed_without_shared_storage(two: Machines, job: ReproductionJob, local: Path, tmp_path: Path):
    with closing(Cluster(job, tmp_path, on(two, storage="driver"))) as engine:

        def kill(done: int) -> None:
            if done == 4:
                two.remove_node(sorted(two.worker_nodes, key=str)[0], allow_graceful=False)

        steps, failures = carry_out(engine, kill)
        assert failures == ()
        assert len(steps) == len(set(steps)) == UNITS
        assert engine.results().environments == engine.run.record.environments
    two.add_node(**NODE)
    assert content(tmp_path) == content(local)


@pytest.mark.long
def test_the_driver_killed_and_started_again(
    two: Machines,
    local: Path,
    few_scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    options = ["--data", str(few_scenes), "--out", str(tmp_path), *OPTIONS, "--json"]
    options += ["--engine", "ray", "--address", two.address]
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
    points: list[tuple[str, float, int]] = []
    writer = SimpleNamespace(add_scalar=lambda *point: points.append(point), close=lambda: points.append(("end", 0, 0)))
    monkeypatch.setattr("neuronscope.run.writers.open_writer", lambda _: writer)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*command[3:], "--workers", "1", "--log", str(tmp_path.parent / "log")])
    assert not stop.value.code
    assert points[0] == ("units", points[0][1], points[0][1])  # what was finished before is in the first point
    assert len(finished) <= points[0][1] <= len(finished) + 2
    assert [value for name, value, _ in points if name == "units"][-1] == UNITS  # and what workers did in the last
    assert points[-1][0] == "end"
    curves = {name: value for name, value, _ in points}
    told = json.loads((local / "tables.json").read_text(encoding="utf-8"))
    assert {f"J/{method}/{one['name']}" for method in PLAN.methods for one in told["conditions"]} <= set(curves)
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


def test_what_the_cluster_has_no_room_for(machines: Machines, job: ReproductionJob, tmp_path: Path):
    with (
        closing(Cluster(job, tmp_path, on(machines, gpus=1))) as engine,
        pytest.raises(InvalidOption, match=r"no node .* 1 CPUs and 1 GPUs\. Its nodes have: "),
    ):
        engine.prepare(lambda _: None)


def test_another_model_is_refused_by_its_fingerprint(
    machines: Machines, demo: ns.VLM, job: ReproductionJob, tmp_path: Path, checkpoint: Path
):
    assert Local(job, tmp_path, demo).run.record.settings["model"]  # begun with the bundled model, as run.json says
    other = replace(job, model=str(checkpoint))
    with (
        closing(Cluster(other, tmp_path, on(machines, workers=1))) as engine,
        pytest.raises(RunMismatch, match=r"model\.fingerprint is .* there and .* now"),
    ):
        engine.prepare(lambda _: None)


class Shot(Worker):
    """Its process is killed at the first part that anyone comes to, once."""

    def rows(self, unit: Unit) -> Any:
        grave = self._work.run.folder / "killed"
        if not grave.exists():
            grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().rows(unit)


def parts(folder: Path) -> dict[str, bytes]:
    """Every part of a run by kind and name."""
    return {f"{one.parent.name}/{one.name}": one.read_bytes() for one in (folder / "run" / "parts").glob("*/*")}


@pytest.fixture(scope="module")
def asked(demo: ns.VLM) -> tuple[TruthQuestion, Any, np.ndarray]:
    """What exact effects are asked of: a question, what exchanges neurons here, and two parts of them."""
    pair, validity = valid_pair(demo, scenes_of("bear", 2)[1])
    question = TruthQuestion.of(pair, validity, change="patch", measure="logprob", decoding=Decoding())
    flat = np.random.default_rng(0).permutation(sum(demo.widths))[: PART + 10]
    return question, question.exchange(demo), flat


@pytest.mark.parametrize(
    ("storage", "worker"), [pytest.param("driver", Worker, marks=pytest.mark.long), ("shared", Shot)]
)
def test_exact_effects_are_those_of_one_process(
    machines: Machines,
    demo: ns.VLM,
    asked: tuple[TruthQuestion, Any, np.ndarray],
    storage: Any,
    worker: type[Worker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr("neuronscope.studies.locate.exchanging.Crew", partial(Crew, worker=worker))
    question, exchange, flat = asked
    steps: list[str] = []
    alone, shared = (Exact(tmp_path / name, demo, question, exchange, flat) for name in ("alone", "shared"))
    alone.work(lambda _: None)
    assert not shared.share(Loading(), on(machines, workers=1, storage=storage), steps.append, lambda _: None)
    assert np.array_equal(alone.values(), shared.values())
    assert (tmp_path / "alone" / "effects.json").read_bytes() == (tmp_path / "shared" / "effects.json").read_bytes()
    assert parts(tmp_path / "alone") == parts(tmp_path / "shared")
    assert len(steps) == len(parts(tmp_path / "alone")) == 2
    assert not Exact(tmp_path / "shared", demo, question, exchange, flat).left


@pytest.mark.long
def test_an_index_is_that_of_one_process(machines: Machines, checkpoint: Path, tmp_path: Path):
    """Pictures that are none are left out as here; one that is another file where the worker is stops its part."""
    place = tmp_path / "pictures"
    place.mkdir()
    rng = np.random.default_rng(5)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(place / f"{number}.png")
    (place / "broken.png").write_bytes(b"no picture")
    pictures = gather([place], checked=False)
    vlm, plan, found = ns.load(str(checkpoint)), IndexPlan(top=2, batch=2, part=2), {}
    for name in ("alone", "shared"):
        steps: list[str] = []
        work = IndexRun(vlm, pictures, plan, Decoding(), tmp_path / name, loaded="tiny", step=steps.append)
        if name == "alone":
            work.work()
        else:
            model, where = Loading(model=str(checkpoint)), on(machines, workers=1)
            kept = (place / "4.png").read_bytes()
            (place / "4.png").write_bytes((place / "3.png").read_bytes())
            with pytest.raises(UnitsFailed, match=r"1 units failed.*no index is made.*4\.png is another file on"):
                work.share(model, where)
            assert work.left() == 1
            (place / "4.png").write_bytes(kept)
            work.work()  # begun by one engine, gone on with by the other
        assert len(steps) == 3
        found[name] = {**parts(tmp_path / name), NAME: work.finish().path.read_bytes()}
    assert found["alone"] == found["shared"]

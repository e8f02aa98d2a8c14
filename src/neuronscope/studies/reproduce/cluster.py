"""The engine for a Ray cluster: the units of an experiment as a task that workers share; the driver loads no model."""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from ...cluster.ray import Crew
from ...cluster.resources import Resources
from ...cluster.schedule import Failure
from ...cluster.task import Rows
from ...cluster.units import Name, Unit
from ...cluster.worker import Worker
from ...loading import VLM
from ...run.directory import Run
from ...samples import CocoFolder
from ...types import Json
from .collect import collect
from .engine import Step, prepare
from .job import ReproductionJob
from .opening import run_settings
from .record import read_named
from .results import Results
from .units import DATASET, SCHEMAS, Cost, units
from .work import Reproduction


@dataclass(frozen=True)
class Reproducing:
    """A job as the :class:`~neuronscope.cluster.task.Task` of a cluster."""

    job: ReproductionJob

    @property
    def place(self) -> Path:
        """Where relative paths begin."""
        return self.job.place

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Kind -> columns."""
        return SCHEMAS

    @property
    def reads(self) -> tuple[Name, ...]:
        """The data set."""
        return (DATASET.name,)

    def loaded(self) -> Ready:
        """Load the model. Raises what loading raises."""
        return Ready(self.job, self.job.load(), self.job.source())


@dataclass(frozen=True)
class Ready:
    """A job with its model and its data."""

    job: ReproductionJob
    vlm: VLM
    source: CocoFolder

    @property
    def settings(self) -> Mapping[str, Json]:
        """Of the run."""
        return run_settings(self.vlm, self.source.identity(), self.job.experiment)

    def work(self, run: Run) -> WorkerPart:
        """What does the units."""
        return WorkerPart(Reproduction(self.vlm, self.source, self.job.experiment, run))


@dataclass(frozen=True)
class WorkerPart:
    """A worker's part in an experiment."""

    reproduction: Reproduction

    @property
    def run(self) -> Run:
        """The run directory."""
        return self.reproduction.run

    def rows(self, unit: Unit) -> Mapping[str, Rows]:
        """Do a unit."""
        return {unit.kind: self.reproduction.rows(unit)}

    def tally(self) -> Mapping[str, float]:
        """Captions and near ties so far."""
        return self.reproduction.ties.tally()

    def dataset(self) -> None:
        """Build the data set, unless it is there, and prove that it can be captioned.

        Raises InvalidSample when samples are lacking, or an image's caption does not name its concept.
        """
        prepare(self.reproduction)
        _ = self.reproduction.captioner

    def results(self) -> Results:
        """What the tables are made of, from units that are done."""
        return collect(self.reproduction)


class Cluster:
    """An :class:`~neuronscope.studies.reproduce.engine.Executor` on Ray.

    Args:
        job: what to do; sent to the workers, which load model and data from its paths.
        folder: the run directory.
        resources: where.
        say: told what a person should know, such as a worker that died; one line at a time.
        worker: what the actors are.

    Raises TooFewSamples, before any worker is started, where data that are seen from here cannot be enough.
    """

    def __init__(
        self,
        job: ReproductionJob,
        folder: str | Path,
        resources: Resources | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
        worker: type[Worker] = Worker,
    ) -> None:
        self._job = job
        if (job.place / job.data).exists():  # else only the workers see the data, and one of them says it
            job.require_candidates()
        self.crew = Crew(Reproducing(job), folder, resources, say=say, worker=worker)

    @property
    def run(self) -> Run:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`. Raises RunMismatch before `prepare`."""
        return self.crew.run

    def prepare(self, step: Step) -> None:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`; the data set is built by one worker."""
        step("starting workers")
        self.crew.start()
        step("building the data set")
        self.crew.ask("dataset", [DATASET.name] if DATASET.done(self.run) else [], [DATASET.name])

    def left(self) -> int:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`."""
        return len(self._left())

    def cost(self) -> Cost:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`; the time shows while it runs."""
        return Cost.of(self._job.experiment, len(self._samples()), self._left())

    def work(self, step: Step) -> Sequence[Failure]:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`; `step` is told of every unit when it is done."""
        return self.crew.work(self._units(), step)

    def results(self) -> Results:
        """See :class:`~neuronscope.studies.reproduce.engine.Executor`; put together by a worker."""
        found: Results = self.crew.ask("results", [one.name for one in (DATASET, *self._units()) if one.done(self.run)])
        return replace(found, environments=self.run.record.environments)

    def close(self) -> None:
        """End the workers, and a cluster of our own. What is finished stays."""
        self.crew.close()

    def _samples(self) -> list[tuple[str, str]]:
        return read_named(self.run, self._job.experiment.concepts)

    def _units(self) -> list[Unit]:
        return list(units(self._job.experiment, self._samples()))

    def _left(self) -> list[Unit]:
        return [unit for unit in self._units() if not unit.done(self.run)]

"""Engines: who does the units of an experiment. The local one does them in this process; cluster.py has another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ...cluster.schedule import Failure
from ...loading import VLM
from ...run.directory import Run
from .collect import collect, collect_samples
from .conditions import TooFewSamples
from .job import ReproductionJob
from .opening import open_run
from .results import Results
from .tables import render
from .units import Cost
from .work import Reproduction

Step = Callable[[str], None]


class Executor(Protocol):
    """Carries out an experiment in a run directory. To be called in the order of its methods, close in any case."""

    def prepare(self, step: Step) -> None:
        """Open the run and build the data set, unless that is done.

        Raises RunMismatch when the directory holds another run, and InvalidSample when there are too few samples.
        """
        ...

    @property
    def run(self) -> Run:
        """The run directory."""
        ...

    def left(self) -> int:
        """How many units are not done."""
        ...

    def cost(self) -> Cost:
        """What these take."""
        ...

    def work(self, step: Step) -> Sequence[Failure]:
        """Do them; those that could not be done are returned. `step` is told of every one."""
        ...

    def results(self) -> Results:
        """What is finished, for the tables."""
        ...

    def close(self) -> None:
        """Let go of everything but the run directory."""
        ...


class Local:
    """In this process; further ones may be started on the same directory.

    Units whose numbers are not finite are given up, any other error ends the work.

    Args:
        job: what to do.
        folder: the run directory.
        vlm: the model, loaded.
    """

    def __init__(self, job: ReproductionJob, folder: str | Path, vlm: VLM) -> None:
        source = job.source()
        self.run = open_run(folder, vlm, source.identity(), job.experiment)
        self._work = Reproduction(vlm, source, job.experiment, self.run)

    def prepare(self, step: Step) -> None:
        """See :class:`Executor`."""
        self._work.step = step
        prepare(self._work)

    def left(self) -> int:
        """See :class:`Executor`."""
        return self._work.left()

    def cost(self) -> Cost:
        """See :class:`Executor`; with the time, measured on one unit."""
        return self._work.cost()

    def work(self, step: Step) -> Sequence[Failure]:
        """See :class:`Executor`. Raises the error of the first unit that fails for another reason than its numbers."""
        self._work.step = step
        return self._work.work()

    def results(self) -> Results:
        """See :class:`Executor`."""
        return collect(self._work)

    def close(self) -> None:
        """See :class:`Executor`."""


def prepare(work: Reproduction) -> None:
    """Build the data set; where concepts have too few samples the tables say so, which makes the run readable.

    Raises TooFewSamples.
    """
    try:
        _ = work.samples
    except TooFewSamples:
        render(collect_samples(work), work.run.folder)
        raise

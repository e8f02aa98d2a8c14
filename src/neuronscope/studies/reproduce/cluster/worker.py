"""One process of a cluster that does units of an experiment, with one model. Nothing here knows what drives it.

A worker learns what to do from a :class:`Job`, which names model and data and holds neither. It writes into the run
directory where that is shared, which it proves by reading a file that the driver has just put there; elsewhere it works
in a directory of its own, is given the parts that a unit needs, and hands back those it makes. Both are the same parts,
byte for byte.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ....errors import InvalidOption, RunMismatch
from ....files import temporary_folder
from ....loading import VLM
from ....run.directory import Run
from ....run.settings import environment
from ....samples import CocoFolder
from ....types import Json
from ..collect import collect
from ..engine import prepare
from ..job import Job
from ..opening import run_settings
from ..results import Results
from ..units import DATASET, SCHEMAS, Name, Unit
from ..work import Reproduction
from .resources import Storage

#: Seconds to wait for what is done; longer than a network file system hides a new file.
PATIENCE = 60.0


@dataclass(frozen=True)
class Hello:
    """Who a worker is.

    Attributes:
        settings: of the run that it could take part in: it has loaded the model and knows its fingerprint.
        environment: versions and machine.
        machine, pid: to tell it from others.
    """

    settings: Mapping[str, Json]
    environment: Mapping[str, Json]
    machine: str
    pid: int

    def __str__(self) -> str:
        return f"{self.pid} on {self.machine}"


@dataclass(frozen=True)
class Probe:
    """A file that the driver has put into the run directory, and what is in it."""

    path: Path
    token: str

    def seen(self) -> bool:
        """Whether this process sees the same file."""
        try:
            return self.path.read_text(encoding="ascii") == self.token
        except OSError:
            return False


@dataclass(frozen=True)
class Part:
    """The content of a part on its way from one directory to another."""

    name: Name
    data: bytes


@dataclass(frozen=True)
class Done:
    """What became of a unit.

    Attributes:
        seconds: it took.
        data: the part, where the run directory is not shared.
        reason: why it failed; empty when it did not.
    """

    seconds: float
    data: bytes | None = None
    reason: str = ""


class NotJoined(Exception):
    """A worker was asked for work that has not joined a run: it died while idle, and Ray has started it anew."""


class Worker:
    """Does units; to be called in the order hello, join, and then anything. Calls before `join` raise NotJoined.

    Args:
        job: what to take part in.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._joined: Reproduction | None = None
        if job.place.is_dir():  # relative paths mean the same as for the driver, and stand in the results as given
            os.chdir(job.place)

    @cached_property
    def _vlm(self) -> VLM:
        return self._job.load()

    @property
    def _work(self) -> Reproduction:
        if self._joined is None:
            raise NotJoined("it was started anew and has not joined the run")
        return self._joined

    @cached_property
    def _source(self) -> CocoFolder:
        return self._job.source()

    def hello(self) -> Hello:
        """Load the model and say who this is. Raises what loading raises."""
        settings = run_settings(self._vlm, self._source.identity(), self._job.experiment)
        return Hello(settings, environment(), platform.node(), os.getpid())

    def join(self, folder: Path, probe: Probe, storage: Storage) -> bool:
        """Take part in a run; whether its directory is shared with this worker.

        Raises InvalidOption when it has to be shared and is not, and RunMismatch when it is another run's.
        """
        self._shared = storage != "driver" and probe.seen()
        if storage == "shared" and not self._shared:
            raise InvalidOption(
                f"storage='shared': {platform.node()} does not see {probe.path}; put the run directory on a file "
                "system that all machines share, or choose storage 'driver'"
            )
        if not self._shared:
            self._own = temporary_folder("neuronscope-worker")
        place = folder if self._shared else Path(self._own.name)
        settings = run_settings(self._vlm, self._source.identity(), self._job.experiment)
        run = Run.open(place, settings, schemas=SCHEMAS)
        self._joined = Reproduction(self._vlm, self._source, self._job.experiment, run)
        return self._shared

    def dataset(self, parts: Sequence[Part]) -> bytes | None:
        """Build the data set, unless it is there, and prove that it can be captioned.

        Returns the part where the run directory is not shared. Raises InvalidSample when samples are lacking, or an
        image's caption does not name its concept.
        """
        self._adopt(parts)
        prepare(self._work)
        _ = self._work.captioner
        return None if self._shared else self._work.run.export(DATASET.kind, DATASET.key)

    def work(self, units: Sequence[Unit], parts: Sequence[Part]) -> Generator[Done | None]:
        """Do some units, one after another; of each it is told that it is begun (None) and what became of it.

        Raises InvalidOption when a result cannot be written, as on a full disk.
        """
        self._adopt(parts)
        for unit in units:
            yield None
            yield self._do(unit)

    def results(self, parts: Sequence[Part], names: Sequence[Name]) -> Results:
        """What the tables are made of, from units that are done."""
        self._adopt(parts)
        self._await(names)
        return collect(self._work)

    def leave(self) -> None:
        """Remove what it keeps on its machine; nothing can be asked of it afterwards."""
        if self._joined is not None and not self._shared:
            self._own.cleanup()

    def rows(self, unit: Unit) -> Sequence[Mapping[str, object]]:
        """Do one unit."""
        return self._work.rows(unit)

    def _do(self, unit: Unit) -> Done:
        run = self._work.run
        begun = time.perf_counter()
        if not run.done(unit.kind, unit.key):
            try:
                self._await((DATASET.name, *unit.needs))
                rows = self.rows(unit)
            except Exception as error:  # of whatever kind: it is reported, and the driver decides
                return Done(time.perf_counter() - begun, reason=f"{type(error).__name__}: {error}")
            run.write(unit.kind, unit.key, rows)
        data = None if self._shared else run.export(unit.kind, unit.key)
        return Done(time.perf_counter() - begun, data)

    def _await(self, names: Sequence[Name]) -> None:
        """Wait until what another machine has written can be seen here. Raises RunMismatch when it never can."""
        end = time.monotonic() + PATIENCE
        run = self._work.run
        while lacking := [name for name in names if not run.done(name.kind, name.key)]:
            if time.monotonic() > end:
                name = lacking[0]
                raise RunMismatch(f"{name.kind} {dict(name.key)} is done and cannot be seen in {run.folder}")
            time.sleep(0.2)

    def _adopt(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._work.run.adopt(part.name.kind, part.name.key, part.data)

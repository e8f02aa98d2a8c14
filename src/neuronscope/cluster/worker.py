"""One process of a cluster that does units of a task, with one model. Nothing here knows what drives it.

A worker learns what to do from a :class:`~neuronscope.cluster.task.Task`, which names model and data and holds neither.
It writes into the run directory where that is shared, which it proves by reading a file that the driver has just put
there; elsewhere it works in a directory of its own, is given the parts that a unit needs, and hands back those it
makes. Both are the same parts, byte for byte.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from ..errors import InvalidOption, RunMismatch
from ..files import temporary_folder
from ..run.directory import Run
from ..run.settings import environment
from ..run.tallies import new_process
from .messages import Answer, Done, Hello, NotJoined, Part, Probe
from .resources import Storage
from .task import Loaded, Rows, Task, Work, keep
from .units import Name, Unit

#: Seconds to wait for what is done; longer than a network file system hides a new file.
PATIENCE = 60.0


class Worker:
    """Does units; to be called in the order hello, join, and then anything. Calls before `join` raise NotJoined.

    It is made without arguments: Ray starts it anew at any time, when what it was made with may be gone.
    """

    def __init__(self) -> None:
        self._ready: Loaded | None = None
        self._joined: Work | None = None
        self._process = new_process()

    @property
    def _work(self) -> Work:
        if self._joined is None:
            raise NotJoined("it was started anew and has not joined the run")
        return self._joined

    def hello(self, task: Task) -> Hello:
        """Load the model of a task and say who this is. Raises what loading raises."""
        if task.place.is_dir():  # relative paths mean the same as for the driver, and stand in the results as given
            os.chdir(task.place)
        self._task = task
        if self._ready is None:  # it may only have been out of reach for a while
            self._ready = task.loaded()
        return Hello(self._ready.settings, environment(), platform.node(), os.getpid(), self._process)

    def join(self, folder: Path, probe: Probe, storage: Storage) -> bool:
        """Take part in a run; whether its directory is shared with this worker.

        Raises InvalidOption when it has to be shared and is not, and RunMismatch when it is another run's.
        """
        if self._ready is None:
            raise NotJoined("it was started anew and has not loaded the model")
        self._shared = storage != "driver" and probe.seen()
        if storage == "shared" and not self._shared:
            raise InvalidOption(
                f"storage='shared': {platform.node()} does not see {probe.path}; put the run directory on a file "
                "system that all machines share, or choose storage 'driver'"
            )
        if not self._shared:
            self._own = temporary_folder("neuronscope-worker")
        place = folder if self._shared else Path(self._own.name)
        self._joined = self._ready.work(Run.open(place, self._ready.settings, schemas=self._task.schemas))
        return self._shared

    def ask(self, what: str, parts: Sequence[Part], names: Sequence[Name], makes: Sequence[Name]) -> Answer:
        """Call a method of the task's work by its name.

        Args:
            what: the method.
            parts: some of those it reads, where the run directory is not shared.
            names: all of those it reads; they are waited for.
            makes: those that are there when it returns.

        Raises what the method raises.
        """
        self._adopt(parts)
        self._await(names)
        said = getattr(self._work, what)()
        return Answer(said, self._made(makes), self._work.tally())

    def work(self, units: Sequence[Unit], parts: Sequence[Part]) -> Generator[Done | None]:
        """Do some units, one after another; of each it is told that it is begun (None) and what became of it.

        Raises InvalidOption when a result cannot be written, as on a full disk.
        """
        self._adopt(parts)
        for unit in units:
            yield None
            yield self._do(unit)

    def leave(self) -> None:
        """Remove what it keeps on its machine; nothing can be asked of it afterwards."""
        if self._joined is not None and not self._shared:
            self._own.cleanup()

    def rows(self, unit: Unit) -> Mapping[str, Rows]:
        """Do one unit."""
        return self._work.rows(unit)

    def _do(self, unit: Unit) -> Done:
        run = self._work.run
        begun = time.perf_counter()
        if not unit.done(run):
            try:
                self._await((*self._task.reads, *unit.needs))
                rows = self.rows(unit)
            except Exception as error:  # of whatever kind: it is reported, and the driver decides
                return Done(time.perf_counter() - begun, reason=f"{type(error).__name__}: {error}")
            keep(run, unit, rows)
        return Done(time.perf_counter() - begun, self._made(unit.parts), tally=self._work.tally())

    def _made(self, names: Sequence[Name]) -> tuple[Part, ...]:
        """Parts that the driver has to write."""
        return () if self._shared else tuple(Part(one, self._work.run.export(one.kind, one.key)) for one in names)

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

"""A Ray cluster that shares a task: one model per actor, units handed out by the driver, which needs no model itself.

The driver keeps the schedule (schedule.py) and at most one group of units with each worker, so that a slow driver holds
the workers up instead of being flooded. Workers (worker.py) stream back one report per unit: what is done is known, and
without shared storage written, at once. Ray restarts an actor whose process or node has died as soon as there is room;
until it says hello again, its units are with the others. An actor that cannot find room waits and harms nobody, so that
nodes may join and leave at any time.

Nothing is claimed in the run directory (claims.py): the driver alone decides who does what. A second driver on the same
directory would do the same units again, and the first finished part of each would stay.
"""

# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false, reportMissingTypeArgument=false
# ray's types do not cover actors.

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NeuronscopeError, RunMismatch
from ..files import refusing
from ..run.claims import Owner
from ..run.directory import Run
from ..run.settings import differences
from ..run.tallies import write_tally
from .messages import Answer, Done, Hello, NotJoined, Part, Probe
from .resources import ClusterFailed, Resources, connected, line_of
from .schedule import Failure, Schedule
from .task import Task
from .units import Name, Unit
from .worker import PATIENCE, Worker

_TRIES = 3  # workers that may die in turn of one call
_STARTS = 7  # deaths of a worker before it is ready, after which it is given up
_LOOK = 0.5  # seconds between looks at a slow file system
_LEAVE = 10.0  # seconds that workers have to tidy up
_QUIET = 60.0  # seconds without any worker after which the driver says what it is waiting for


@dataclass(eq=False)
class _Member:
    """A worker as the driver sees it.

    Attributes:
        actor: Ray's handle.
        hello: who it is, since it is up.
        shared: whether it sees the run directory.
        has: the parts that its own directory holds, where it does not.
        group: the units it has been given and of which it has not told the end.
        begun: whether it has told the beginning of the first of them.
        deaths: since it was ready.
    """

    actor: Any
    hello: Hello | None = None
    shared: bool = False
    has: set[Name] = field(default_factory=set[Name])
    group: list[Unit] = field(default_factory=list[Unit])
    begun: bool = False
    deaths: int = 0


class Crew:
    """The workers of a cluster that share a task.

    Args:
        task: what to do; sent to the workers, which load model and data from what it names.
        folder: the run directory.
        resources: where.
        say: told what a person should know, such as a worker that died; one line at a time.
        worker: what the actors are.
    """

    def __init__(
        self,
        task: Task,
        folder: str | Path,
        resources: Resources | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
        worker: type[Worker] = Worker,
    ) -> None:
        self._task, self._folder, self._say, self._worker = task, Path(folder).resolve(), say, worker
        self._resources = resources or Resources()
        self._ray, self._ours = connected(self._resources.address, say)
        self._run: Run | None = None
        self._sent: Any = None  # the task in Ray's store, once for all workers
        self._members: list[_Member] = []
        self._idle: list[_Member] = []
        self._events: dict[Any, tuple[_Member, Callable[[_Member, Any], None]]] = {}
        self._probe: Probe | None = None
        self._schedule, self._step = Schedule((), lambda _: True), _silent
        self._later: list[tuple[float, _Member]] = []
        self._last, self._heard = "none has started", time.monotonic()

    @property
    def run(self) -> Run:
        """The run directory. Raises RunMismatch before `start`."""
        if self._run is None:
            raise RunMismatch(f"{self._folder} is not open: no worker has told the model's fingerprint yet")
        return self._run

    @property
    def workers(self) -> tuple[Hello, ...]:
        """Those that are up."""
        return tuple(member.hello for member in self._members if member.hello is not None)

    def start(self) -> None:
        """Start the workers; the first one that is up has opened the run when this returns.

        Raises InvalidOption where there is no room for one, and RunMismatch when the directory holds another run.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        count, gpus = self._resources.on(nodes)
        actors = self._ray.remote(self._worker).options(
            num_cpus=self._resources.cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._members = [_Member(actors.remote()) for _ in range(count)]
        for member in self._members:
            self._greet(member)
        while not self._idle:
            self._turn()

    def ask(self, what: str, reads: Sequence[Name] = (), makes: Sequence[Name] = ()) -> Any:
        """What one worker says when a method of the task's work is called; another is asked when it dies.

        Args:
            what: the method.
            reads: parts that it reads.
            makes: parts that are there afterwards.

        Raises what the method raises, and ClusterFailed where workers die of it one after the other.
        """
        for _ in range(_TRIES):
            while not self._idle:
                self._turn()
            member = self._idle.pop(0)
            with self._heeding(member):
                given = self._parts(member, reads)
                answer: Answer = self._ray.get(member.actor.ask.remote(what, given, reads, makes))
                self._idle.append(member)
                self._take(member, answer)
                return answer.said
        raise ClusterFailed(f"{_TRIES} workers in turn died of {what!r}; the last one: {self._last}")

    def work(self, units: Iterable[Unit], step: Callable[[str], None]) -> Sequence[Failure]:
        """Do the units that are left; those that could not be done are returned. `step` is told of every one."""
        self._schedule, self._step = Schedule(units, lambda unit: unit.done(self.run)), step
        while self._schedule.waiting or any(member.group for member in self._members):
            while self._idle and self._schedule.waiting:
                self._give(self._idle.pop(0))
            self._turn()
        self._check()
        return self._schedule.failures

    def close(self) -> None:
        """End the workers, and a cluster of our own. What is finished stays."""
        if self._probe is not None:
            self._probe.path.unlink(missing_ok=True)
        leaving = [member.actor.leave.remote() for member in self._idle]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE)
        for member in self._members:
            self._ray.kill(member.actor)
        self._members, self._idle, self._events, self._later = [], [], {}, []
        if self._ours:
            self._ray.shutdown()

    def _check(self) -> None:
        """Prove that what was reported as done is there; a network file system may take a while to show it."""
        end = time.monotonic() + PATIENCE
        while lacking := [unit for unit in self._schedule.reported if not unit.done(self.run)]:
            if time.monotonic() > end:
                raise ClusterFailed(
                    f"{len(lacking)} units, the first {lacking[0]}, were done by workers and are not in {self._folder}"
                )
            time.sleep(_LOOK)

    # ---- workers come and go

    def _greet(self, member: _Member) -> None:
        """Ask a worker that starts to say when its model is loaded."""
        if self._sent is None:
            self._sent = self._ray.put(self._task)
        self._events[member.actor.hello.remote(self._sent)] = (member, self._greeted)

    def _greeted(self, member: _Member, event: Any) -> None:
        hello: Hello = self._ray.get(event)
        self._open(hello)
        if self._probe is None:
            token = uuid.uuid4().hex
            self._probe = Probe(self._folder / "temporary" / f"{Owner.here()}.{token[:8]}.probe", token)
            with refusing(self._probe.path):
                self._probe.path.write_text(token, encoding="ascii")
        member.hello = hello
        joining = member.actor.join.remote(self._folder, self._probe, self._resources.storage)
        self._events[joining] = (member, self._joined)

    def _open(self, hello: Hello) -> None:
        """Open the run with the settings of the first worker; all others must have the same."""
        if self._run is None:
            self._run = Run.open(self._folder, hello.settings, schemas=self._task.schemas)
        unlike = differences(self._run.settings, hello.settings)
        if unlike:
            raise RunMismatch(
                f"a worker on {hello.machine} would do other work than {self._folder / 'run.json'} says: "
                f"{'; '.join(unlike)}. All machines need the same model and data"
            )
        self._run.see(hello.environment)

    def _joined(self, member: _Member, event: Any) -> None:
        member.shared = self._ray.get(event)
        member.deaths = 0
        self._idle.append(member)

    def _lost(self, member: _Member, error: Exception) -> None:
        """A worker's process or node has died: others get its units, and it is greeted again when Ray has it up."""
        self._last = line_of(error)
        self._say(f"worker {member.hello} died: {self._last}" if member.hello else f"a worker is not up: {self._last}")
        self._events = {event: pair for event, pair in self._events.items() if pair[0] is not member}
        self._idle = [one for one in self._idle if one is not member]
        begun = member.group[: int(member.begun)]
        for unit in begun:  # a unit that workers die of must not go round for ever
            self._schedule.failed(unit, f"its worker died: {self._last}")
        self._schedule.returned(member.group[len(begun) :])
        member.hello, member.group, member.begun, member.has = None, [], False, set()
        member.deaths += 1
        if member.deaths < _STARTS:  # until Ray knows that a node is gone, its actors cannot even be waited for
            pause = 2.0 ** (member.deaths - 2) if member.deaths > 1 else 0.0
            self._later.append((time.monotonic() + pause, member))
            return
        self._members.remove(member)
        self._ray.kill(member.actor)
        if not self._members:
            raise ClusterFailed(f"all workers died {_STARTS} times before they were ready; the last one: {self._last}")

    def _turn(self) -> None:
        """Wait until something has happened, and deal with it."""
        now = time.monotonic()
        for _, member in [(at, member) for at, member in self._later if at <= now]:
            self._greet(member)
        self._later = [(at, member) for at, member in self._later if at > now]
        pause = min([at - now for at, _ in self._later], default=_QUIET)
        if not self._events:
            time.sleep(pause)
            return
        ready, _ = self._ray.wait(list(self._events), num_returns=1, timeout=min(pause, _QUIET))
        if ready:
            self._heard = now
            member, then = self._events.pop(ready[0])
            with self._heeding(member):
                then(member, ready[0])
        elif not self.workers and now - self._heard > _QUIET:
            self._heard = now
            self._say(f"no worker is up: waiting for room in the cluster (last: {self._last})")

    @contextmanager
    def _heeding(self, member: _Member) -> Generator[None]:
        """Around calls of a worker: its death is dealt with, and an error of its own is raised as what it is."""
        from ray.exceptions import RayError, RayTaskError

        try:
            yield
        except RayTaskError as error:
            if isinstance(error.cause, NeuronscopeError):
                raise error.cause from None
            if member.hello is not None and not isinstance(error.cause, NotJoined):
                raise  # a defect: with the worker's traceback
            self._lost(member, error)  # no room for the model, for example: its machine may be unlike the others
        except RayError as error:
            self._lost(member, error)

    # ---- calls

    def _parts(self, member: _Member, names: Iterable[Name]) -> list[Part]:
        """What a worker without the run directory lacks of some parts."""
        if member.shared:
            return []
        lacking = [name for name in dict.fromkeys(names) if name not in member.has]
        member.has.update(lacking)
        return [Part(name, self.run.export(name.kind, name.key)) for name in lacking]

    def _give(self, member: _Member) -> None:
        """Hand a group of units to an idle worker."""
        member.group = self._schedule.take(len(self.workers))
        needs = [name for unit in member.group for name in (*self._task.reads, *unit.needs)]
        calling = member.actor.work.options(num_returns="streaming")
        self._events[calling.remote(member.group, self._parts(member, needs))] = (member, self._reported)

    def _reported(self, member: _Member, stream: Any) -> None:
        """Take the next report of a worker: two for each unit of its group, and then the end."""
        try:
            done: Done | None = self._ray.get(next(stream))
        except StopIteration:
            self._idle.append(member)
            return
        self._events[stream] = (member, self._reported)
        member.begun = done is None
        if done is None:
            return
        unit = member.group.pop(0)
        if done.reason:
            self._say(f"{unit} failed: {done.reason}")
            self._schedule.failed(unit, done.reason)
            return
        self._take(member, done)
        self._schedule.finished(unit, done.seconds)
        self._step(self._told(unit))

    def _take(self, member: _Member, sent: Done | Answer) -> None:
        """Write what a worker has sent along."""
        for part in sent.parts:
            self.run.adopt(part.name.kind, part.name.key, part.data)
            member.has.add(part.name)
        if member.hello is not None:
            write_tally(self.run.folder, member.hello.process, sent.tally)

    def _told(self, unit: Unit) -> str:
        seconds, workers = self._schedule.seconds_left(len(self.workers)), len(self.workers)
        duration = "" if seconds is None or seconds < 60 else f", about {seconds / 60:.0f} min"
        return f"{unit} ({len(self._schedule.left)} units left, {workers} workers{duration})"


def _silent(_: str) -> None:
    """Tell nobody."""

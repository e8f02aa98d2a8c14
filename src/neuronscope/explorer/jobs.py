"""One job per model at a time, first come first served, in a queue that everybody can see, and a way out in mid-run.

A model is one: two jobs at once would see each other's hooks. A :class:`Desk` belongs to one model and owns the only
thread that uses it. Jobs wait in order; each knows how many are ahead of it.

A job is cancelled where the model next passes its last decoder layer: a tap there raises, and everything that was put
into the model is taken out by the library's own context managers on the way up, as after any other exception.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from ..errors import InvalidOption, NeuronscopeError
from ..hooks import HookSession, Tap
from ..loading import VLM

if TYPE_CHECKING:
    from torch import Tensor


T = TypeVar("T")
Status: TypeAlias = Literal["waiting", "running", "done", "refused", "failed", "cancelled"]

#: Jobs that may wait at one desk.
LONGEST = 20

_log = logging.getLogger(__name__)


class Cancelled(BaseException):
    """Raised inside a job that was cancelled. Not an Exception, so that nothing on the way up takes it for an error."""


class Job(Generic[T]):
    """Some work for a model, from the moment it is handed in.

    Attributes:
        name: in words, such as "locating neurons of bear".
        status: where it is. "refused" is an error of the library, which has something to say to the user.
        stage: what it is doing.
        passes: how often the model's decoder has run in this stage.
        result: what the work returned, once done.
        error: why it was refused or failed.
        shown: what the work has to show so far.
    """

    def __init__(self, desk: Desk, name: str, work: Callable[[Job[T]], T]) -> None:
        self.name = name
        self.status: Status = "waiting"
        self.stage = name
        self.passes = 0
        self.result: T | None = None
        self.error: Exception | None = None
        self.shown: Any = None
        self._desk = desk
        self._work = work
        self._cancelled = threading.Event()
        self._times = [time.monotonic()]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status not in ("waiting", "running")

    @property
    def ahead(self) -> int:
        """How many jobs the desk does first."""
        return self._desk.ahead(self)

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return (self._times[2] if len(self._times) > 2 else time.monotonic()) - self._times[
            min(1, len(self._times) - 1)
        ]

    def cancel(self) -> None:
        """Ask it to stop: at once where it waits, at the model's next pass where it runs."""
        self._cancelled.set()
        self._desk.drop(self)

    def check(self) -> None:
        """Raise Cancelled where it was cancelled. The desk asks at every pass of the model; long work asks between."""
        if self._cancelled.is_set():
            raise Cancelled

    def step(self, stage: str, shown: Any = None) -> None:
        """Say what is done now, and what there is to show."""
        self.check()
        self.stage, self.passes = stage, 0
        if shown is not None:
            self.shown = shown
        self._desk.tell()

    def wait(self, seconds: float | None = None) -> Job[T]:
        """Wait until it is over, at most so long."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.over and (end is None or time.monotonic() < end):
            self._desk.watch(0.5 if end is None else min(0.5, max(0.01, end - time.monotonic())))
        return self

    def begin(self) -> None:
        """For the desk: it is this job's turn."""
        self.status = "running"
        self._times.append(time.monotonic())

    def end(self, status: Status, error: Exception | None = None) -> None:
        """For the desk: it is over."""
        self.error = error
        self._times += [time.monotonic()] * (3 - len(self._times))
        self.status = status

    def run(self) -> None:
        """For the desk: do the work in this thread."""
        try:
            self.check()
            self.result = self._work(self)
        except Cancelled:
            self.end("cancelled")
        except NeuronscopeError as error:
            self.end("refused", error)
        except Exception as error:  # shown to the user and logged: the desk has to go on with the next job
            _log.exception("%s failed", self.name)
            self.end("failed", error)
        else:
            self.end("done")


class Desk:
    """The queue of one model. Closing it cancels what is left."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm
        self._queue: list[Job[Any]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="neuronscope-desk", daemon=True)
        self._thread.start()

    def submit(self, name: str, work: Callable[[Job[T]], T], shown: Any = None) -> Job[T]:
        """Queue some work; `shown` is there to show at once.

        Raises InvalidOption where too many jobs wait, or the desk is closed.
        """
        job = Job(self, name, work)
        job.shown = shown
        with self._changed:
            if self._closed:
                raise InvalidOption("the explorer is shutting down")
            if len(self._queue) >= LONGEST:
                raise InvalidOption(f"{len(self._queue)} jobs wait for this model already; try again in a moment")
            self._queue.append(job)
            self._changed.notify_all()
        return job

    def ahead(self, job: Job[Any]) -> int:
        """How many jobs come before this one; 0 where it is running or over."""
        with self._changed:
            return self._queue.index(job) if job in self._queue else 0

    def drop(self, job: Job[Any]) -> None:
        """Take a waiting job out of the queue."""
        with self._changed:
            if job.status == "waiting" and job in self._queue:
                self._queue.remove(job)
                job.end("cancelled")
            self._changed.notify_all()

    def tell(self) -> None:
        """Wake everybody who watches."""
        with self._changed:
            self._changed.notify_all()

    def watch(self, seconds: float) -> None:
        """Sleep until something happens at this desk, at most so long."""
        with self._changed:
            self._changed.wait(seconds)

    def close(self) -> None:
        """Cancel everything and let the thread end."""
        with self._changed:
            self._closed = True
            left = list(self._queue)
            self._changed.notify_all()
        for job in left:
            job.cancel()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                job = self._queue[0]
                job.begin()
                self._changed.notify_all()
            with HookSession(self.vlm.structure, [self._tap(job)], must_fire=False):
                job.run()
            with self._changed:
                self._queue.remove(job)
                self._changed.notify_all()

    def _tap(self, job: Job[Any]) -> Tap:
        def passed(_z: Tensor) -> None:
            job.passes += 1
            job.check()

        return Tap(self.vlm.structure.studied[-1], "neuron", passed)

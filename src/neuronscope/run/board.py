"""A run as curves: what `--log` of a verb writes while the work goes on.

Curves are read from the run directory, so that what other processes and machines finish is in them, and a run that is
gone on with continues its own. A point's step is how many units of the run are done.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from .directory import Run
from .writers import Writer

EVERY = 10.0  # seconds


class Board(ABC):
    """What is written about a run.

    Args:
        run: the directory.
        writer: where points go.
        every: seconds between two looks at the directory.
        clock: tells them.
    """

    def __init__(
        self, run: Run, writer: Writer, *, every: float = EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run, self._writer = run, writer
        self._every, self._clock = every, clock
        self._next = clock()
        self._at = -1

    @abstractmethod
    def done(self) -> int:
        """Units that are finished."""

    @abstractmethod
    def curves(self) -> Mapping[str, float]:
        """Name of every curve beside the units -> its value now. Reads what is new in the directory."""

    def step(self, _: str = "") -> None:
        """To be called at every unit; looks at the directory now and then."""
        if self._clock() >= self._next:
            self.update()
            self._next = self._clock() + self._every

    def update(self) -> None:
        """Write a point of every curve, where units were finished since the last.

        Raises RunMismatch where the directory cannot be read.
        """
        found, done = self.curves(), self.done()
        if done == self._at:
            return
        self._at = done
        for name, value in {"units": done, **found}.items():
            self._writer.add_scalar(name, value, done)


@contextmanager
def keeping(board: Board | None, step: Callable[[str], None]) -> Generator[Callable[[str], None]]:
    """`step`, which also keeps a board where there is one; the last points are written at the end."""
    if board is None:
        yield step
        return

    def both(description: str) -> None:
        step(description)
        board.step()

    try:
        yield both
    finally:
        board.update()

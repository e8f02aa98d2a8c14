"""Which unit is next when many workers do them: order, groups, and what becomes of failures. It knows no cluster.

A unit is ready when all it needs is done. Ready units are handed out in their order, several together where they are
small: a group should take `target` seconds, judged by what units of the same kind took, and no worker gets more than
its share of what is ready. A unit that failed is tried again after all others that are ready, three times in all; what
needs it is then left out, and everything else is done.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import NeuronscopeError
from .units import Name, Unit

ATTEMPTS = 3
TARGET = 5.0

_SHOWN = 20  # failures that are named


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done.

    Attributes:
        unit: which.
        reason: of the last attempt.
        attempts: how many there were.
        left_out: how many units need it and were not tried for that.
    """

    unit: Unit
    reason: str
    attempts: int
    left_out: int = 0

    def __str__(self) -> str:
        sample = f" (sample {self.unit.key['image']})" if "image" in self.unit.key else ""
        without = f"; {self.left_out} units that need it were left out" if self.left_out else ""
        return f"{self.unit}{sample} failed {self.attempts} times: {self.reason}{without}"


class UnitsFailed(NeuronscopeError):
    """Some units could not be done; all others are, and the next start tries these again."""

    @classmethod
    def of(cls, failures: Sequence[Failure], so: str) -> UnitsFailed:
        """With the first failures, and what comes of them."""
        lines = [str(failure) for failure in failures[:_SHOWN]]
        if len(failures) > _SHOWN:
            lines.append(f"... and {len(failures) - _SHOWN} more")
        return cls(
            f"{len(failures)} units failed; everything that does not need them is done, and {so}. "
            f"The same command tries them again: {'; '.join(lines)}"
        )


class Schedule:
    """The units of a task on their way.

    Args:
        units: all of them, in the order in which they should be done.
        done: tells those that are done already.
        attempts: how often a unit is tried.
        target: seconds that a group should take.
    """

    def __init__(
        self,
        units: Iterable[Unit],
        done: Callable[[Unit], bool],
        *,
        attempts: int = ATTEMPTS,
        target: float = TARGET,
    ) -> None:
        every = list(units)
        self._units = {unit.name: unit for unit in every}
        self._order = {name: number for number, name in enumerate(self._units)}
        self._attempts, self._target = attempts, target
        self._open = {unit.name for unit in every if not done(unit)}
        self._reported: list[Unit] = []
        self._tried: dict[Name, list[str]] = {}
        self._failed: set[Name] = set()
        self._took: dict[str, tuple[float, int]] = {}
        self._lacks = {name: {need for need in self._units[name].needs if need in self._open} for name in self._open}
        self._needed_by: dict[Name, list[Name]] = {}
        for name, lacking in self._lacks.items():
            for need in lacking:
                self._needed_by.setdefault(need, []).append(name)
        self._ready = [(0, self._order[name], name) for name in self._open if not self._lacks[name]]
        heapq.heapify(self._ready)

    @property
    def left(self) -> tuple[Unit, ...]:
        """The units that are not done and can still be, in order: neither given up nor in need of one that is."""
        lost = self._failed.union(*(self._after(name) for name in self._failed))
        return tuple(self._units[name] for name in sorted(self._open - lost, key=self._order.__getitem__))

    @property
    def reported(self) -> tuple[Unit, ...]:
        """The units that :meth:`finished` was told of."""
        return tuple(self._reported)

    @property
    def waiting(self) -> bool:
        """Whether a unit could be handed out now."""
        return bool(self._ready)

    def take(self, workers: int) -> list[Unit]:
        """The next group for one of so many workers; empty when nothing is ready."""
        share = max(1, len(self._ready) // (2 * workers))
        group: list[Unit] = []
        seconds = 0.0
        while self._ready and len(group) < share and seconds < self._target:
            each = self._seconds(self._units[self._ready[0][2]].kind)
            if group and (each is None or seconds + each > self._target):
                break
            group.append(self._units[heapq.heappop(self._ready)[2]])
            seconds += self._target if each is None else each  # a kind that is not known yet is tried alone
        return group

    def finished(self, unit: Unit, seconds: float) -> None:
        """A unit is done, and took so long."""
        name = unit.name
        if name not in self._open:
            return
        total, count = self._took.get(unit.kind, (0.0, 0))
        self._took[unit.kind] = total + seconds, count + 1
        self._open.discard(name)
        self._reported.append(unit)
        for other in self._needed_by.get(name, ()):
            self._lacks[other].discard(name)
            if not self._lacks[other]:
                self._put(other)

    def failed(self, unit: Unit, reason: str) -> None:
        """An attempt at a unit came to nothing."""
        tried = self._tried.setdefault(unit.name, [])
        tried.append(reason)
        if len(tried) < self._attempts:
            self._put(unit.name)
        else:
            self._failed.add(unit.name)

    def returned(self, units: Sequence[Unit]) -> None:
        """Units that were handed out and never begun."""
        for unit in units:
            self._put(unit.name)

    def seconds_left(self, workers: int) -> float | None:
        """For the rest; None until something of every kind that is left is done, or without workers."""
        each = [self._seconds(unit.kind) for unit in self.left]
        if not workers or None in each:
            return None
        return sum(value for value in each if value is not None) / workers

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The units that were given up, in order."""
        return tuple(
            Failure(self._units[name], self._tried[name][-1], len(self._tried[name]), len(self._after(name)))
            for name in sorted(self._failed, key=self._order.__getitem__)
        )

    def _put(self, name: Name) -> None:
        heapq.heappush(self._ready, (len(self._tried.get(name, ())), self._order[name], name))

    def _seconds(self, kind: str) -> float | None:
        total, count = self._took.get(kind, (0.0, 0))
        return total / count if count else None

    def _after(self, name: Name) -> set[Name]:
        """All units that cannot be done without one."""
        found: set[Name] = set()
        edge = [name]
        while edge:
            edge = [other for one in edge for other in self._needed_by.get(one, ()) if other not in found]
            found.update(edge)
        return found

"""What a job has to be so that workers can share it; and one process that does all of it, alone or beside others.

A task is sent to every worker, and holds neither model nor data: it names them. What a worker loads tells the settings
of the run, so that one with another model or other data is found out. Each unit's rows are the same whoever does it.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from ..run.directory import Run
from ..types import Json
from .units import Name, Unit

#: Rows of one part, as a run directory keeps them.
Rows: TypeAlias = Sequence[Mapping[str, Any]]


class Work(Protocol):
    """Does units in a run directory. Whatever a task asks of one worker besides is a method without arguments."""

    @property
    def run(self) -> Run:
        """The run directory."""
        ...

    def rows(self, unit: Unit) -> Mapping[str, Rows]:
        """Do a unit: kind -> rows of each of its parts, which are not kept yet."""
        ...

    def tally(self) -> Mapping[str, float]:
        """What this process counted so far, for the run's :mod:`~neuronscope.run.tallies`; empty for nothing."""
        ...


class Loaded(Protocol):
    """The model and the data of a task, in memory."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """Of the run that can be done with them."""
        ...

    def work(self, run: Run) -> Work:
        """What does units in a directory of that run."""
        ...


class Task(Protocol):
    """What a process has to know to take part; small enough to be sent, and the same on every machine."""

    @property
    def place(self) -> Path:
        """Where relative paths begin, on machines that have that folder."""
        ...

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Kind -> columns of its rows."""
        ...

    @property
    def reads(self) -> tuple[Name, ...]:
        """Parts that every unit reads, beside those it needs."""
        ...

    def loaded(self) -> Loaded:
        """Load model and data. Raises what loading raises."""
        ...


def keep(run: Run, unit: Unit, rows: Mapping[str, Rows]) -> None:
    """Write the parts of a unit. Raises InvalidOption when they cannot be written, as on a full disk."""
    for name in unit.parts:
        run.write(name.kind, unit.key, rows[name.kind])


def each_done(work: Work, units: Sequence[Unit], step: Callable[[str], None] = lambda _: None) -> Iterator[Unit]:
    """Do what is left of units of one kind that need no others; each is yielded when it is done.

    Several processes may do so at once on one directory. `step` is told of every unit when it is begun.
    """
    run, by_name = work.run, {unit.name.text: unit for unit in units}

    def do(unit: Unit) -> Unit:
        step(str(unit))
        keep(run, unit, work.rows(unit))
        return unit

    for kind in dict.fromkeys(unit.kind for unit in units):
        for key in run.todo(kind, [unit.key for unit in units]):
            yield do(by_name[Unit(kind, key).name.text])
    for unit in units:
        if not unit.done(run):  # another of its parts was damaged since
            yield do(unit)

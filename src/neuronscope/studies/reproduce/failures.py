"""Units of one process whose numbers are not finite: given up with what needs them, while all others are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ...cluster.schedule import Failure
from ...cluster.units import Name, Unit
from ...errors import NotFinite
from ...run.directory import Run


def carried_out(
    units: Iterable[Unit], run: Run, attempt: Callable[[Unit], bool], do: Callable[[Unit], bool]
) -> tuple[Failure, ...]:
    """Every unit attempted, those that another process was busy with done at the end; what failed is returned."""
    failed = _Failures()
    left = [unit for unit in units if not failed.stop(unit) and not failed.tried(unit, attempt)]
    for kind in dict.fromkeys(unit.kind for unit in left):
        theirs = [unit for unit in left if unit.kind == kind and not failed.stop(unit)]
        for key in run.todo(kind, [unit.key for unit in theirs]):  # waits, and takes over from the dead
            failed.tried(next(unit for unit in theirs if unit.key == key), do)
    return failed.all


class _Failures:
    """What was given up so far."""

    def __init__(self) -> None:
        self._found: dict[Name, Failure] = {}
        self._cause: dict[Name, Name] = {}  # of every unit that was given up or left out: the first that failed

    @property
    def all(self) -> tuple[Failure, ...]:
        """Every unit that failed, with how many were left out for it."""
        return tuple(self._found.values())

    def stop(self, unit: Unit) -> bool:
        """Whether a unit needs one that failed; it is counted then."""
        if unit.name in self._cause:
            return True
        cause = next((self._cause[need] for need in unit.needs if need in self._cause), None)
        if cause is None:
            return False
        self._cause[unit.name] = cause
        self._found[cause] = replace(self._found[cause], left_out=self._found[cause].left_out + 1)
        return True

    def tried(self, unit: Unit, do: Callable[[Unit], bool]) -> bool:
        """What `do` says of a unit; True where it failed, as nothing is left to be done."""
        try:
            return do(unit)
        except NotFinite as error:
            self._found[unit.name] = Failure(unit, str(error), 1)
            self._cause[unit.name] = unit.name
            return True

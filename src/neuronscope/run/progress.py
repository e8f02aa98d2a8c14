"""How far a run is, and what the rest will take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far the units of one kind are.

    Attributes:
        done, total: units.
        seconds_each: what a unit took this process; None before it has finished one.
        bytes_each: what a finished unit takes on the disk; None before there is one.
    """

    done: int
    total: int
    seconds_each: float | None
    bytes_each: float | None

    @property
    def seconds_left(self) -> float | None:
        """For the rest, by this process alone."""
        return None if self.seconds_each is None else self.seconds_each * (self.total - self.done)

    @property
    def bytes_left(self) -> float | None:
        """Disk space the rest will take."""
        return None if self.bytes_each is None else self.bytes_each * (self.total - self.done)

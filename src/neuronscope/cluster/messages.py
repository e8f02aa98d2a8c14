"""What driver and workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import Json
from .units import Name


@dataclass(frozen=True)
class Hello:
    """Who a worker is.

    Attributes:
        settings: of the run that it could take part in: it has loaded the model and knows its fingerprint.
        environment: versions and machine.
        machine, pid: to tell it from others.
        process: the name of this process in the run's tallies, which says nothing of its machine.
    """

    settings: Mapping[str, Json]
    environment: Mapping[str, Json]
    machine: str
    pid: int
    process: str

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
        parts: what it made, where the run directory is not shared.
        reason: why it failed; empty when it did not.
        tally: what the process counted so far.
    """

    seconds: float
    parts: tuple[Part, ...] = ()
    reason: str = ""
    tally: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Answer:
    """What a worker says to a question, and the parts it made for it, where the run directory is not shared."""

    said: Any
    parts: tuple[Part, ...] = ()
    tally: Mapping[str, float] = field(default_factory=dict[str, float])


class NotJoined(Exception):
    """A worker was asked for work that has not joined a run: it died while idle, and Ray has started it anew."""

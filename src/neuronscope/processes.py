"""Which process made something, and whether it lives: so that what a killed one left is told from what is in use."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .parsing import digits


@dataclass(frozen=True)
class Owner:
    """One process, without the name of its machine.

    Attributes:
        place: where process numbers mean the same: a hash of this boot and this process namespace.
        pid: its number.
        started: when it started, in ticks since boot, which tells it from a later process of the same number; 0 where
            that is not known.
    """

    place: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return _owner(os.getpid())

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended."""
        here = Owner.here()
        return self.place == here.place and self.started > 0 and _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"{self.place}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The inverse of `str`; None for other text."""
        place, _, rest = text.partition("-")
        pid, _, started = rest.partition("-")
        number, since = digits(pid), digits(started)
        return None if number is None or since is None else cls(place, number, since)


@cache
def _owner(pid: int) -> Owner:
    return Owner(_place(), pid, _started(pid) or 0)


@cache
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha256(f"{boot} {os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:16]
    except OSError:  # not Linux: a place of its own, so that no other process is taken for dead
        return uuid.uuid4().hex[:16]


def _started(pid: int) -> int | None:
    """Start time of a running process, from proc(5); None when there is none, or only its exit status is left."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = line[line.rindex(")") + 1 :].split()  # the name before may hold spaces and brackets
    return None if state in "ZX" else int(fields[18])

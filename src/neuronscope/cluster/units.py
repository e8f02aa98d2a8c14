"""Units of work: what the run directory calls each, and what it needs. No model is needed to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..run.directory import Run
from ..run.settings import canonical
from ..types import Json


class Name(NamedTuple):
    """What tells a part from all others: its kind and its key as canonical JSON."""

    kind: str
    text: str

    @property
    def key(self) -> Mapping[str, Json]:
        """The key as a run directory takes it."""
        return json.loads(self.text)


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        kind, key: what the run directory calls it.
        needs: the units whose results it reads, but for what all units of a task read.
        also: further kinds of parts that it makes under its key; they are kept before its own.
        label: what a person is told, where kind and key say little.
    """

    kind: str
    key: Mapping[str, Json]
    needs: tuple[Name, ...] = ()
    also: tuple[str, ...] = ()
    label: str = field(default="", compare=False)

    @property
    def name(self) -> Name:
        """Kind and key in one."""
        return Name(self.kind, canonical(self.key, "key"))

    @property
    def parts(self) -> tuple[Name, ...]:
        """All parts that it makes, its own last."""
        return tuple(Name(kind, self.name.text) for kind in (*self.also, self.kind))

    def done(self, run: Run) -> bool:
        """Whether all its parts are there."""
        return all(run.done(kind, self.key) for kind in (*self.also, self.kind))

    def __str__(self) -> str:
        return self.label or f"{self.kind} {' '.join(str(value) for value in self.key.values())}"

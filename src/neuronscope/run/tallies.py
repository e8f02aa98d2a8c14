"""What processes counted while they worked on a run: how its results came about, never what they are.

    RUN/tallies/PROCESS.json    counts of one process so far

Beside the parts, not in them: a part has to be the same bytes whoever makes it, and what is counted hangs on how the
work was shared. A process that was killed has counted up to its last unit.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import RunMismatch
from ..files import refusing
from ..parsing import read_json
from ..processes import Owner

FOLDER = "tallies"


def new_process() -> str:
    """A name for this process's counts, which says nothing of the machine."""
    return uuid.uuid4().hex[:16]


def write_tally(folder: Path, process: str, counts: Mapping[str, float]) -> None:
    """Keep what a process counted so far, instead of what it had counted before; nothing where it counted nothing.

    Raises InvalidOption when the file cannot be written.
    """
    if not counts:
        return
    path = folder / FOLDER / f"{process}.json"
    temporary = folder / "temporary" / f"{Owner.here()}.{path.name}"  # what a killed process leaves there is removed
    with refusing(path):
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(dict(counts), allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)


def read_tallies(folder: Path) -> list[dict[str, float]]:
    """Of every process that took part, in no order. Raises RunMismatch, naming the file, for what is no tally."""
    return [_read(path) for path in sorted((folder / FOLDER).glob("*.json"))]


def _read(path: Path) -> dict[str, float]:
    try:
        held: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} cannot be read: {error}. Remove it: no result needs it") from error
    counts: dict[str, Any] = cast("dict[str, Any]", held) if isinstance(held, dict) else {"": held}
    if not isinstance(held, dict) or not all(_is_count(value) for value in counts.values()):
        raise RunMismatch(f"{path} holds no counts. Remove it: no result needs it")
    return {name: float(value) for name, value in counts.items()}


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0

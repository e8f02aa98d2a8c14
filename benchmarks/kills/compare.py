"""What a folder holds, and what differs from what an undisturbed command leaves there."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

#: Names of columns and fields that hold how long something took: all that may differ.
TIMES = frozenset({"seconds"})
#: Folders of a run in which processes keep what is for them alone, and what each of them has counted.
OWN = ("claims", "temporary", "tallies")

#: Path below a folder -> what tells its content from another; None for a folder with nothing in it.
Content = Mapping[str, str | None]


def content(folder: Path) -> Content:
    """Every file below a folder, and every empty folder."""
    found: dict[str, str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                found[name] = None
        else:
            found[name] = _told(path.name, path.read_bytes())
    return found


def _told(name: str, data: bytes) -> str:
    """The bytes, but for times."""
    if name.endswith(".parquet"):
        try:
            rows = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        except Exception as error:  # of whatever kind: it is no part
            return f"unreadable: {error}"
        if timed := TIMES & set(rows.column_names):
            data = json.dumps(rows.drop_columns(list(timed)).to_pylist(), sort_keys=True).encode()
    elif name.endswith(".json"):
        try:
            data = json.dumps(_timeless(json.loads(data))).encode()
        except ValueError as error:
            return f"unreadable: {error}"
    return hashlib.sha256(data).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def is_own(name: str) -> bool:
    """Whether a path is one that only its writer looks at: a temporary name, or in a folder of such."""
    parts = name.split("/")
    return any(part.startswith((".", "neuronscope-")) for part in parts) or any(part in OWN for part in parts[1:-1])


@dataclass
class Faults:
    """What is wrong, by name of file.

    Attributes:
        lost: not there.
        doubled: there a second time: another part of a unit, or one that was finished and is written anew.
        different: there with another content, or not whole at the moment of the kill, or of two results.
        leftovers: temporary files, and whatever else an undisturbed command does not leave.
        failed: why a command did not end as it should; empty where it did.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def end(self, found: Content, wanted: Content) -> None:
        """Compare the end with the end of an undisturbed command."""
        self.lost += [name for name in wanted if name not in found]
        self.different += [name for name, told in found.items() if name in wanted and told != wanted[name]]
        beyond = [name for name in found if name not in wanted]
        self.doubled += [name for name in beyond if name.endswith(".parquet")]
        self.leftovers += [name for name in beyond if not name.endswith(".parquet")]

    def moment(self, found: Content, wanted: Content, older: Content, seal: str) -> None:
        """Look at what a killed process leaves under names that others read: each file whole, old or new."""
        seen = {name: told for name, told in found.items() if told is not None and not is_own(name)}
        known = (wanted, older)
        self.different += [
            f"{name} at the kill"
            for name, told in seen.items()
            if told not in [one[name] for one in known if name in one] and not _grows(name)
        ]
        if seal in seen:
            results = [one for one in known if one.get(seal) == seen[seal]]
            if not any(seen == {name: told for name, told in one.items() if told is not None} for one in results):
                self.different.append(f"{seal} beside files of another result at the kill")


def _grows(name: str) -> bool:
    """What is written anew as a run goes on: it is compared at the end."""
    return name.endswith(("tables.json", "tables.md", "discovery.json", "discovery.md", "texts.jsonl"))


def finished(folder: Path) -> dict[Path, tuple[int, int]]:
    """The parts that are there: which file each is, and when it was written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("parts/*/*.parquet")}

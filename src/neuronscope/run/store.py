"""The parts of a run on the disk: found by name, proved before use, set aside when damaged."""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from ..errors import RunMismatch
from ..files import refusing
from .parts import SUFFIX, DamagedPart, Stamp, decode, is_part_name, verify

_Found = TypeVar("_Found")


class Store:
    """The parts below one run directory.

    Args:
        folder: the run directory.
        settings: digest of the settings that its parts have to carry.
        readonly: leave damaged parts where they are.
    """

    def __init__(self, folder: Path, settings: str, *, readonly: bool = False) -> None:
        self._folder = folder
        self._settings = settings
        self._readonly = readonly
        self._reasons: dict[Path, str] = {}
        self._verified: dict[Path, tuple[int, ...]] = {}

    def path(self, stamp: Stamp) -> Path:
        """Where a part belongs."""
        return self._folder / "parts" / stamp.kind / stamp.name

    def listed(self, kind: str) -> list[Path]:
        """What is called like a part of the kind, by name.

        Raises RunMismatch where the folder of the kind cannot be read.
        """
        folder = self._folder / "parts" / kind
        if not folder.exists():
            return []
        try:
            return sorted(path for path in folder.iterdir() if is_part_name(path.name))
        except OSError as error:
            raise RunMismatch(f"{folder} cannot be read: {error.strerror or error}") from error

    def why(self, path: Path) -> str:
        """Why a part was found damaged; empty where it was not."""
        return self._reasons.get(path, "")

    def sound(self, path: Path) -> bool:
        """Whether the part is there and whole. A file is read once, and again only after it has changed."""
        state = _state(path)
        if state is not None and self._verified.get(path) == state:
            return True
        return self._examined(path, verify) is not None

    def load(self, path: Path) -> tuple[Stamp, pa.Table] | None:
        """A part's stamp and rows; None when there is none, or it is damaged and now set aside.

        Raises RunMismatch when the file cannot be read at all.
        """
        return self._examined(path, decode)

    def _examined(self, path: Path, examine: Callable[[bytes, str, str], _Found]) -> _Found | None:
        state = _state(path)
        if state is None:
            return None
        if not path.is_file():  # a folder, a link to nothing, or a pipe that would be waited for
            self._damaged(path, state, "it is no file")
            return None
        try:
            result = examine(path.read_bytes(), path.name, self._settings)
        except FileNotFoundError:  # another process has set it aside
            return None
        except OSError as error:
            raise RunMismatch(f"{path} cannot be read: {error.strerror or error}") from error
        except DamagedPart as reason:
            self._damaged(path, state, str(reason))
            return None
        self._verified[path] = state
        return result

    def _damaged(self, path: Path, state: tuple[int, ...], reason: str) -> None:
        self._reasons[path] = reason
        if not self._readonly and _state(path) == state:  # else another process has put a whole one in its place
            self._set_aside(path, reason)

    def _set_aside(self, path: Path, reason: str) -> None:
        """Move a part to damaged/ and say so in damaged.jsonl. Raises InvalidOption when the run is read-only."""
        kind = path.parent.name
        aside = self._folder / "damaged" / kind / f"{path.stem}.{uuid.uuid4().hex[:8]}{SUFFIX}"
        with refusing(aside):
            aside.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(aside)
            except FileNotFoundError:  # another process was quicker
                return
        line = {
            "kind": kind,
            "part": path.name,
            "moved_to": str(aside.relative_to(self._folder)),
            "reason": reason,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        log = self._folder / "damaged.jsonl"
        with refusing(log), log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does; the time in it is compared for being the same, never for being later."""
    try:
        found = os.stat(path)
    except OSError as error:
        if path.is_symlink():  # to nothing, or in a circle: in the part's place it is no part
            found = os.lstat(path)
            return found.st_ino, found.st_size, found.st_mtime_ns
        if isinstance(error, FileNotFoundError):
            return None
        raise RunMismatch(f"{path} cannot be read: {error.strerror or error}") from error
    return found.st_ino, found.st_size, found.st_mtime_ns

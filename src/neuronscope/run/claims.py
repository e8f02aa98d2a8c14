"""Claims: how processes that work in one run directory agree on who does what.

A claim is a small file that one process made and the others see. It only saves work: results are right without it,
since a unit of work that two processes finish is kept once (:mod:`neuronscope.run.directory`). A claim counts until

- its owner lets go of it;
- its owner is known to be dead: a process of this machine since it was started, whose number is free or was given to a
  process that started later (Linux; elsewhere nothing is known of other processes); or
- it was not refreshed for `patience` seconds *as measured by the process that watches it*. The time stamp in the file
  is only compared with what it was before, never with a clock, so that clocks may differ or be set.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..files import create_once
from ..parsing import parse_json
from ..processes import Owner as Owner

_BEATS = 6  # refreshes within one patience: a few may be late


class Claims:
    """The claims of one run directory.

    Args:
        folder: where their files are; it has to exist.
        temporary: gives a new name for a file in the making.
        patience: seconds after which a claim that nobody refreshes is void.
    """

    def __init__(self, folder: Path, temporary: Callable[[str], Path], patience: float) -> None:
        self._folder = folder
        self._temporary = temporary
        self._patience = patience
        self._watched: dict[str, tuple[bytes, int, float]] = {}

    @contextmanager
    def hold(self, name: str) -> Generator[bool]:
        """True in the block when the claim is this process's; False, at once, when another has it.

        Raises InvalidOption when the file cannot be written.
        """
        path = self._folder / f"{name}.json"
        mark = json.dumps({"owner": str(Owner.here()), "token": uuid.uuid4().hex}).encode()
        if not self._make(path, mark):
            yield False
            return
        ended = threading.Event()
        keeper = threading.Thread(target=self._refresh, args=(path, mark, ended), daemon=True)
        keeper.start()
        try:
            yield True
        finally:
            ended.set()
            keeper.join()
            if _content(path) == mark:  # it may have been declared void meanwhile
                path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove the claims of dead processes."""
        for path in self._folder.glob("*.json"):
            content = _content(path)
            if content is not None and _is_dead(content):
                self._remove(path, content)

    def _make(self, path: Path, mark: bytes) -> bool:
        temporary = self._temporary(path.name)
        if create_once(path, mark, temporary):
            return True
        return self._void(path) and create_once(path, mark, temporary)

    def _void(self, path: Path) -> bool:
        """Remove the claim if it no longer counts; whether it is gone."""
        try:
            content, beat = path.read_bytes(), path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        now = time.monotonic()
        before = self._watched.get(path.name)
        if before is None or before[:2] != (content, beat):
            self._watched[path.name] = before = (content, beat, now)
        if not _is_dead(content) and now - before[2] < self._patience:
            return False
        self._remove(path, content)
        return True

    def _remove(self, path: Path, content: bytes) -> None:
        """Take the file away, unless another process has replaced it by its own claim since it was read."""
        aside = self._temporary(path.name)
        with suppress(FileNotFoundError):  # another process removed it
            path.rename(aside)
            if _content(aside) != content:
                with suppress(FileExistsError):  # a third one was quicker: one unit of work is done twice
                    os.link(aside, path)
            aside.unlink()

    def _refresh(self, path: Path, mark: bytes, ended: threading.Event) -> None:
        while not ended.wait(self._patience / _BEATS):
            if _content(path) != mark:
                return
            with suppress(OSError):  # a late refresh costs at most work done twice, and the next one may succeed
                os.utime(path)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _is_dead(content: bytes) -> bool:
    try:
        owner = Owner.parse(parse_json(content)["owner"])
    except (ValueError, KeyError, TypeError, AttributeError):  # not written by us: it counts until patience runs out
        return False
    return owner is not None and owner.is_dead

"""One command of the command line in process: how it ended, in what time, and what it left behind."""

from __future__ import annotations

import faulthandler
import io
import os
import re
import signal
import stat
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from neuronscope.cli import main

#: Seconds after which a refusal counts as none.
LIMIT = 20.0
#: What a verb says of its progress where stderr is no terminal.
_STEP = re.compile(r"\[\d+(/\d+)?\] ")
_LAST_RESORT = 60.0  # seconds; for what holds the interpreter and hears no signal


class TooLong(BaseException):
    """The limit is over. Not an Exception, so that nothing takes it for one of its own."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (None where an error came out), what it printed, and seconds."""

    code: int | None
    out: str
    err: str
    seconds: float
    error: str = ""


@contextmanager
def limited(seconds: float = LIMIT) -> Generator[None]:
    """Raise TooLong in the block when the time is over."""

    def over(number: int, frame: object) -> None:
        raise TooLong(f"not ended after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + _LAST_RESORT, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def run(words: Sequence[object]) -> Ended:
    """Run a command in the current folder."""
    out, err, error, code = io.StringIO(), io.StringIO(), "", None
    began = time.monotonic()
    try:
        with redirect_stdout(out), redirect_stderr(err), limited():
            main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # whatever it is, it is the finding
        error = traceback.format_exc()
    return Ended(code, out.getvalue(), err.getvalue(), time.monotonic() - began, error)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time; links are not followed."""
    return {
        name: (about.st_size, about.st_mtime_ns)
        for name, about in below(folder).items()
        if not stat.S_ISDIR(about.st_mode)
    }


def below(folder: Path) -> dict[str, os.stat_result]:
    """Everything below a folder; links are not followed. Thousands of times asked for, so without paths as objects."""
    found: dict[str, os.stat_result] = {}

    def look(place: str, above: str) -> None:
        with os.scandir(place) as entries:
            for entry in entries:
                found[above + entry.name] = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    look(entry.path, f"{above}{entry.name}/")

    look(str(folder), "")
    return found


def wrong(ended: Ended) -> str:
    """What is wrong with a refusal; nothing where it is one line, and exit code 1 or 2."""
    if ended.error:
        return ended.error.strip().splitlines()[-1]
    if ended.code not in (1, 2):
        return f"exit code {ended.code}"
    lines = [line for line in ended.err.strip().splitlines() if not _STEP.match(line)]
    if len(lines) != 1:
        return f"{len(lines)} lines: {ended.err[:500]!r}"
    if not lines[0].startswith("neuronscope: ") or len(lines[0]) > 2000:
        return f"not a line of ours: {lines[0][:500]!r}"
    return ""

"""What a verb says of its progress on stderr: a bar on a terminal, elsewhere a line for each step, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

#: Steps up to which each is told where stderr is no terminal; of more, one is now and then.
_FEW = 40
_EVERY = 30.0  # seconds
_QUIET = ContextVar("quiet", default=False)


@contextmanager
def silenced(quiet: bool) -> Generator[None]:
    """With `quiet` :func:`progress` says nothing inside the block."""
    token = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(token)


@contextmanager
def progress(total: int, first: str) -> Generator[Callable[[str], None]]:
    """Tell the steps of a verb. Yields step(description), which is called when a step begins.

    Args:
        total: how many steps there are behind the first; 0 where nobody knows.
        first: what is done before them.
    """
    if _QUIET.get():
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, first) as step:
            yield step
    else:
        yield _lines(total, first)


def _lines(total: int, first: str) -> Callable[[str], None]:
    number, told, at = 0, first, time.monotonic()
    of = f"/{total}" if total else ""
    tell(f"[0{of}] {first}")

    def step(description: str) -> None:
        nonlocal number, told, at
        number += 1
        now = time.monotonic()
        if (description == told or not 0 < total <= _FEW) and now - at < _EVERY:
            return
        told, at = description, now
        tell(f"[{number}{of}] {description}")

    return step


def tell(line: str) -> None:
    """One line on stderr, unless --quiet."""
    if not _QUIET.get():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def _bar(total: int, first: str) -> Generator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(first, total=total)
        begun = False

        def step(description: str) -> None:
            nonlocal begun
            bar.update(task, description=description, advance=1 if begun else 0)
            begun = True

        yield step

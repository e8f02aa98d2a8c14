"""Signals that wait while a change of a model begins or ends.

A handler written in Python runs between any two instructions of the main thread. What it raises, KeyboardInterrupt for
Ctrl-C, may come between a change and the note of how to put it back, or before the first instruction of an `__exit__`,
which is then never run. So as long as something is changed, handlers are called through here: one that would interrupt
a function marked :func:`uninterrupted` is called at the end of it, and everywhere else at once.

A mask (`pthread_sigmask`) would not do: a signal to the process is then delivered to another thread, and its handler
runs in the main thread all the same.
"""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

#: Those by which programs are interrupted, told to end, or timed. Asking for the handlers of all 64 takes 80 us.
_NAMES = ("INT", "TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "XCPU", "USR1", "USR2", "BREAK")
_SIGNALS: list[int] = [getattr(signal, f"SIG{name}") for name in _NAMES if hasattr(signal, f"SIG{name}")]

#: The code of functions that no handler interrupts, whatever they call.
_WHOLE: set[CodeType] = set()


def uninterrupted(function: _F) -> _F:
    """Mark a function that no handler interrupts. It should be short, and end with :meth:`ProgramHandlers.deliver`."""
    _WHOLE.add(inspect.unwrap(function).__code__)
    return function


class ProgramHandlers:
    """The program's handlers, which are called through this object as long as something is changed.

    Only the main thread runs handlers, so changes of other threads need nothing of this.
    """

    def __init__(self) -> None:
        self._changes: set[int] = set()
        self._own: dict[int, Any] = {}  # kept for good: somebody may keep ours, and put it back later
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._handler = self._arrived

    def hold(self, change: object) -> None:
        """From now on something is changed. May be said again."""
        if threading.current_thread() is not threading.main_thread():
            return
        first = not self._changes
        self._changes.add(id(change))
        for number in _SIGNALS if first else ():
            found = signal.getsignal(number)
            if callable(found) and found is not self._handler:
                self._own[number] = found
                signal.signal(number, self._handler)

    def release(self, change: object) -> None:
        """It is as before. May be said again. With the last change the program's own handlers are back."""
        self._changes.discard(id(change))
        # A generator may be closed by another thread, which cannot set handlers: ours then pass everything on.
        if not self._changes and threading.current_thread() is threading.main_thread():
            for number, own in self._own.items():
                if signal.getsignal(number) is self._handler:
                    signal.signal(number, own)

    def deliver(self) -> None:
        """Call the handlers of signals that have waited, at the end of the outermost whole function; may raise."""
        if not self._waiting or threading.current_thread() is not threading.main_thread():
            return
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        if caller is None or not _within_whole(caller.f_back):
            while self._waiting:
                number, at = self._waiting.pop(0)
                self._own[number](number, at)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if _within_whole(frame):
            self._waiting.append((number, frame))
        else:
            self._own[number](number, frame)


def _within_whole(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _WHOLE:
            return True
        frame = frame.f_back
    return False


#: Of this process.
HANDLERS = ProgramHandlers()

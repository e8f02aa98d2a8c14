"""Is a call of a module still running?

Hooks of a call that was cut short by an interrupt are not told of its end. What is still running is on the stack.
"""

from __future__ import annotations

import inspect
from types import FrameType
from typing import Any

from torch import nn

_CALL = nn.Module._call_impl.__code__  # pyright: ignore[reportPrivateUsage]


class Call:
    """A call of a function, or of a module by one of whose hooks this is made."""

    def __init__(self, frame: FrameType | None = None) -> None:
        self._frame = frame or _up_to_call(inspect.currentframe())

    @property
    def running(self) -> bool:
        """Whether what asks is inside it."""
        frame = inspect.currentframe()
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None


def runs(module: nn.Module) -> bool:
    """Whether a call of a module is running."""
    frame = _up_to_call(inspect.currentframe())
    while frame is not None:
        held: dict[str, Any] = frame.f_locals
        if held.get("self") is module:
            return True
        frame = _up_to_call(frame.f_back)
    return False


def _up_to_call(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back
    return frame

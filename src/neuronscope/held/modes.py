"""Modes of torch as blocks that may be left twice, as :meth:`~neuronscope.held.undo.Undo.enter` asks of them."""

from __future__ import annotations

from types import TracebackType

from torch.overrides import TorchFunctionMode
from torch.overrides import _get_current_function_mode_stack as stack  # pyright: ignore[reportPrivateUsage]


class FunctionMode(TorchFunctionMode):
    """A mode that leaves the others alone when it is not in force: torch takes off the last one, whichever it is."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if any(mode is self for mode in stack()):
            super().__exit__(kind, value, trace)

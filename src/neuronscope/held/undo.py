"""A change of a model for the time of a `with` block, put back whatever happens.

How to put back is noted before anything is changed, and each note may be followed twice. So an exception between any
two lines leaves either nothing to do or a note of it: the end of the block follows the notes, an exception in the midst
of that follows them again, the end of the operation around it follows what is left (turns.py), and so does the
disappearance of the object that the block was opened with. Signals wait meanwhile (signals.py).

Blocks are classes: contextlib's generators run instructions of their own between `__exit__` and the `finally`.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

import torch

from ..errors import ModelInUse
from .signals import HANDLERS, uninterrupted

T = TypeVar("T")


class Undo:
    """Notes of how to put back what is changed. Followed from the last to the first."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._beside = opened()

    def note(self, step: Callable[[], object]) -> None:
        """Note what puts a change back, before it is made. It may be called when nothing was changed, and twice."""
        self._steps.append(step)

    def follow(self) -> None:
        """Put everything back. Where that fails the rest is put back all the same, then the first error is raised."""
        failed: list[Exception] = []
        while self._steps:
            try:
                self._steps[-1]()
            except Exception as error:  # the other changes have to be put back too
                failed.append(error)
            self._steps.pop()  # only now: what was interrupted is called again
        while self in self._beside:
            self._beside.remove(self)
        if failed:
            raise failed[0]

    def begin(self) -> None:
        """Count among what this thread has changed, and have signals wait where they have to."""
        self.note(partial(HANDLERS.release, self))
        HANDLERS.hold(self)
        self._beside.append(self)

    def follow_later(self) -> None:
        """Put back what this thread changed after this, and which nobody has put back."""
        failed: list[Exception] = []
        while self in self._beside and self._beside[-1] is not self:
            last = self._beside[-1]
            try:
                last.follow()
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    @uninterrupted
    def enter(self, block: AbstractContextManager[T]) -> T:
        """Enter a block that is left with this one. Its `__exit__` may be called twice, and before it was entered."""
        entered = [True]

        def leave() -> None:
            if entered:
                block.__exit__(None, None, None)
                entered.clear()  # only now: what was interrupted is called again

        self.note(leave)
        try:
            made = block.__enter__()
        except Exception:  # it has put back what it did, and an outer use of it is not to be left
            entered.clear()
            raise
        HANDLERS.deliver()
        return made

    def replace(self, holder: object, name: str, value: object) -> None:
        """Give an object another attribute of its own, such as a module another `forward`."""
        own = vars(holder)
        held, before = name in own, own.get(name)

        def restore() -> None:
            if held:
                setattr(holder, name, before)
            elif name in vars(holder):
                delattr(holder, name)

        self.note(restore)
        setattr(holder, name, value)

    def hook(
        self,
        module: Any,
        when: Literal["before", "after"],
        function: Callable[..., Any],
        *,
        with_kwargs: bool = False,
        prepend: bool = False,
        always: bool = False,
    ) -> None:
        """Register a forward hook, or a pre-hook. `always`: also after an exception inside the module.

        Calls of the module in other threads raise ModelInUse: they would be changed, or counted, as this thread's.
        """
        registered = of_this_thread(function)
        tables = vars(module)

        def remove() -> None:
            # By the function: an exception may come before the handle is in anybody's hands.
            for kind in ("_forward_pre_hooks", "_forward_hooks"):
                for key in [key for key, held in tables[kind].items() if held is registered]:
                    for more in (f"{kind}_with_kwargs", f"{kind}_always_called"):
                        tables.get(more, {}).pop(key, None)
                    del tables[kind][key]  # last: by it the others are found, if this is called again

        self.note(remove)
        if when == "before":
            module.register_forward_pre_hook(registered, with_kwargs=with_kwargs, prepend=prepend)
        else:
            module.register_forward_hook(registered, with_kwargs=with_kwargs, prepend=prepend, always_call=always)


class Held(AbstractContextManager[T], Generic[T]):
    """A block that changes a model. Subclasses make the change in :meth:`_change`."""

    def __init__(self) -> None:
        self._undos: list[Undo] = []
        self._gradients = True

    def _wait(self, undo: Undo) -> None:
        """What may take long before the change, and may be interrupted."""

    @abstractmethod
    def _change(self, undo: Undo) -> T:
        """Make the change, noting first how it is put back. Not interrupted, so it should be short."""

    def _left(self, error: BaseException | None) -> None:
        """After everything was put back: what is to be raised. `error`: what the block raised."""

    def __enter__(self) -> T:
        self._gradients = torch.is_grad_enabled()
        undo = Undo()
        try:
            self._undos.append(undo)
            undo.begin()
            self._wait(undo)
            return self._begin(undo)
        except BaseException:
            self._end()
            raise

    @uninterrupted
    def _begin(self, undo: Undo) -> T:
        made = self._change(undo)
        HANDLERS.deliver()
        return made

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end()
            if value is not None:
                # torch's own blocks, in a model that was called here, do not stand an exception between two lines.
                torch.set_grad_enabled(self._gradients)
            self._left(value)
        finally:
            HANDLERS.deliver()

    @uninterrupted
    def _end(self) -> None:
        if not self._undos:
            return
        undo = self._undos[-1]
        try:
            undo.follow()
        except BaseException:
            undo.follow()  # what an exception between two lines has left
            raise
        finally:
            self._undos = [other for other in self._undos if other is not undo]
            HANDLERS.deliver()

    def __del__(self) -> None:
        while getattr(self, "_undos", None):  # its __exit__ was not run, or not to the end
            self._end()


class Changing(Held[T]):
    """A block whose change is a function: it is given what notes how to put it back."""

    def __init__(self, make: Callable[[Undo], T]) -> None:
        super().__init__()
        self._make = make

    def _change(self, undo: Undo) -> T:
        return self._make(undo)


def together(undo: Undo) -> Undo:
    """For :class:`Changing`: a block into which others are entered as they come, and which leaves them all."""
    return undo


def hooked(module: Any, when: Literal["before", "after"], function: Callable[..., Any]) -> Held[None]:
    """One hook for the time of a block, called as `function(module, args, kwargs)`, after a call also with `output`."""
    return Changing(lambda undo: undo.hook(module, when, function, with_kwargs=True))


def of_this_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, refusing calls in other threads than the present one with ModelInUse."""
    owner = threading.current_thread()

    def run(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not owner:
            raise ModelInUse(
                f"the model was called in thread {threading.current_thread().name!r} while thread {owner.name!r} "
                "reads or changes its activations: call it there, or after that block"
            )
        return function(*args, **kwargs)

    return run


_LOCAL = threading.local()


def opened() -> list[Undo]:
    """What this thread has changed and not put back, oldest first."""
    if not hasattr(_LOCAL, "opened"):
        _LOCAL.opened = []
    return _LOCAL.opened

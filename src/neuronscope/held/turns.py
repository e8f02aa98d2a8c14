"""Whose turn it is to use a model.

A model's hooks, flags and weights are there once, so operations of several threads on one model take turns, in the
order in which they asked; a thread that has the turn may begin further operations inside. A `with` block that changes
the model keeps the turn until it ends. What other threads ask for meanwhile waits: for an operation as long as it
takes, for a block a minute, since whoever is inside it may be waiting for them.

The turn belongs to the model, not to a VLM: two of them may share one. Calls of the Hugging Face model itself are not
operations and take no turn; the hooks of another thread's block refuse them (undo.py).
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..cures import memory_cure, out_of_memory
from ..errors import ModelInUse, NotEnoughMemory
from .undo import Held, Undo

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that other threads wait for a block in which no operation is running.
PATIENCE = 60.0
_LOOK = 0.2


@dataclass(eq=False)
class _Ticket:
    """Somebody's turn, or place in the queue.

    Attributes:
        block: what the user wrote, for messages; empty for an operation.
        thread: whose.
        called: told when it may be this ticket's turn.
    """

    block: str
    thread: threading.Thread = field(default_factory=threading.current_thread)
    called: SimpleQueue[None] = field(default_factory=SimpleQueue[None])


class _Turns:
    """The turns at one model: first the tickets of the thread whose turn it is, then those that wait.

    There is no lock around the queue, which an exception between two lines could leave locked: each change of it is one
    step of a list, and it is the turn of the thread that stands first.
    """

    def __init__(self) -> None:
        self._queue: list[_Ticket] = []

    def _first(self) -> _Ticket | None:
        return next(iter(self._queue), None)

    def has(self, ticket: _Ticket) -> bool:
        """Whether it is the ticket's turn."""
        first = self._first()
        return first is not None and first.thread is ticket.thread

    def ask(self, ticket: _Ticket) -> None:
        """Stand in the queue; a thread whose turn it is does not stand behind others."""
        if self.has(ticket):
            self._queue.insert(1, ticket)
        else:
            self._queue.append(ticket)

    def give_back(self, ticket: _Ticket) -> None:
        """Done, or waiting no more. May be said again."""
        if ticket in self._queue:
            self._queue.remove(ticket)
        first = self._first()
        if first is not None:
            first.called.put(None)

    def wait(self, ticket: _Ticket) -> None:
        """Until it is the ticket's turn. Raises ModelInUse where that would take for ever."""
        idle = 0.0
        while not self.has(ticket):
            with suppress(Empty):
                ticket.called.get(timeout=_LOOK)
                continue
            first = self._first()
            held = [one for one in list(self._queue) if first is not None and one.thread is first.thread]
            blocks = [one.block for one in held if one.block]
            if first is None or not held:
                continue
            if not first.thread.is_alive():
                raise ModelInUse(
                    f"thread {first.thread.name!r} has ended inside {blocks[0] if blocks else 'an operation'}, which "
                    "still changes the model: leave the block, such as by closing the generator that it stands in"
                )
            idle = idle + _LOOK if len(blocks) == len(held) else 0.0
            if idle > PATIENCE:
                raise ModelInUse(
                    f"thread {first.thread.name!r} has been inside {blocks[0]} for over {PATIENCE:g} s, and operations "
                    "of other threads on the same model wait for its end: leave it before waiting for them, or work in "
                    "that thread"
                )

    def forget_others(self) -> None:
        """After a fork only the thread that forked is there."""
        self._queue[:] = [one for one in self._queue if one.thread is threading.current_thread()]


_TURNS: WeakKeyDictionary[nn.Module, _Turns] = WeakKeyDictionary()


def _forked() -> None:
    for turns in list(_TURNS.values()):
        turns.forget_others()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class turn(Held[None]):  # noqa: N801  (used like a function)
    """This thread's turn at a model, for the time of the block.

    Args:
        model: whose.
        block: what the user wrote, where the block is the user's own; empty for an operation, at whose end everything
            that it left changed is put back, and torch's grad mode is as before.
    """

    def __init__(self, model: nn.Module, block: str = "") -> None:
        super().__init__()
        self._model = model
        self._block = block

    def _wait(self, undo: Undo) -> None:
        take(undo, self._model, self._block)

    def _change(self, undo: Undo) -> None:
        if not self._block:
            mode, thread = torch.is_grad_enabled(), threading.current_thread()

            def restore() -> None:
                if threading.current_thread() is thread:
                    torch.set_grad_enabled(mode)

            undo.note(restore)
            undo.note(undo.follow_later)


def take(undo: Undo, model: nn.Module, block: str) -> None:
    """Wait for a turn that ends with a block. Raises ModelInUse where that would take for ever."""
    turns, ticket = _TURNS.setdefault(model, _Turns()), _Ticket(block)
    undo.note(partial(turns.give_back, ticket))
    turns.ask(ticket)
    turns.wait(ticket)


def in_turn(function: Callable[P, R]) -> Callable[P, R]:
    """An operation of the model that its argument `vlm` (or `model`), or the object that it is a method of, has."""
    names = list(inspect.signature(function).parameters)
    name = next(name for name in ("vlm", "model", "self") if name in names)
    at = names.index(name)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        model = _model_of(kwargs[name] if name in kwargs else args[at] if at < len(args) else None)
        if model is None:  # the function says what is wrong
            return function(*args, **kwargs)
        try:
            with turn(model):
                return function(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, NotEnoughMemory) or not out_of_memory(error):
                raise
            raise NotEnoughMemory(f"there is not enough memory for a single row: {memory_cure(error)}") from error

    return run


def _model_of(holder: Any) -> nn.Module | None:
    for name in ("vlm", "_vlm"):
        holder = getattr(holder, name, holder)
    model = getattr(holder, "model", None)
    return model if isinstance(model, nn.Module) else None

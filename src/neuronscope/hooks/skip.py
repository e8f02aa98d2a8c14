"""Leaving out the first decoder layers of a forward pass whose result is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..held import Changing, Held, Undo
from ..held.undo import of_this_thread


class Enough(Exception):
    """Raised inside a forward pass once what it was run for is known; whoever started the pass suppresses it."""


def seeing_inputs(layers: Sequence[nn.Module], seen: dict[int, Tensor]) -> Held[None]:
    """Put what enters each layer into `seen`, layer -> [batch, positions, hidden], for the time of the block."""

    def keep(number: int) -> Callable[..., None]:
        def run(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[number] = args[0] if args else kwargs["hidden_states"]

        return run

    def change(undo: Undo) -> None:
        for number, layer in enumerate(layers):
            undo.hook(layer, "before", keep(number), with_kwargs=True)

    return Changing(change)


def starting_at(layers: Sequence[nn.Module], first: int, hidden: Float[Tensor, "batch positions hidden"]) -> Held[None]:
    """Inside the block layers before `first` do nothing, and layer `first` is given `hidden`.

    Keys and values of the layers that are left out have to be in the cache already.
    """

    def give(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (hidden, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hidden}

    def pass_on(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args else kwargs["hidden_states"]

    def change(undo: Undo) -> None:
        for layer in layers[:first]:
            undo.replace(layer, "forward", of_this_thread(pass_on))
        undo.hook(layers[first], "before", give, with_kwargs=True, prepend=True)

    return Changing(change)

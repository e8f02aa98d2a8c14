"""Leaving out the first decoder layers of a forward pass whose result is known."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class Enough(Exception):
    """Raised inside a forward pass once what it was run for is known; whoever started the pass suppresses it."""


@contextmanager
def seeing_inputs(layers: Sequence[nn.Module], seen: dict[int, Tensor]) -> Generator[None]:
    """Put what enters each layer into `seen`, layer -> [batch, positions, hidden], for the time of the block."""

    def keep(number: int) -> Callable[..., None]:
        def run(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[number] = args[0] if args else kwargs["hidden_states"]

        return run

    with ExitStack() as stack:
        for number, layer in enumerate(layers):
            stack.callback(layer.register_forward_pre_hook(keep(number), with_kwargs=True).remove)
        yield


@contextmanager
def starting_at(
    layers: Sequence[nn.Module], first: int, hidden: Float[Tensor, "batch positions hidden"]
) -> Generator[None]:
    """Inside the block layers before `first` do nothing, and layer `first` is given `hidden`.

    Keys and values of the layers that are left out have to be in the cache already.
    """

    def give(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (hidden, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hidden}

    def pass_on(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args else kwargs["hidden_states"]

    with ExitStack() as stack:
        for layer in layers[:first]:
            stack.callback(_replace_forward(layer, pass_on))
        stack.callback(layers[first].register_forward_pre_hook(give, with_kwargs=True, prepend=True).remove)
        yield


def _replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Give a module another forward; returns what puts its own back."""
    held = vars(module).get("forward")
    module.forward = forward

    def restore() -> None:
        if held is None:
            del module.forward
        else:
            module.forward = held

    return restore

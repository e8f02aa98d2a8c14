"""What a decoder's blocks attend to by cross-attention, seen or replaced on its way into them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..held import Changing, Held, Undo

#: Sees what a block attends to, [..., keys, width]; returns what it shall attend to instead, or None to leave it.
Attended = Callable[[Float[Tensor, "..."]], Tensor | None]


def reading_blocks(model: nn.Module, name: str) -> list[nn.Module]:
    """The blocks of a model that are handed what they attend to under this name: those that stand in a list."""
    listed = [block for module in model.modules() if isinstance(module, nn.ModuleList) for block in module]
    return [block for block in listed if name in _names(block)]


def attending(blocks: Sequence[nn.Module], name: str, function: Attended) -> Held[None]:
    """Inside the block `function` is given what each of the blocks is called with."""

    def enter(names: list[str]) -> Callable[..., Any]:
        place = names.index(name)

        def run(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any] | None:
            states = args[place] if place < len(args) else kwargs.get(name)
            changed = function(states) if isinstance(states, Tensor) else None
            if changed is None:
                return None
            if place < len(args):
                return (*args[:place], changed, *args[place + 1 :]), kwargs
            return args, {**kwargs, name: changed}

        return run

    def change(undo: Undo) -> None:
        for block in blocks:
            undo.hook(block, "before", enter(_names(block)), with_kwargs=True)

    return Changing(change)


def _names(module: nn.Module) -> list[str]:
    return list(inspect.signature(module.forward).parameters)

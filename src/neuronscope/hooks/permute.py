"""Permuting the image's embeddings where they enter the decoder (METHODS f, metric 2).

    x'[at[r]] = x[at[order[r]]]       at: the image positions of a row, ascending; order: a permutation of 0 .. P - 1

The place is the outermost module around the decoder layers that is called with `inputs_embeds`, as transformers' models
call their language model; where none is, the input of the first layer. Positions, masks and rotary angles stay with the
positions: what moves is what the tokens hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..errors import HookNeverFired
from ..held import Held, Undo

#: Features that some families add to later layers: one row for each image token of the batch.
_DEEP = "deepstack_visual_embeds"


class KnownCall(Protocol):
    """What is known of the call of the model that is running."""

    @property
    def number(self) -> int:
        """Another one for every call."""
        ...

    def ranks(self, length: int) -> Int[Tensor, "batch positions"]:
        """For so many positions of the call, the rank of each among its row's image tokens; -1 elsewhere."""
        ...


#: A permutation of 0 .. count - 1, the same whenever it is asked for.
Order: TypeAlias = Callable[[int], Sequence[int]]


class Permuting(Held[None]):
    """Permutes embeddings in every call inside the block.

    Args:
        around: the modules around the decoder layers that may be called, the outermost first.
        first: the first layer.
        call: of the model, as it goes on.
        order: how tokens are permuted.

    """

    def __init__(self, around: Sequence[nn.Module], first: nn.Module, call: KnownCall, order: Order) -> None:
        super().__init__()
        self._around = around
        self._first = first
        self._permuter = _Permuter(call, order)

    def _change(self, undo: Undo) -> None:
        for module in self._around:
            undo.hook(module, "before", self._permuter.around, with_kwargs=True)
        undo.hook(self._first, "before", self._permuter.first_layer, with_kwargs=True, prepend=True)

    def require_reached(self, error: BaseException | None) -> None:
        """Raise HookNeverFired unless image tokens were seen, or the block ended with an error."""
        if error is None and not self._permuter.reached:
            raise HookNeverFired("no image embeddings were permuted: the model was not run inside the block")


class _Permuter:
    """The hooks of one block."""

    def __init__(self, call: KnownCall, order: Order) -> None:
        self._call = call
        self._order = order
        self._done = -1  # the number of the call in which it was done
        self.reached = False

    def around(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a module that holds the layers."""
        given = kwargs.get("inputs_embeds")
        if self._done == self._call.number or not isinstance(given, Tensor):
            return None
        return args, self._changed(kwargs, "inputs_embeds")

    def first_layer(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before the first layer."""
        if self._done == self._call.number:
            return None
        if args:
            return (self._permuted(args[0]), *args[1:]), kwargs
        return args, self._changed(kwargs, "hidden_states")

    def _changed(self, kwargs: dict[str, Any], name: str) -> dict[str, Any]:
        changed = {**kwargs, name: self._permuted(kwargs[name])}
        deep = kwargs.get(_DEEP)
        if deep is not None:
            rows = _image_positions(self._call.ranks(kwargs[name].shape[1]))
            changed[_DEEP] = [self._permuted_rows(features, rows) for features in deep]
        return changed

    def _permuted(self, given: Tensor) -> Tensor:
        self._done = self._call.number
        source = torch.arange(given.shape[1]).repeat(given.shape[0], 1)
        for row, at in enumerate(_image_positions(self._call.ranks(given.shape[1]))):
            if len(at):
                self.reached = True
                source[row, at] = at[torch.as_tensor(self._order(len(at)))]
        return torch.take_along_dim(given, source.to(given.device)[..., None], dim=1)

    def _permuted_rows(self, features: Tensor, rows: list[Tensor]) -> Tensor:
        source: list[int] = []
        for at in rows:
            start = len(source)
            source += [start + rank for rank in self._order(len(at))] if len(at) else []
        return features[source]


def _image_positions(ranks: Int[Tensor, "batch positions"]) -> list[Tensor]:
    return [torch.nonzero(row >= 0)[:, 0].cpu() for row in ranks]

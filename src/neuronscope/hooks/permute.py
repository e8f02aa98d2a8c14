"""Permuting the image's embeddings where they enter the decoder (METHODS f, metric 2).

    x'[at[r]] = x[at[order[r]]]       at: the image positions of a row, ascending; order: a permutation of 0 .. P - 1

The place is the outermost module around the decoder layers that is called with `inputs_embeds`, as transformers' models
call their language model; where none is, the input of the first layer. Positions, masks and rotary angles stay with the
positions: what moves is what the tokens hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..architecture.structure import Structure
from ..errors import HookNeverFired

#: For so many positions of the call that is running, the rank of each among its row's image tokens; -1 elsewhere.
Ranks: TypeAlias = Callable[[int], Int[Tensor, "batch positions"]]
#: A permutation of 0 .. count - 1, the same whenever it is asked for.
Order: TypeAlias = Callable[[int], Sequence[int]]

#: Features that some families add to later layers: one row for each image token of the batch.
_DEEP = "deepstack_visual_embeds"


@contextmanager
def permuting(model: nn.Module, structure: Structure, ranks: Ranks, order: Order) -> Generator[None]:
    """Permute embeddings in every call inside the block.

    Raises HookNeverFired on a clean exit when no image token was seen.
    """
    permuter = _Permuter(model, ranks, order)
    first = structure.layers[0]
    with ExitStack() as stack:
        for module in (module for module in model.modules() if _holds(module, first)):
            stack.callback(module.register_forward_pre_hook(permuter.around, with_kwargs=True).remove)
        hook = first.register_forward_pre_hook(permuter.first_layer, with_kwargs=True, prepend=True)
        stack.callback(hook.remove)
        yield
    if not permuter.reached:
        raise HookNeverFired("no image embeddings were permuted: the model was not run inside the block")


class _Permuter:
    """The hooks of one block."""

    def __init__(self, model: nn.Module, ranks: Ranks, order: Order) -> None:
        self._model = model
        self._ranks = ranks
        self._order = order
        self._done = False  # in the call of the model that is running
        self.reached = False

    def around(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a module that holds the layers."""
        if module is self._model:
            self._done = False
        given = kwargs.get("inputs_embeds")
        if self._done or not isinstance(given, Tensor):
            return None
        self._done = True
        return args, self._changed(kwargs, "inputs_embeds")

    def first_layer(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before the first layer."""
        if self._done:
            self._done = False
            return None
        if args:
            return (self._permuted(args[0]), *args[1:]), kwargs
        return args, self._changed(kwargs, "hidden_states")

    def _changed(self, kwargs: dict[str, Any], name: str) -> dict[str, Any]:
        changed = {**kwargs, name: self._permuted(kwargs[name])}
        deep = kwargs.get(_DEEP)
        if deep is not None:
            rows = _image_positions(self._ranks(kwargs[name].shape[1]))
            changed[_DEEP] = [self._permuted_rows(features, rows) for features in deep]
        return changed

    def _permuted(self, given: Tensor) -> Tensor:
        source = torch.arange(given.shape[1]).repeat(given.shape[0], 1)
        for row, at in enumerate(_image_positions(self._ranks(given.shape[1]))):
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


def _holds(module: nn.Module, inner: nn.Module) -> bool:
    return module is not inner and any(part is inner for part in module.modules())

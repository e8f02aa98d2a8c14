"""Steps of writing whose lower layers run once for all rows that show the same and have written the same (METHODS h).

Below the first changed layer a row's states are those of its image and its text alone, however its neurons were changed
above. So rows of one image and one text are one row there:

    [rows, 1, hidden]  ->  one row of each group, layers 0 to f - 1, keys and values of groups  ->  [rows, 1, hidden]

A group splits where its rows write different tokens. Rows never meet again: keys and values hold all of their text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from ..held import Changing, Held, Undo

#: Arguments of a layer -> the axis along which they have rows; others have them along the first.
_ROWS = {"position_embeddings": -3, "position_ids": -2}


def sharing(layers: Sequence[nn.Module], below: int, same: Sequence[Hashable], cache: DynamicCache) -> Held[None]:
    """Inside the block layers before `below` run once for rows that are the same.

    Args:
        layers: of the decoder.
        below: the first layer that runs for every row.
        same: of each row, equal where image and text so far, but for the last token, are.
        cache: keys and values of all layers, one row each; so they are again behind the block.
    """
    groups = _Groups(same, cache, below)

    def change(undo: Undo) -> None:
        if groups.alone or not below:
            return
        undo.note(groups.apart)
        groups.together()
        for layer in layers[:below]:
            undo.hook(layer, "before", groups.one_of_each(layer is layers[0]), with_kwargs=True, prepend=True)
        undo.hook(layers[below], "before", groups.every_row, with_kwargs=True, prepend=True)

    return Changing(change)


class _Groups:
    """Which rows are the same so far, and keys and values of lower layers that have a row for each group."""

    def __init__(self, same: Sequence[Hashable], cache: DynamicCache, below: int) -> None:
        self._cache, self._below = cache, below
        self._group = _numbered(same)
        self._places: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._joined = False

    @property
    def alone(self) -> bool:
        """Whether no row is like another; then groups are rows, in their order."""
        return max(self._group) + 1 == len(self._group)

    def together(self) -> None:
        """Keep the keys and values of the first row of each group."""
        self._joined = True
        self._pick(self._firsts())

    def apart(self) -> None:
        """Keys and values of every row again."""
        if self._joined:
            self._pick(self._group)
            self._joined = False

    def one_of_each(self, entering: bool) -> Callable[..., Any]:
        """What a lower layer is called with: one row of each group. Where rows enter, they show what they wrote."""

        def run(_module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
            if entering:
                self._split(given[0] if given else named["hidden_states"])
            if self.alone:
                return None
            kept = {name: self._few(name, value) for name, value in named.items()}
            few = tuple(self._few("", value) for value in given)
            if not entering:  # what the layer before gave has one row of each group
                kept.update({name: value for name, value in named.items() if name == "hidden_states"})
                few = (*given[:1], *few[1:])
            return few, kept

        return run

    def every_row(self, _module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """What the first layer that all rows run is called with."""
        if self.alone:
            return None
        hidden = given[0] if given else named["hidden_states"]
        spread = hidden.index_select(0, self._at(hidden.device)[1])
        return ((spread, *given[1:]), named) if given else (given, {**named, "hidden_states": spread})

    def _split(self, hidden: Float[Tensor, "rows positions hidden"]) -> None:
        """Rows that have written another token than the others of their group leave it."""
        if self.alone:
            return
        told = hidden.detach().flatten(1).contiguous().view(torch.uint8).cpu().numpy()
        new = _numbered([(group, row.tobytes()) for group, row in zip(self._group, told, strict=True)])
        if new != self._group:
            before = [self._group[new.index(number)] for number in range(max(new) + 1)]
            self._group = new
            self._places.clear()
            self._pick(before)

    def _firsts(self) -> list[int]:
        return [self._group.index(number) for number in range(max(self._group) + 1)]

    def _at(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The first row of each group, and the group of each row."""
        if device not in self._places:
            self._places[device] = (
                torch.tensor(self._firsts(), device=device),
                torch.tensor(self._group, device=device),
            )
        return self._places[device]

    def _few(self, name: str, value: Any) -> Any:
        """One row of each group of an argument that has all rows; others, of one row or none, as they are."""
        if isinstance(value, tuple | list):
            return type(value)(self._few(name, one) for one in value)
        axis = _ROWS.get(name.removesuffix("_global").removesuffix("_local"), 0)
        if not isinstance(value, Tensor) or value.ndim < max(1, -axis) or value.shape[axis] != len(self._group):
            return value
        return value.index_select(axis, self._at(value.device)[0])

    def _pick(self, rows: Sequence[int]) -> None:
        for held in self._cache.layers[: self._below]:
            own: Any = held
            at = torch.tensor(rows, device=own.keys.device)
            own.keys, own.values = own.keys.index_select(0, at), own.values.index_select(0, at)


def _numbered(same: Sequence[Hashable]) -> list[int]:
    """Numbers of groups in the order of their first rows."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(one, len(numbers)) for one in same]

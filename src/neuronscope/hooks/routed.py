"""Neurons of routed experts.

The experts of a layer are one parameter [experts, hidden, channels], computed by whatever kernel is configured: there
is no linear map to hook. A neuron is (expert, channel), written as unit = expert * channels + channel, and is 0 by
definition for tokens that were not routed to its expert. To read them, the module's plain loop over experts runs once
with its last linear map watched; to change them, it runs again with the changed values put in. Where nothing is
changed, the configured kernel gives the output, equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..held import Changing, Held, Undo
from ..held.modes import FunctionMode
from ..held.undo import of_this_thread

#: Sees [tokens, experts * channels]; returns a replacement or None.
Call = Callable[[Tensor], Tensor | None]


def tap_routed(undo: Undo, experts: nn.Module, call: Call) -> None:
    """Replace an experts module's `forward` until it is undone."""
    original: Any = experts.forward

    def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        given = (hidden_states, top_k_index, top_k_weights)
        watch = _Watch(experts, top_k_index)
        with _eager(experts, watch):
            original(*given)
        changed = call(watch.activations())
        if changed is None:
            return original(*given)
        with _eager(experts, _Watch(experts, top_k_index, changed)):
            return original(*given)

    undo.replace(experts, "forward", of_this_thread(forward))


class _Watch(FunctionMode):
    """Sees, and replaces, the input of each expert's last linear map."""

    def __init__(self, experts: nn.Module, index: Int[Tensor, "tokens k"], new: Tensor | None = None) -> None:
        super().__init__()
        self._experts = experts
        self._index = index
        self._new = new
        self._seen: list[tuple[int, Tensor, Tensor]] = []

    @property
    def _weight(self) -> Tensor:
        """W_out as it is now: accelerate may bring the values for the call only."""
        return self._experts.down_proj  # pyright: ignore[reportReturnType]

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear and self._is_expert(args[1]):
            given, matrix = args[0], args[1]
            expert = (matrix.storage_offset() - self._weight.storage_offset()) // self._weight.stride(0)
            _, tokens = torch.where(expert == self._index.T)  # in the order of the loop: by rank, then by token
            tokens = tokens.to(given.device)
            if self._new is None:
                self._seen.append((expert, tokens, given))
            else:
                channels = self._weight.shape[2]
                own = self._new.to(given.device)[:, expert * channels : (expert + 1) * channels]
                args = (own[tokens].to(given.dtype), *args[1:])
        return func(*args, **(kwargs or {}))

    def _is_expert(self, value: Tensor) -> bool:
        # The storage itself, not its address: a tensor that is made of others may have none.
        one, other = (
            tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
            for tensor in (value, self._weight)
        )
        return one == other and value.shape == self._weight.shape[1:]

    def activations(self) -> Float[Tensor, "tokens units"]:
        """All neurons of all tokens, 0 where a token did not visit an expert."""
        experts, _, channels = self._weight.shape
        _, _, some = self._seen[0]
        result = some.new_zeros(self._index.shape[0], experts * channels)
        for expert, tokens, values in self._seen:
            columns = torch.arange(expert * channels, (expert + 1) * channels, device=values.device)
            result = result.index_put((tokens[:, None], columns[None]), values)
        return result


def _eager(experts: nn.Module, watch: _Watch) -> Held[None]:
    """The plain loop instead of the configured kernel, watched, for the time of the block."""

    def change(undo: Undo) -> None:
        config: Any = experts.config
        before = config._experts_implementation
        undo.note(lambda: setattr(config, "_experts_implementation", before))
        config._experts_implementation = "eager"
        undo.enter(watch)

    return Changing(change)

"""The KV cache of a pass that ends as soon as its cache is complete."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from ..hooks.skip import Enough


class EndingCache(DynamicCache):
    """Ends the pass once the last layer's keys and values are known: nothing after them enters a cache.

    What the last layer gives at these positions is read by no later position (METHODS h, 2).
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.ends_at: int | None = None

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Store as always; raise Enough after layer `ends_at`."""
        result = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self.ends_at:
            raise Enough
        return result


def held_by(cache: Any) -> list[tuple[Float[Tensor, "_rows _heads _positions _width"], Tensor]]:
    """Keys and values of each layer that has them."""
    layers: Any = getattr(cache, "layers", ())
    return [(layer.keys, layer.values) for layer in layers if isinstance(getattr(layer, "keys", None), torch.Tensor)]

"""States of a model between two pictures: what the decoder is given of the image, mixed of both.

embeddings   x_p = (1 - b) x_p^original + b x_p^edited     what enters the first layer at the image tokens p
attended     x_k = (1 - b) x_k^original + b x_k^edited     what cross-attention reads, in a decoder without image tokens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..held import hooked
from ..hooks.attended import attending, reading_blocks
from ..loading import VLM


def entering(
    vlm: VLM, at: Int[Tensor, "positions"], found: Callable[[Float[Tensor, "..."]], None]
) -> AbstractContextManager[Any]:
    """Inside the block `found` is given what the decoder is given of a row's image, which is at those positions."""
    media = vlm.family.media

    def read(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        stream = _stream(given, named)
        found(stream[0].index_select(0, at.to(stream.device)).clone())

    if media is None:
        return hooked(vlm.structure.layers[0], "before", read)
    return attending(reading_blocks(vlm.model, media.states), media.states, found)


def moved(
    vlm: VLM, at: Int[Tensor, "positions"], other: Float[Tensor, "..."], between: Sequence[float]
) -> AbstractContextManager[Any]:
    """Inside the block the decoder is given a mixture in each row: 0 is the picture of the call, 1 the other one.

    Where cross-attention reads the picture there is one row.
    """
    if not any(between):
        return nullcontext()
    media = vlm.family.media

    def mix(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        stream = _stream(given, named)
        where = at.to(stream.device)
        own = stream.index_select(1, where)
        share = torch.tensor(between, dtype=own.dtype, device=own.device)[:, None, None]
        mixed = stream.index_copy(1, where, torch.lerp(own, other.to(own), share))
        return ((mixed, *given[1:]), named) if given else (given, {**named, "hidden_states": mixed})

    if media is None:
        return hooked(vlm.structure.layers[0], "before", mix)
    (share,) = between
    blocks = reading_blocks(vlm.model, media.states)
    return attending(blocks, media.states, lambda states: torch.lerp(states, other.to(states), share))


def _stream(given: tuple[Any, ...], named: Mapping[str, Any]) -> Float[Tensor, "batch sequence hidden"]:
    return given[0] if given else named["hidden_states"]

"""The image's embeddings in another order: do neurons for a concept depend on where in the sequence it stands?

See :mod:`neuronscope.hooks.permute` for the formula (METHODS f, metric 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ..errors import InvalidOption
from ..held import Held, Undo
from ..held.turns import take
from ..hooks.permute import Permuting
from ..models.loaded import LoadedModel
from ..models.spans import require_span
from .positions import Positions


def permuted_image(vlm: LoadedModel, order: int | Sequence[int] = 0) -> Held[None]:
    """Every call of the model inside the block reads the image tokens' embeddings in another order.

    Args:
        vlm: the model.
        order: a seed, from which a permutation for any number of image tokens is drawn; or the permutation itself, for
            images of that many tokens: token r holds what token order[r] held.

    Raises InvalidOption for a sequence that is no permutation, or of another length than an image has tokens;
    NoImagePositions where the decoder has no image tokens; HookNeverFired when the model was not run inside the block.
    """
    require_span(vlm.family, "image")
    if isinstance(order, int):
        if order < 0:
            raise InvalidOption(f"order={order}: a seed has to be at least 0")
    elif sorted(order) != list(range(len(order))):
        raise InvalidOption(f"order={list(order)!r:.80} is not a permutation of 0 to {len(order) - 1}")

    def of(count: int) -> Sequence[int]:
        if isinstance(order, int):
            return np.random.default_rng([order, count]).permutation(count).tolist()
        if len(order) != count:
            raise InvalidOption(f"order has {len(order)} entries, the image has {count} tokens")
        return order

    return _Permuted(vlm, of)


class _Permuted(Held[None]):
    def __init__(self, vlm: LoadedModel, order: Callable[[int], Sequence[int]]) -> None:
        super().__init__()
        self._vlm = vlm
        positions = Positions(vlm)
        self._watch = positions.watching()
        first = vlm.structure.layers[0]
        self._permuting = Permuting([module for module, _ in vlm.entries], first, _ImageCall(positions), order)

    def _wait(self, undo: Undo) -> None:
        take(undo, self._vlm.model, "`with permuted_image(...)`")

    def _change(self, undo: Undo) -> None:
        undo.enter(self._watch)
        undo.enter(self._permuting)

    def _left(self, error: BaseException | None) -> None:
        self._permuting.require_reached(error)


class _ImageCall:
    """A call as seen by its image tokens."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    @property
    def number(self) -> int:
        return self._positions.number

    def ranks(self, length: int) -> Int[Tensor, "batch positions"]:
        return self._positions.ranks("image", "prefill", length)

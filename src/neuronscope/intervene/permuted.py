"""The image's embeddings in another order: do neurons for a concept depend on where in the sequence it stands?

See :mod:`neuronscope.hooks.permute` for the formula (METHODS f, metric 2).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np

from ..errors import InvalidOption
from ..hooks.permute import permuting
from ..models.loaded import LoadedModel
from .positions import Positions


@contextmanager
def permuted_image(vlm: LoadedModel, order: int | Sequence[int] = 0) -> Generator[None]:
    """Every call of the model inside the block reads the image tokens' embeddings in another order.

    Args:
        vlm: the model.
        order: a seed, from which a permutation for any number of image tokens is drawn; or the permutation itself, for
            images of that many tokens: token r holds what token order[r] held.

    Raises InvalidOption for a sequence that is no permutation, or of another length than an image has tokens;
    NoImagePositions where the decoder has no image tokens; HookNeverFired when the model was not run inside the block.
    """
    vlm.require_image_positions()
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

    positions = Positions(vlm)
    with (
        positions.watching(),
        permuting(vlm.model, vlm.structure, lambda length: positions.ranks("image", "prefill", length), of),
    ):
        yield

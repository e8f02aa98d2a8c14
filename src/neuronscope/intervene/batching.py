"""Do vision tower and projector see all rows of a batch at once, or one picture after the other?

Both look alike from inside: a module is called with the patches of something. Which rows these belong to is only sure
when all of them come in one call, so a model whose tower loops over pictures is given one row at a time.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..held import in_turn
from ..hooks import HookSession, Tap
from ..models.loaded import LoadedModel
from ..types import ALONG_PROMPT, Part

_KNOWN: WeakKeyDictionary[LoadedModel, dict[Part, bool]] = WeakKeyDictionary()


@in_turn
def one_row_at_a_time(vlm: LoadedModel, part: Part) -> bool:
    """Whether a part's FFNs are called more often for two rows than for one. Tried out once for each model."""
    known = _KNOWN.setdefault(vlm, {})
    if part not in known:
        before = part not in ALONG_PROMPT
        known[part] = before and (bool(vlm.family.single) or _calls(vlm, part, 2) > _calls(vlm, part, 1))
    return known[part]


@torch.no_grad()
def _calls(vlm: LoadedModel, part: Part, rows: int) -> int:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    counted = [0]

    def count(_z: Tensor) -> None:
        counted[0] += 1

    layers = range(len(vlm.structure.stack(part).ffns))
    with HookSession(vlm.structure, [Tap(layer, "neuron", count, part) for layer in layers], must_fire=False):
        vlm.logits(vlm.prepare([picture] * rows))
    return counted[0]

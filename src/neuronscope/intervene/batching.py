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
from ..models.placing import placing
from ..types import Part

#: Model -> part, and the settings under which it was tried -> whether it was so.
_KNOWN: WeakKeyDictionary[LoadedModel, dict[object, bool]] = WeakKeyDictionary()


@in_turn
def one_row_at_a_time(vlm: LoadedModel, part: Part) -> bool:
    """Whether a part's FFNs are called more often for two rows than for one.

    Tried out once for each model, and again when settings have changed that decide how pictures are processed.
    """
    if part == "text":
        return False
    known, key = _KNOWN.setdefault(vlm, {}), (part, placing(vlm))
    if key not in known:
        known[key] = bool(vlm.family.single) or _calls(vlm, part, 2) > _calls(vlm, part, 1)
    return known[key]


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

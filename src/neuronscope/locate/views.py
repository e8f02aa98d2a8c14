"""A photograph seen again: its corners, cut out of both pictures alike.

    (o, e)  ->  (o[c], e[c])        c: the picture without a `margin` of its width and of its height, at one corner

Neurons that a method finds in one framing and not in the next are of the framing. Scores averaged over a few framings
of each photograph carry over to others better (docs/results/natural/carry_over.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import InvalidSample
from ..samples.inpaint import Counterfactual

#: What is left out on each side, in margins: left, top, right, bottom.
CORNERS: Mapping[str, tuple[int, int, int, int]] = {
    "top left": (0, 0, 1, 1),
    "bottom right": (1, 1, 0, 0),
    "top right": (1, 0, 0, 1),
    "bottom left": (0, 1, 1, 0),
}
#: Of width and height.
MARGIN = 0.1


def photograph_of(pair: Counterfactual) -> str:
    """Which photograph a pair is an edit or a view of: pairs with the same original are of one."""
    return str(pair.options.get("of") or hashlib.sha256(pair.original.tobytes()).hexdigest()[:16])


def is_view(pair: Counterfactual) -> bool:
    """Whether a pair shows a part of its photograph only."""
    return "of" in pair.options


def corner(pair: Counterfactual, name: str, margin: float = MARGIN) -> Counterfactual:
    """One of the :data:`CORNERS` of a pair. Raises InvalidSample where the edit left nothing of it changed."""
    width, height = pair.original.size
    left, top, right, bottom = CORNERS[name]
    x0, y0, x1, y1 = (
        *(int(width * margin * left), int(height * margin * top)),
        *(int(width * (1 - margin * right)), int(height * (1 - margin * bottom))),
    )
    mask = pair.mask[y0:y1, x0:x1]
    if not mask.any() or mask.all():
        raise InvalidSample(f"the {name} of {pair.sample.image_id!r} shows {'all' if mask.any() else 'nothing'} of it")
    original, edited = (picture.crop((x0, y0, x1, y1)) for picture in (pair.original, pair.edited))
    framing: dict[str, Any] = {"boxes": (), "others": (), "exact": None, "annotated": None}
    return replace(
        pair,
        sample=replace(pair.sample, image=original, mask=mask, **framing),
        original=original,
        edited=edited,
        mask=mask,
        options={**pair.options, "view": name, "of": photograph_of(pair)},
    )

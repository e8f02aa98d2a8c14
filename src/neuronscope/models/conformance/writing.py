"""Text under noise: with and without a cache, together and alone, twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..inputs import Inputs
from .parts import (
    NotApplicable,
    Outcome,
    checked_span,
    generate,
    noise_picture,
    relative,
    some_neurons,
    tolerance,
)

if TYPE_CHECKING:
    from ..vlm import VLM


def check_cache(vlm: VLM) -> Outcome:
    """Noise while the prompt is read gives the same logits at every step with and without a KV cache."""
    from ...intervene.operations import Noise

    if vlm.family.cached:
        return NotApplicable(vlm.family.cached)
    inputs = vlm.prepare([noise_picture()])
    noise = Noise(some_neurons(vlm), level=3.0, span=checked_span(vlm))
    written = [generate(vlm, inputs, noise, use_cache=use) for use in (True, False)]
    difference = relative(written[0][1], written[1][1])
    return f"largest relative difference {difference:.1e}", difference < tolerance(vlm)


def check_batch(vlm: VLM) -> Outcome:
    """Prompts of different lengths, padded together under noise, give what each gives by itself."""
    from ...intervene.operations import Noise

    if vlm.family.single:
        return NotApplicable(vlm.family.single)
    rows = [
        vlm.prepare([noise_picture((90, 70), i)], prompt=p).rows[0] for i, p in enumerate(("The image shows a", "a"))
    ]
    noise = Noise(some_neurons(vlm), level=3.0, span=checked_span(vlm))
    together = generate(vlm, Inputs(tuple(rows)), noise)[1]
    alone = [generate(vlm, Inputs((row,)), noise)[1][0] for row in rows]
    worst = max(relative(together[i], alone[i]) for i in range(len(rows)))
    return f"largest relative difference {worst:.1e}", worst < tolerance(vlm)


def check_noise(vlm: VLM) -> Outcome:
    """A draw repeats, and two draws differ."""
    from ...intervene.operations import Noise

    inputs = vlm.prepare([noise_picture()])
    noise = Noise(some_neurons(vlm), level=3.0, draws=2, span=checked_span(vlm))
    first, again, other = (generate(vlm, inputs, noise, draw=d)[1] for d in (0, 0, 1))
    clean = generate(vlm, inputs, None)[1]
    same, differs = bool(torch.equal(first, again)), not torch.equal(first, other)
    moves = not torch.equal(first, clean)
    words = "repeats" if same else "does not repeat"
    return f"{words}; draws {'differ' if differs else 'are alike'}; logits {'move' if moves else 'stay'}", (
        same and differs and moves
    )

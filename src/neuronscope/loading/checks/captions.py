"""Text under noise: with and without a cache, together and alone, twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...models.decoding import Decoding
from ...models.inputs import Inputs
from ...models.rounding import coarse, relative
from ..vlm import VLM
from .common import (
    STEPS,
    NotApplicable,
    Outcome,
    Written,
    checked_span,
    disagreement,
    generate,
    noise_picture,
    some_neurons,
    within_rounding,
)


def check_cache(vlm: VLM) -> Outcome:
    """Noise while the prompt is read gives the same logits at every step with and without a KV cache."""
    from ...intervene.operations import Noise

    if vlm.family.cached:
        return NotApplicable(vlm.family.cached)
    inputs = vlm.prepare([noise_picture()])
    noise = Noise(some_neurons(vlm), level=3.0, span=checked_span(vlm))
    cached, uncached = (generate(vlm, inputs, noise, use_cache=use) for use in (True, False))
    return _compared(vlm, inputs, [(cached, uncached)])


def check_batch(vlm: VLM) -> Outcome:
    """Prompts of different lengths, padded together under noise, give what each gives by itself."""
    from ...intervene.operations import Noise

    if vlm.family.single:
        return NotApplicable(vlm.family.single)
    asked = (Decoding(), Decoding("a"))
    rows = [vlm.prepare([noise_picture((90, 70), i)], how).rows[0] for i, how in enumerate(asked)]
    noise = Noise(some_neurons(vlm), level=3.0, span=checked_span(vlm))
    ids, logits = generate(vlm, Inputs(tuple(rows)), noise)
    alone = [generate(vlm, Inputs((row,)), noise) for row in rows]
    pairs = [((ids[i : i + 1], logits[i : i + 1]), one) for i, one in enumerate(alone)]
    return _compared(vlm, Inputs((rows[0],)), pairs)


def _compared(vlm: VLM, inputs: Inputs, pairs: Sequence[tuple[Written, Written]]) -> tuple[str, bool]:
    """The line of a check that writes under noise in two ways; the first of `pairs` is for `inputs`."""
    found = [disagreement(a, b) for a, b in pairs]
    worst, steps = max(difference for difference, _ in found), sum(steps for _, steps in found)
    effect = relative(pairs[0][1][1], generate(vlm, inputs, None)[1])
    line = f"largest relative difference {worst:.1e}"
    if coarse(vlm):
        line += f" in {steps} of {STEPS * len(pairs)} steps, noise moves by {effect:.1e}"
    return line, within_rounding(vlm, worst, effect)


def check_noise(vlm: VLM) -> Outcome:
    """A draw repeats, two draws differ, and both noise and zeros move the logits."""
    from ...intervene.operations import Noise, Zero

    inputs = vlm.prepare([noise_picture()])
    noise = Noise(some_neurons(vlm), level=3.0, draws=2, span=checked_span(vlm))

    def written(change: Any, draw: int = 0) -> torch.Tensor:
        return generate(vlm, inputs, change, draw=draw, steps=2)[1]  # a step behind the prompt, and one behind that

    first, again, other = (written(noise, draw) for draw in (0, 0, 1))
    clean, zeros = written(None), written(Zero(noise.neurons, span=noise.span))
    same, differs = bool(torch.equal(first, again)), not torch.equal(first, other)
    moves = not (torch.equal(first, clean) or torch.equal(zeros, clean))
    words = "repeats" if same else "does not repeat"
    return f"{words}; draws {'differ' if differs else 'are alike'}; logits {'move' if moves else 'stay'}", (
        same and differs and moves
    )

"""Captions from copied clean states against captions from the beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...types import Neurons
from .parts import NotApplicable, Outcome, noise_picture

if TYPE_CHECKING:
    from ..vlm import VLM


def check_copied_states(vlm: VLM) -> Outcome:
    """Under noise from the second layer on, what is not changed may be copied (intervene/captioner.py)."""
    from ...intervene.captioner import Captioner
    from ...intervene.captions import generate_captions
    from ...intervene.operations import Noise

    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    first = vlm.structure.studied[min(1, len(vlm.structure.studied) - 1)]
    neurons = Neurons.of((first, unit) for unit in range(0, vlm.widths[first], 2))
    noise, picture = Noise(neurons, level=2.0, draws=2), noise_picture()
    captioner = Captioner(vlm, [picture])
    copied = captioner.captions(noise)
    if captioner.plain.get(first):
        return NotApplicable(captioner.plain[first])
    same = [caption.ids for caption in copied[0]] == [c.ids for c in generate_captions(vlm, [picture], noise)[0]]
    return "captions are the same" if same else "captions differ", same

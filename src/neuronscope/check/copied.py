"""Captions from copied clean states against captions from the beginning."""

from __future__ import annotations

from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, noise_picture
from ..types import Neurons

#: Types of at least as many bytes have to give the same captions; in shorter ones the captioner compares logits itself.
_EXACT_BYTES = 4


def check_copied_states(vlm: VLM) -> Outcome:
    """Under noise from the second layer on, what is not changed may be copied (caption/captioner.py)."""
    from ..caption import Captioner, generate_captions
    from ..intervene.operations import Noise

    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    first = vlm.structure.studied[min(1, len(vlm.structure.studied) - 1)]
    neurons = Neurons.of((first, unit) for unit in range(0, vlm.widths[first], 2))
    noise, picture = Noise(neurons, level=2.0, draws=2), noise_picture()
    captioner = Captioner(vlm, [picture])
    copied = captioner.captions(noise)
    if captioner.plain.get(first):
        return NotApplicable(captioner.plain[first])
    pairs = zip(copied[0], generate_captions(vlm, [picture], noise)[0], strict=True)
    same = [ours.ids == plain.ids for ours, plain in pairs]
    if all(same):
        return "captions are the same", True
    if vlm.dtype.itemsize < _EXACT_BYTES:  # the order of sums decides between words that are nearly as likely
        return f"logits agree within rounding; {sum(same)} of {len(same)} captions are the same in {vlm.dtype}", True
    return "captions differ", False

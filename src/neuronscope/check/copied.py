"""What begins at clean states that were kept, captions and exact effects, against passes from the beginning."""

from __future__ import annotations

import numpy as np
from PIL import ImageOps

from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, noise_picture
from ..locate import Exchange
from ..locate.scores import Layout
from ..locate.target import Word
from ..models.decoding import Decoding
from ..models.rounding import tolerance
from ..types import Neurons

#: Types of at least as many bytes have to give the same captions; in shorter ones the captioner compares logits itself.
_EXACT_BYTES = 4
#: Captions long enough to leave a draft and to be written on.
_SHORT = Decoding(max_new_tokens=8)


def check_copied_states(vlm: VLM) -> Outcome:
    """Under noise from the second layer on, what is not changed may be copied (caption/captioner.py)."""
    from ..caption import Captioner, generate_captions
    from ..intervene.operations import Noise

    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    first = vlm.structure.studied[min(1, len(vlm.structure.studied) - 1)]
    neurons = Neurons.of((first, unit) for unit in range(0, vlm.widths[first], 2))
    noise, picture = Noise(neurons, level=2.0, draws=2), noise_picture()
    captioner = Captioner(vlm, [picture], decoding=_SHORT)
    copied = captioner.captions(noise)
    if captioner.plain.get(first):
        return NotApplicable(captioner.plain[first])
    pairs = zip(copied[0], generate_captions(vlm, [picture], noise, decoding=_SHORT)[0], strict=True)
    same = [ours.ids == plain.ids for ours, plain in pairs]
    if all(same):
        return "captions are the same", True
    if vlm.dtype.itemsize < _EXACT_BYTES:  # the order of sums decides between words that are nearly as likely
        return f"logits agree within rounding; {sum(same)} of {len(same)} captions are the same in {vlm.dtype}", True
    return "captions differ", False


def check_single_neurons(vlm: VLM) -> Outcome:
    """Neurons of the first, a middle and the last layer exchanged one by one (locate/exchanged.py), and all of a layer.

    Their effects on one logit, for those of the mirrored picture: kept states against passes from the beginning.
    """
    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    layout, studied, picture = Layout(vlm.widths), vlm.structure.studied, noise_picture()
    layers = sorted({studied[0], studied[len(studied) // 2], studied[-1]})
    owner = np.repeat(np.arange(vlm.layers), vlm.widths)
    sets = [np.arange(layout.total) == layout.starts[layer] + unit for layer in layers for unit in (0, 1)]
    sets += [owner == layer for layer in layers]
    word = Word((), ((1, 5),))
    exchange = Exchange.of(vlm, picture, ImageOps.mirror(picture), word, Decoding(), target="logit")
    ours = exchange.effects(sets)
    reasons = [why for why in (exchange.kept.why, *exchange.kept.plain.values()) if why]
    if len(reasons) >= max(1, len(exchange.kept.plain)):
        return NotApplicable(reasons[0])
    plain = exchange.plain_effects(sets)
    spread = float(vlm.logits(exchange.inputs)[0, -1].float().std())
    error = float(np.abs(ours - plain).max()) / max(spread, 1e-12)
    return f"effects differ by {error:.1e} of the logits' spread", error <= 2 * tolerance(vlm, "states")

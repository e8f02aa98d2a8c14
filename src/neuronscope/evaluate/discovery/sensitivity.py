"""Do the words that a noun's neurons promote say what the caption says?

METHODS (f), metric 1:

    text of a noun   the 10 strongest tokens of each of its 10 best neurons, joined by ", "
    sensitivity      similarity of that text to the caption (BERTScore), or to the image (CLIPScore); mean over the
                     nouns of an image, then over images
    named            whether the noun's own token is among those tokens; needs no model

The texts are part of the result, so that any other similarity can be computed from what is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...held import in_turn
from ...loading import VLM
from ...locate.discovery import Discovered, NounNeurons
from ...models.lens import DecodeNorm
from ...samples.image import ImageSource
from ...types import Neurons
from ...view.decode import promoted
from ..captions import CaptionMetric, Scored, compare
from .sets import CONTROLS

#: What the discovered neurons are called beside the controls.
FOUND = "found"


@dataclass(frozen=True)
class Described:
    """What some neurons of a noun promote.

    Attributes:
        noun: the noun.
        of: "found", or the control's name.
        neurons: the neurons described.
        text: their tokens.
        named: whether the noun's own token is among them.
    """

    noun: str
    of: str
    neurons: Neurons
    text: str
    named: bool


@in_turn
def describe(
    vlm: VLM, found: Discovered, *, neurons: int = 10, tokens: int = 10, norm: DecodeNorm = "none", seed: int = 0
) -> list[Described]:
    """The texts of every noun of an image, of its neurons and of both random controls.

    Args:
        vlm: the model.
        found: from :func:`neuronscope.locate.discover`.
        neurons: how many of the best neurons.
        tokens: how many tokens of each.
        norm: as in :func:`neuronscope.decode`.
        seed: of the controls.

    Raises InvalidOption for numbers below 1.
    """
    rng = np.random.default_rng(seed)
    result: list[Described] = []
    for noun in found.nouns:
        best = noun.neurons[:neurons]
        sets = {FOUND: best}
        for name, draw in CONTROLS.items():
            sets[name] = replace(best, members=draw(vlm.widths, best, rng), scores={}, method=name)
        result += [_described(vlm, found, noun, of, members, tokens, norm) for of, members in sets.items()]
    return result


def _described(
    vlm: VLM, found: Discovered, noun: NounNeurons, of: str, neurons: Neurons, tokens: int, norm: DecodeNorm
) -> Described:
    words = [word.strip() for one in promoted(vlm, neurons, top=tokens, norm=norm) for word in one.tokens]
    own = vlm.tokenizer.decode([found.caption.ids[noun.tokens[0]]]).strip()
    return Described(noun.noun.text, of, neurons, ", ".join(word for word in words if word), own in words)


def similarity(
    metric: CaptionMetric, texts: Sequence[str], caption: str, image: ImageSource, *, prompt: str = ""
) -> Scored:
    """The similarity of each text to the caption, or to the image where that is what the metric compares with."""
    reference = caption if metric.against == "caption" else image
    return compare(metric, texts, [reference] * len(texts), prompt=prompt)

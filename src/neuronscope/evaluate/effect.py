"""What an intervention on a concept's neurons does to captions: S_se, S_re and J (METHODS d, "Scores").

Suppression effectiveness and retention:

S_se = 1 - share of captions of images with the concept that still name it      (1: the concept is gone)
S_re = share of captions of the other images that still name their own concept  (1: nothing else is touched)
J    = S_se + S_re - 1                       (0 for no effect and for total destruction alike; 1 is perfect)

A caption without a word erases nothing selectively, and retains nothing: it counts against the intervention in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ..caption import generate_captions
from ..errors import InvalidSample
from ..held import in_turn
from ..intervene.operations import Intervention
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.lexicon import Lexicon, Mode
from ..words import wordless
from .aggregate import j_of, se_of


@dataclass(frozen=True)
class Labelled:
    """An image, the concept it stands for, and every concept it shows."""

    image: Image.Image
    concept: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """Hits of one concept's intervention: does caption (image, draw) name the image's own concept (:func:`counts`)?

    Attributes:
        concept: the concept that was to be removed.
        own: [images with the concept, draws].
        others: [images without it, draws].
    """

    concept: str
    own: Bool[np.ndarray, "own_images draws"]
    others: Bool[np.ndarray, "other_images draws"]

    @property
    def s_se(self) -> float:
        """Suppression effectiveness, 0 to 1."""
        return se_of(float(self.own.mean()))

    @property
    def s_re(self) -> float:
        """Retention of the other concepts, 0 to 1."""
        return float(self.others.mean())

    @property
    def j(self) -> float:
        """S_se + S_re - 1."""
        return j_of(self.s_se, self.s_re)


@in_turn
def measure(
    vlm: VLM,
    concept: str,
    images: Sequence[Labelled],
    change: Intervention,
    *,
    mode: Mode = "lexicon",
    decoding: Decoding = Decoding(),
    batch_size: int = 64,
    done: Callable[[int], None] = lambda _: None,
) -> Effect:
    """Caption every image under an intervention and count who still names its own concept.

    Images that show the concept without standing for it belong to neither group and are left out.

    Args:
        vlm: the model.
        concept: the concept whose neurons are changed.
        images: labelled images; at least one of the concept and one without it.
        change: the intervention, the same for all images.
        mode: when a caption counts as naming a concept.
        decoding: caption settings.
        batch_size: captions generated together.
        done: called with the number of images finished, for progress bars.

    Raises InvalidSample when either group is empty.
    """
    own = [item for item in images if item.concept == concept]
    others = [item for item in images if concept not in item.shown]
    if not own or not others:
        raise InvalidSample(
            f"scores for {concept!r} need images with and without it; got {len(own)} with and {len(others)} without"
        )
    hits: list[Bool[np.ndarray, "images draws"]] = []
    for group, erased in ((own, True), (others, False)):
        rows = generate_captions(vlm, [item.image for item in group], change, decoding=decoding, batch_size=batch_size)
        hits.append(
            np.array(
                [
                    [counts(c.text, item.concept, mode, erased=erased) for c in row]
                    for item, row in zip(group, rows, strict=True)
                ]
            )
        )
        done(len(group))
    return Effect(concept, hits[0], hits[1])


def counts(caption: str, concept: str, mode: Mode = "lexicon", *, erased: bool) -> bool:
    """Whether a caption is a hit of its image's concept, which was to be `erased` or was not.

    A caption without a word is one where the concept was to go, and none where it was to stay.
    """
    return named(caption, concept, mode) or (erased and wordless(caption))


def named(caption: str, concept: str, mode: Mode = "lexicon") -> bool:
    """Whether a caption names a concept."""
    return Lexicon.default().match(caption, concept, mode) is not None

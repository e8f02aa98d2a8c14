"""Hallucinated objects in captions, and right ones, as ratios with intervals over images (Rohrbach et al., 2018).

    CHAIR_i = sum of hallucinated mentions / sum of mentions          over all captions
    CHAIR_s = captions with a hallucinated mention / captions
    recall  = sum of shown objects that are named / sum of shown objects

A mention is hallucinated where the picture does not show the object. What is a mention, and what is shown, is said by
our lexicon (samples/objects.py) or by the original lists of synonyms (samples/synonyms.py); every figure says which.
CHAIR alone is lowered by saying less, so recall stands beside it. Intervals: images are drawn with replacement, and the
ratio of the two sums is taken anew; a draw whose denominator is 0 says nothing and is left out. Changes are paired: the
same images are drawn before and after.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption, RunMismatch
from ...fields import whole
from ...samples.lexicon import Lexicon
from ...samples.objects import PictureCategories, mentions
from ...samples.synonyms import Synonyms
from ..statistics import Estimate

#: Draws whose counts are held in memory together.
_CHUNK = 200


@dataclass(frozen=True)
class Ratio:
    """A ratio of two sums over images. Raises RunMismatch where the two are of different numbers of images."""

    parts: tuple[float, ...]
    wholes: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.wholes):
            raise RunMismatch(f"{len(self.parts)} parts belong to {len(self.wholes)} wholes")

    @property
    def value(self) -> float | None:
        """The ratio; None where there is nothing to divide by."""
        whole = sum(self.wholes)
        return sum(self.parts) / whole if whole else None

    def estimate(self, *, replicates: int = 2000, seed: int = 0) -> Estimate | None:
        """With its 95 % interval; None where there is nothing to divide by."""
        value = self.value
        return None if value is None else Estimate.of(value, _drawn([self], replicates, seed)[0])

    def change(self, before: Ratio, *, replicates: int = 2000, seed: int = 0) -> Estimate | None:
        """This minus an earlier ratio of the same images; None where one of them has nothing to divide by.

        Raises RunMismatch for ratios over different numbers of images.
        """
        if len(before.parts) != len(self.parts):
            raise RunMismatch(f"{len(before.parts)} images before and {len(self.parts)} after cannot be compared")
        if self.value is None or before.value is None:
            return None
        drawn = _drawn([before, self], replicates, seed)
        return Estimate.of(self.value - before.value, drawn[1] - drawn[0])


@dataclass(frozen=True)
class Named:
    """What some captions name.

    Attributes:
        wrong: for each image the objects that are named and not shown, each as often as it is named.
        right: shown and named, each once.
        missing: shown and not named.
        mentions: for each image, how many there are, right ones as often as they are named.
        by: what finds mentions: our lexicon, or which lists.
    """

    wrong: tuple[tuple[str, ...], ...]
    right: tuple[frozenset[str], ...]
    missing: tuple[frozenset[str], ...]
    mentions: tuple[int, ...]
    by: str = ""

    @property
    def chair_i(self) -> Ratio:
        """Hallucinated mentions / mentions."""
        return Ratio(tuple(float(len(one)) for one in self.wrong), tuple(map(float, self.mentions)))

    @property
    def chair_s(self) -> Ratio:
        """Captions with a hallucinated mention / captions."""
        return Ratio(tuple(float(bool(one)) for one in self.wrong), (1.0,) * len(self.wrong))

    @property
    def recall(self) -> Ratio:
        """Shown objects that are named / shown objects."""
        both = zip(self.right, self.missing, strict=True)
        return Ratio(tuple(float(len(one)) for one in self.right), tuple(float(len(r) + len(m)) for r, m in both))


def named_objects(captions: Sequence[str], shown: Sequence[Collection[str]], categories: Sequence[str]) -> Named:
    """Compare captions, without their prompt, with what their pictures show, by our lexicon.

    Args:
        captions: of each picture.
        shown: the objects in each picture.
        categories: all objects that were annotated; no others are counted.

    Raises InvalidOption for no captions, and RunMismatch for lists of different lengths.
    """
    _require_pairs(captions, shown)
    found = [mentions(caption, categories) for caption in captions]
    return _compared(found, [frozenset(there) for there in shown], f"the lexicon, version {Lexicon.default().version}")


def objects_by_lists(captions: Sequence[str], pictures: Sequence[PictureCategories], lists: Synonyms) -> Named:
    """Compare captions, without their prompt, with what their pictures show, by the original lists of synonyms.

    Args:
        captions: of each picture.
        pictures: what is annotated in them, and their reference captions.
        lists: the synonyms; all their objects are counted.

    Raises InvalidOption for no captions, RunMismatch for lists of different lengths, and InvalidSample for an annotated
    category that is not in the lists.
    """
    _require_pairs(captions, pictures)
    shown = [lists.shown(one.annotated, one.references) for one in pictures]
    return _compared([lists.named(caption) for caption in captions], shown, f"the original lists, {lists.name}")


def _require_pairs(captions: Sequence[str], pictures: Sequence[object]) -> None:
    if not captions:
        raise InvalidOption("captions is empty: there is nothing to look for objects in")
    if len(captions) != len(pictures):
        raise RunMismatch(f"{len(captions)} captions belong to {len(pictures)} pictures")


def _compared(found: Sequence[Sequence[str]], shown: Sequence[frozenset[str]], by: str) -> Named:
    return Named(
        tuple(tuple(one for one in each if one not in there) for each, there in zip(found, shown, strict=True)),
        tuple(frozenset(each) & there for each, there in zip(found, shown, strict=True)),
        tuple(there - frozenset(each) for each, there in zip(found, shown, strict=True)),
        tuple(map(len, found)),
        by,
    )


def _drawn(ratios: Sequence[Ratio], replicates: int, seed: int) -> list[Float[np.ndarray, "_draws"]]:
    """Each ratio over the same resampled images; not a number where a denominator is 0."""
    if whole("replicates", replicates) < 1:
        raise InvalidOption(f"replicates={replicates} must be at least 1")
    rng = np.random.default_rng(seed)
    images = len(ratios[0].parts)
    sums = np.array([side for one in ratios for side in (one.parts, one.wholes)])
    drawn: list[Float[np.ndarray, "sums _chunk"]] = []
    for start in range(0, replicates, _CHUNK):
        chosen = rng.integers(0, images, (min(_CHUNK, replicates - start), images))
        drawn.append(sums[:, chosen].sum(-1))
    together = np.concatenate(drawn, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [together[2 * n] / together[2 * n + 1] for n in range(len(ratios))]

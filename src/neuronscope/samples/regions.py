"""Where a word is in a picture, found by a model: what finds regions, what was found, and which of it is taken.

A finder gets a picture and a word and gives boxes with scores, and masks where it has them. What is taken of them is
decided here, so that every verb, the explorer and Python decide alike, and is kept with every result made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields
from ..notebook import picture_html
from ..reprs import short_repr
from ..types import Json, one_of
from .boxes import Box, numbers
from .image import name_of
from .sample import Sample

#: Which regions are taken: the one with the best score, or all above the least score.
Take: TypeAlias = Literal["auto", "all"]
TAKES: tuple[Take, ...] = get_args(Take)

#: Regions that overlap more (intersection over union) are one object found twice.
_SAME = 0.5
#: Regions that a sentence names.
_TOLD = 5
#: Regions that are kept on record beside those that are taken.
_RECORDED = 10


@dataclass(frozen=True)
class FoundRegion:
    """A region that a model found.

    Attributes:
        box: x, y, width, height in pixels of the upright picture.
        score: of the box for the word, 0 to 1.
        mask: its pixels; None without a segmenter, or where that marked none.
        mask_score: what the segmenter expects of the mask (intersection over union); None without one.
    """

    box: Box
    score: float
    mask: Bool[np.ndarray, "height width"] | None = None
    mask_score: float | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self, but=("box",))
        object.__setattr__(self, "box", numbers(self.box))

    def to_dict(self) -> dict[str, Json]:
        """For a file; the mask in COCO's compressed run lengths, which `pycocotools.mask.decode` reads."""
        found: dict[str, Json] = {"box": list(self.box), "score": self.score}
        if self.mask is not None:
            found |= {"mask_score": self.mask_score, "mask": _run_lengths(self.mask)}
        return found


@runtime_checkable
class Finder(Protocol):
    """What finds a word in a picture."""

    @property
    def least(self) -> float:
        """The score from which a region counts, where nobody says another."""
        ...

    def find(self, image: Image.Image, word: str) -> Sequence[FoundRegion]:
        """All regions that could be the word, best first, also those with low scores; without masks."""
        ...

    def outlined(self, image: Image.Image, region: FoundRegion) -> FoundRegion:
        """The region with its mask, where the finder makes masks; the region itself otherwise."""
        ...

    def told(self) -> Mapping[str, Json]:
        """Which models, with their fingerprints, and how they are asked."""
        ...


@dataclass(frozen=True)
class Regions:
    """Where a word was found in a picture.

    Attributes:
        image: the picture, upright RGB.
        word: what was looked for.
        taken: what is used of it, best first.
        others: further regions with at least the least score, which are not used; best first.
        least_score: from which a region counts.
        take: "auto" for the best region, "all" for every one.
        finder: which models found it, with their fingerprints: "segmenter", and "detector", None for given boxes.
    """

    image: Image.Image
    word: str
    taken: tuple[FoundRegion, ...]
    others: tuple[FoundRegion, ...] = ()
    least_score: float = 0.0
    take: Take = "auto"
    finder: Mapping[str, Json] = field(default_factory=dict[str, Json])

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def mask(self) -> Bool[np.ndarray, "height width"] | None:
        """The pixels of what was taken; None unless each has a mask."""
        masks = [one.mask for one in self.taken if one.mask is not None]
        return np.logical_or.reduce(masks) if masks and len(masks) == len(self.taken) else None

    @property
    def sentence(self) -> str:
        """What was taken, for a person."""
        detector, segmenter = (cast("dict[str, Any] | None", self.finder.get(n)) for n in ("detector", "segmenter"))
        drawn = f", outlined by {segmenter['model']}" if segmenter and self.mask is not None else ""
        if detector is None:
            return f"{self.word!r} is at {'; '.join(_text(one.box) for one in self.taken)}{drawn}"
        boxes = "; ".join(f"{_text(one.box)} (score {one.score:.2f})" for one in self.taken[:_TOLD])
        rest = f" and {len(self.taken) - _TOLD} more" if len(self.taken) > _TOLD else ""
        told = f"{self.word!r} was found by {detector['model']} at {boxes}{rest}{drawn}"
        if not self.others:
            return told
        scores = ", ".join(f"{one.score:.2f}" for one in self.others[:_TOLD])
        return f"{told}; {len(self.others)} more not taken, with scores {scores}"

    def sample(self, **more: Any) -> Sample:
        """A sample with what was taken; `more` are further fields of :class:`~neuronscope.Sample`."""
        boxes = [one.box for one in self.taken]
        known: dict[str, Any] = {"boxes": boxes, "mask": self.mask, "image_id": name_of(self.image)}
        known["found_by"] = self.to_dict()
        return Sample(self.image, self.word, **{**known, **more})

    def to_dict(self) -> dict[str, Json]:
        """For a file: what was found, by what, and what was taken."""
        others = [one.to_dict() for one in self.others[:_RECORDED]]
        return {
            "sentence": self.sentence,
            "word": self.word,
            "take": self.take,
            "least_score": self.least_score,
            "taken": [one.to_dict() for one in self.taken],
            "others": cast("Json", others),
            **self.finder,
        }

    def _repr_html_(self) -> str:
        return picture_html(self.image, self.sentence)


def marked_by(sample: Sample) -> tuple[str, ...]:
    """What found the object of a sample, as a note for people; nothing where a person marked it."""
    return (str(sample.found_by["sentence"]),) if "sentence" in sample.found_by else ()


def regions_of(
    finder: Finder, image: Image.Image, word: str, *, take: Take = "auto", least_score: float | None = None
) -> Regions:
    """What a finder finds of a word, and what of it is taken; overlapping regions count once.

    Args:
        finder: such as :class:`neuronscope.regions.DetectorFinder`.
        image: upright RGB.
        word: what is looked for.
        take: the best region, or all of them.
        least_score: from which a region counts, 0 to 1; the finder's own.

    Raises InvalidSample where no region has that score, with the best score that there is, InvalidOption for values out
    of range.
    """
    one_of("take", take, TAKES)
    if not word.strip():
        raise InvalidSample("the concept is empty; give the word to look for")
    least = finder.least if least_score is None else least_score
    if not 0 <= least <= 1:
        raise InvalidOption(f"least_score={least} must be between 0 and 1")
    found = distinct(finder.find(image, word))
    good = [one for one in found if one.score >= least]
    if not good:
        raise InvalidSample(_nothing(image, word, found, least))
    count = 1 if take == "auto" else len(good)
    taken = tuple(finder.outlined(image, one) for one in good[:count])
    return Regions(image, word, taken, tuple(good[count:]), least, take, finder.told())


def distinct(regions: Sequence[FoundRegion]) -> list[FoundRegion]:
    """Regions by falling score, without those that overlap a better one by more than half."""
    kept: list[FoundRegion] = []
    for one in sorted(regions, key=lambda region: -region.score):
        if all(_overlap(one.box, other.box) <= _SAME for other in kept):
            kept.append(one)
    return kept


def _nothing(image: Image.Image, word: str, found: Sequence[FoundRegion], least: float) -> str:
    name = name_of(image) or "the picture"
    cure = "say where it is (box x,y,w,h or a mask), or call it by another word"
    if not found:
        return f"no region of {name} can be {word!r}: {cure}"
    best = found[0]
    return (
        f"{word!r} is not found in {name}: the best region, {_text(best.box)}, has a score of {best.score:.3g}, and "
        f"{least:.3g} is asked for; {cure}, or ask for a lower score"
    )


def _text(box: Box) -> str:
    return ",".join(f"{value:g}" for value in box)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    inside = max(width, 0.0) * max(height, 0.0)
    return inside / (one[2] * one[3] + other[2] * other[3] - inside)


def _run_lengths(mask: Bool[np.ndarray, "height width"]) -> dict[str, Json]:
    from pycocotools import mask as coco

    found: Any = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode("ascii")}

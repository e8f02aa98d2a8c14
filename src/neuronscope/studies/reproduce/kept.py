"""What a data set is made of: candidates from a source, those that were kept, and why the others were not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Protocol, runtime_checkable

from ...locate.validity import Validity
from ...models.decoding import Decoding
from ...samples.inpaint import Counterfactual
from ...samples.inpainters import is_repeatable, recorded
from ...samples.sample import Sample
from ...tokens import ImageTokens
from ...types import Json
from .pixels import encode_inside, encode_mask, pixel_hash


@runtime_checkable
class CandidateSource(Protocol):
    """Where candidates come from: a :class:`CocoFolder`, or anything else with these two methods."""

    def concepts(self) -> Sequence[str]:
        """All concepts that there may be candidates for."""
        ...

    def samples(self, concept: str, *, seed: int = 0) -> Iterable[Sample]:
        """Candidates in an order that depends on the seed only; each has an `image_id` of its own."""
        ...


@runtime_checkable
class Choosy(CandidateSource, Protocol):
    """A source that leaves images out by itself unless it is asked for all of them."""

    def everything(self) -> CandidateSource:
        """The same source without its own limits, so that the builder sees, and counts, what it rejects."""
        ...


@dataclass(frozen=True)
class Rejection:
    """A candidate that was not kept.

    Attributes:
        concept: what it was a candidate for.
        image_id: name of the image; empty where the source itself could not read the entry, and `detail` tells which.
        reason: name of the condition, which is the error's.
        detail: its message.
    """

    concept: str
    image_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Kept:
    """A sample that met every condition.

    Attributes:
        pair: the image and its counterfactual.
        validity: the captions of both, and where the first names the concept.
        image_tokens: where the image is in the prompt.
        model: its record.
        decoding: what was asked, and how the captions were written.
        sent: how that was written for the processor, with the image's placeholder.
    """

    pair: Counterfactual
    validity: Validity
    image_tokens: ImageTokens
    model: Mapping[str, Json]
    decoding: Decoding
    sent: str

    @property
    def concept(self) -> str:
        """What the image stands for."""
        return self.pair.sample.concept

    @property
    def image_id(self) -> str:
        """Name of the image in its source."""
        return self.pair.sample.image_id

    @property
    def shown(self) -> tuple[str, ...]:
        """Every annotated concept of the image, its own first."""
        return tuple(dict.fromkeys([self.concept, *(other.concept for other in self.pair.sample.others)]))

    def record(self) -> dict[str, Json]:
        """What has to be kept of a sample to know later what it was (METHODS k). A sample has no site."""
        pair, found, tokens = self.pair, self.validity, self.image_tokens
        source = pair.sample.image
        drawn = {} if is_repeatable(pair.method) else {"edited": encode_inside(pair.edited, pair.mask)}
        return {
            "image_id": self.image_id,
            "image": fspath(source) if isinstance(source, str | PathLike) else None,
            "image_sha256": pixel_hash(pair.original),
            "size": list(pair.original.size),
            "concept": self.concept,
            "shown": list(self.shown),
            "boxes": [list(box) for box in pair.sample.boxes],
            "edit": {"method": recorded(pair.method), **pair.options},
            "mask_sha256": pixel_hash(pair.mask),
            "mask_pixels": int(pair.mask.sum()),
            "mask": encode_mask(pair.mask),
            "edited_sha256": pixel_hash(pair.edited),
            **drawn,
            **self.decoding.to_dict(),
            "sent": self.sent,
            "span_start": int(tokens.positions[0]) if tokens.count else None,
            "span_tokens": tokens.count,
            "grids": [list(tile.tokens.shape) for tile in tokens.tiles],
            "caption": {"text": found.original.text, "ids": list(found.original.ids)},
            "caption_edited": {"text": found.edited.text, "ids": list(found.edited.ids)},
            "surface": found.match.surface,
            "lost": list(found.lost),
            "removed": dict(found.removed),
            "concept_tokens": list(found.tokens),
            "concept_ids": [found.original.ids[i] for i in found.tokens],
            "model": dict(self.model),
        }

"""The conditions a sample must meet before anything is located in it (METHODS b, step 2).

1. the caption of the original image names the concept;
2. the caption of the edited image does not;
3. the edit took nothing else away. The authors judged this by eye. What of other annotated objects lies inside the
   edited region, and which other words are gone from the caption, is recorded; the strict reading refuses a sample
   when that share is larger than `max_other_share`. On photographs objects touch and overlap: it refuses many samples,
   and strict and lax samples rank all methods alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from PIL import Image

from ..caption import Caption, generate_captions
from ..errors import (
    ConceptNotNamed,
    ConceptStillNamed,
    ImageTokenMismatch,
    InvalidSample,
    NotFinite,
    OtherConceptRemoved,
)
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..options import REACHES, Reach, check_other_share
from ..samples.boxes import boxes_mask
from ..samples.image import ImageSource
from ..samples.inpaint import INPAINTERS, Counterfactual, Method, counterfactual
from ..samples.lexicon import Lexicon, Match, Mode
from ..samples.sample import RegionSource, Sample
from ..tokens import tokens_of_span
from ..types import one_of
from ..words import wordless
from .taken import Removal, removal

#: Share of another object inside the edited region from which it is on record; the strict reading's `max_other_share`.
MAX_OTHER_SHARE = 0.1

#: How far a region grows until the concept is gone from the caption, in shares of the image's longer side.
GROWTH = (0.0, 0.02, 0.04, 0.08, 0.12)


@dataclass(frozen=True)
class Validity:
    """A sample that passed, and what was found on the way.

    Attributes:
        original, edited: the two captions.
        match: where the original caption names the concept.
        tokens: indices into `original.ids` of the tokens that spell it.
        lost: other concepts that only the original caption names: not refused, but worth a look.
        removed: other annotated concepts of which more than a tenth lies inside the edited region, with the largest
            share of an object of each.
        removal: what the edit takes from this word and from the others (taken.py); None where it was not asked, as for
            many samples at a time (:func:`valid_pairs`).
    """

    original: Caption
    edited: Caption
    match: Match
    tokens: tuple[int, ...]
    lost: tuple[str, ...] = field(default=())
    removed: tuple[tuple[str, float], ...] = field(default=())
    removal: Removal | None = field(default=None, compare=False)


@in_turn
def check_validity(
    vlm: VLM,
    pair: Counterfactual,
    *,
    mode: Mode = "lexicon",
    decoding: Decoding = Decoding(),
    max_other_share: float | None = None,
) -> Validity:
    """Caption both images and check the conditions.

    Args:
        vlm: the model.
        pair: the image and its counterfactual.
        mode: when a caption counts as naming the concept.
        decoding: caption settings.
        max_other_share: the largest share of another annotated object that may lie inside the edited region; None for
            any, which is then only recorded.

    Raises ConceptNotNamed, ConceptStillNamed or OtherConceptRemoved, with both captions in the message, InvalidSample
    for an annotated object whose box or mask does not fit the image, and InvalidOption for a share outside 0 to 1.
    """
    check_other_share(max_other_share)
    original, edited = (row[0] for row in generate_captions(vlm, [pair.original, pair.edited], decoding=decoding))
    return _compared(vlm, pair, _judged(vlm, pair, original, edited, mode, max_other_share), decoding)


def _compared(vlm: VLM, pair: Counterfactual, found: Validity, decoding: Decoding) -> Validity:
    taken = removal(vlm, pair, found.original, found.edited, found.match, found.tokens, decoding)
    return replace(found, removal=taken)


#: What a sample that cannot be used raises.
REFUSALS = (InvalidSample, ImageTokenMismatch, NotFinite)
#: A pair that meets the conditions with what was found on the way, or the error that says which it does not meet.
Judged: TypeAlias = tuple[Counterfactual, Validity] | InvalidSample | ImageTokenMismatch | NotFinite


@in_turn
def valid_pair(
    vlm: VLM,
    sample: Sample,
    method: Method = "telea",
    *,
    reach: Reach = "grown",
    mode: Mode = "lexicon",
    decoding: Decoding = Decoding(),
    max_other_share: float | None = None,
    edited: ImageSource | None = None,
) -> tuple[Counterfactual, Validity]:
    """The counterfactual of a sample whose caption no longer names the concept: what every verb makes of a sample.

    With `reach="grown"` the mask is inpainted; where the word stays, the mask is grown in steps up to 12 % of the
    image's longer side, and then the boxes, where the sample has them. The first edit that takes the word away is
    kept: an outline leaves more of the picture than a box, and what is left of an object at its rim is often enough for
    its name. Other reaches, and methods that are no inpainting, make one edit; see :meth:`Sample.region`. `edited` is
    the picture of method "edited". What of other objects goes too is recorded, and refused above `max_other_share`.

    Raises what :func:`check_validity` raises, and what :func:`neuronscope.counterfactual` does.
    """
    if edited is not None:
        one_of("reach", reach, REACHES)
        pair = counterfactual(sample, method, region="auto" if reach == "grown" else reach, edited=edited)
        return pair, check_validity(vlm, pair, mode=mode, decoding=decoding, max_other_share=max_other_share)
    (found,) = valid_pairs(
        vlm, [sample], method, reach=reach, mode=mode, decoding=decoding, max_other_share=max_other_share
    )
    if isinstance(found, Exception):
        raise found
    made, validity = found
    return made, _compared(vlm, made, validity, decoding)


@in_turn
def valid_pairs(
    vlm: VLM,
    samples: Sequence[Sample],
    method: Method = "telea",
    *,
    reach: Reach = "grown",
    mode: Mode = "lexicon",
    decoding: Decoding = Decoding(),
    max_other_share: float | None = None,
    batch_size: int = 32,
) -> list[Judged]:
    """:func:`valid_pair` of several samples, their captions written in batches; what would be raised is returned.

    Raises InvalidOption for values out of range.
    """
    one_of("reach", reach, REACHES)
    check_other_share(max_other_share)
    write = partial(_written, vlm, decoding=decoding, batch_size=batch_size)
    judged: dict[int, Judged] = {}
    edits: dict[int, Iterator[Counterfactual]] = {}
    pairs: dict[int, Counterfactual] = {}
    for k, sample in enumerate(samples):
        begun = _begun(sample, method, reach)
        if isinstance(begun, Exception):
            judged[k] = begun
        else:
            pairs[k], edits[k] = begun
    said = dict(zip(pairs, write([[pair.original, pair.edited] for pair in pairs.values()]), strict=True))
    open_ = list(pairs)
    while open_:
        larger: dict[int, Counterfactual] = {}
        for k in open_:
            captions, concept = said[k], samples[k].concept
            if isinstance(captions, Exception):
                judged[k] = captions
            elif all(_names(one, concept, mode) for one in captions) and (more := next(edits[k], None)):
                larger[k] = more
            else:
                judged[k] = _outcome(vlm, pairs[k], captions[0], captions[1], mode, max_other_share)
        pairs |= larger
        for k, again in zip(larger, write([[pair.edited] for pair in larger.values()]), strict=True):
            before = said[k]
            said[k] = again if isinstance(again, Exception) or isinstance(before, Exception) else [before[0], *again]
        open_ = list(larger)
    return [judged[k] for k in range(len(samples))]


def _written(
    vlm: VLM, groups: Sequence[Sequence[Image.Image]], *, decoding: Decoding, batch_size: int
) -> list[list[Caption] | InvalidSample | ImageTokenMismatch | NotFinite]:
    """The captions of each group of images, or why it has none: one that cannot be captioned stops no other group."""
    images = [image for group in groups for image in group]
    try:
        rows = iter(generate_captions(vlm, images, decoding=decoding, batch_size=batch_size) if images else [])
    except REFUSALS as error:
        if len(groups) == 1:
            return [error]
        return [one for group in groups for one in _written(vlm, [group], decoding=decoding, batch_size=batch_size)]
    return [[next(rows)[0] for _ in group] for group in groups]


def _outcome(
    vlm: VLM, pair: Counterfactual, original: Caption, edited: Caption, mode: Mode, max_other_share: float | None
) -> Judged:
    try:
        return pair, _judged(vlm, pair, original, edited, mode, max_other_share)
    except REFUSALS as error:
        return error


def _begun(
    sample: Sample, method: Method, reach: Reach
) -> tuple[Counterfactual, Iterator[Counterfactual]] | InvalidSample | ImageTokenMismatch | NotFinite:
    """The first edit of a sample and those that may follow, or why there is none."""
    try:
        edits = _edits(sample, method, reach)
        return next(edits), edits
    except REFUSALS as error:
        return error


def _edits(sample: Sample, method: Method, reach: Reach) -> Iterator[Counterfactual]:
    """The edits that are tried, at least one."""
    if reach == "grown" and method in INPAINTERS:
        return _grown(sample, method)
    region: RegionSource = "auto" if reach == "grown" else reach
    return iter([counterfactual(sample, method, region=region)])


def _names(caption: Caption, concept: str, mode: Mode) -> bool:
    return Lexicon.default().match(caption.text, concept, mode) is not None


def _grown(sample: Sample, method: Method) -> Iterator[Counterfactual]:
    """Edits of ever larger regions, at least one. Raises InvalidSample where not even the first can be made."""
    side = max(sample.load().size)
    sources: list[RegionSource] = []
    if sample.mask is not None:
        sources.append("mask")
    if sample.boxes or not sources:  # of a sample without either it is said that it has none
        sources.append("boxes")
    made = 0
    for source in sources:
        for share in GROWTH:
            try:
                pair = counterfactual(sample, method, region=source, dilate=round(share * side))
            except InvalidSample:  # grown to the whole image; the first region is refused as what it is
                if not made:
                    raise
                break
            made += 1
            yield pair


def _judged(
    vlm: VLM, pair: Counterfactual, original: Caption, edited: Caption, mode: Mode, max_other_share: float | None
) -> Validity:
    concept = pair.sample.concept
    both = f'Caption of the original: "{original.full}". Caption of the edited image: "{edited.full}".'
    lexicon = Lexicon.default()
    match = lexicon.match(original.text, concept, mode)
    if match is None:
        raise ConceptNotNamed(f"the caption of the original image does not name {concept!r}. {both}")
    if wordless(edited.text):
        raise InvalidSample(f"the caption of the edited image says nothing, so not that {concept!r} is gone. {both}")
    if _names(edited, concept, mode):
        raise ConceptStillNamed(f"the caption of the edited image still names {concept!r}. {both}")
    shares = _shares_inside(pair)
    for name, share in shares:
        if max_other_share is not None and share > max_other_share:
            raise OtherConceptRemoved(
                f"{share:.0%} of the {name!r} lies inside the edited region (at most {max_other_share:.0%}). {both}"
            )
    removed: dict[str, float] = {}
    for name, share in shares:
        if share > MAX_OTHER_SHARE:
            removed[name] = max(share, removed.get(name, 0.0))
    lost = [
        name
        for name in lexicon.concepts
        if (found := lexicon.match(original.text, name, mode)) is not None
        and (found.start, found.end) != (match.start, match.end)  # the concept itself, however the sample spells it
        and lexicon.match(edited.text, name, mode) is None
    ]
    tokens = tokens_of_span(vlm.tokenizer, original.ids, match.start, match.end)
    return Validity(original, edited, match, tuple(tokens), tuple(sorted(lost)), tuple(sorted(removed.items())))


def _shares_inside(pair: Counterfactual) -> list[tuple[str, float]]:
    """Of every annotated object of another concept: the share of it inside the edited region."""
    found: list[tuple[str, float]] = []
    for other in pair.sample.others:
        mask = other.mask if other.mask is not None else boxes_mask([other.box], pair.original.size)
        if mask.shape != pair.mask.shape:
            raise InvalidSample(
                f"the mask of the {other.concept!r} has shape {mask.shape}, the image has {pair.mask.shape} "
                "(height, width)"
            )
        found.append((other.concept, float((mask & pair.mask).sum() / max(mask.sum(), 1))))
    return found

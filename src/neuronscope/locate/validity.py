"""The conditions a sample must meet before anything is located in it (METHODS b, step 2).

1. the caption of the original image names the concept;
2. the caption of the edited image does not;
3. the edit took nothing else away. The authors judged this by eye; the proxy refuses a sample when more than a tenth
   of an annotated object of another concept lies inside the edited region.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..caption import Caption, generate_captions
from ..errors import ConceptNotNamed, ConceptStillNamed, InvalidSample, OtherConceptRemoved
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.lexicon import Lexicon, Match, Mode
from ..samples.sample import boxes_mask
from ..tokens import tokens_of_span

MAX_OTHER_SHARE = 0.1


@dataclass(frozen=True)
class Validity:
    """A sample that passed, and what was found on the way.

    Attributes:
        original, edited: the two captions.
        match: where the original caption names the concept.
        tokens: indices into `original.ids` of the tokens that spell it.
        lost: other concepts that only the original caption names: not refused, but worth a look.
    """

    original: Caption
    edited: Caption
    match: Match
    tokens: tuple[int, ...]
    lost: tuple[str, ...] = field(default=())


def check_validity(
    vlm: VLM, pair: Counterfactual, *, mode: Mode = "lexicon", decoding: Decoding = Decoding()
) -> Validity:
    """Caption both images and check the three conditions.

    Raises ConceptNotNamed, ConceptStillNamed or OtherConceptRemoved, with both captions in the message, and
    InvalidSample for an annotated object whose box or mask does not fit the image.
    """
    concept = pair.sample.concept
    original, edited = (row[0] for row in generate_captions(vlm, [pair.original, pair.edited], decoding=decoding))
    both = f'Caption of the original: "{original.full}". Caption of the edited image: "{edited.full}".'
    lexicon = Lexicon.default()
    match = lexicon.match(original.text, concept, mode)
    if match is None:
        raise ConceptNotNamed(f"the caption of the original image does not name {concept!r}. {both}")
    if lexicon.match(edited.text, concept, mode) is not None:
        raise ConceptStillNamed(f"the caption of the edited image still names {concept!r}. {both}")
    for other in pair.sample.others:
        mask = other.mask if other.mask is not None else boxes_mask([other.box], pair.original.size)
        if mask.shape != pair.mask.shape:
            raise InvalidSample(
                f"the mask of the {other.concept!r} has shape {mask.shape}, the image has {pair.mask.shape} "
                "(height, width)"
            )
        share = float((mask & pair.mask).sum() / max(mask.sum(), 1))
        if share > MAX_OTHER_SHARE:
            raise OtherConceptRemoved(
                f"{share:.0%} of the {other.concept!r} lies inside the edited region (at most {MAX_OTHER_SHARE:.0%}). "
                f"{both}"
            )
    lost = [
        name
        for name in lexicon.concepts
        if (found := lexicon.match(original.text, name, mode)) is not None
        and (found.start, found.end) != (match.start, match.end)  # the concept itself, however the sample spells it
        and lexicon.match(edited.text, name, mode) is None
    ]
    tokens = tokens_of_span(vlm.tokenizer, original.ids, match.start, match.end)
    return Validity(original, edited, match, tuple(tokens), tuple(sorted(lost)))

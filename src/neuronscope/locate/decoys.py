"""Controls: changes and words for which the concept cannot be the reason (METHODS G1 i)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import InvalidSample
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.boxes import boxes_mask, mask_box
from ..samples.inpaint import INPAINTERS, Counterfactual, control_boxes, inpaint
from ..samples.lexicon import Lexicon
from ..tokens.words import added_tokens, first_token
from .validity import Validity


def control_images(pair: Counterfactual, count: int, seed: int) -> list[Image.Image]:
    """The original with one empty box inpainted, each box about as large as the object's.

    No box touches the concept or, where they are annotated, other objects: taking those away would be no control.

    Inpainted as the pair was, by Telea where the pair is no inpainting. Fewer than `count` where fewer boxes fit.
    """
    sample, size = pair.sample, pair.original.size
    occupied = pair.mask
    if sample.boxes or sample.mask is not None:
        occupied = occupied | sample.region(size)
    for other in sample.others:
        occupied = occupied | (other.mask if other.mask is not None else boxes_mask([other.box], size))
    _, _, width, height = mask_box(pair.mask)
    method = pair.method if pair.method in INPAINTERS else "telea"
    radius = pair.options.get("radius")
    pixels = float(radius) if isinstance(radius, (int, float)) else 3.0
    boxes = control_boxes(size, (width, height), occupied, count, seed)
    return [inpaint(pair.original, boxes_mask([box], size), method, pixels) for box in boxes]


def decoy_tokens(
    vlm: VLM, validity: Validity, concept: str, count: int, seed: int, *, decoding: Decoding = Decoding()
) -> list[int]:
    """First tokens of nouns that the caption does not name, each different from the concept's and from each other.

    Raises InvalidSample when there is none.
    """
    lexicon, prompt = Lexicon.default(), decoding.context
    named = {*lexicon.concepts_in(validity.original.text), concept}
    others = [noun for noun in lexicon.concepts if noun not in named and _has_word(vlm, prompt, noun)]
    taken = {validity.original.ids[t] for t in validity.tokens} | {vlm.tokenizer.unk_token_id}
    tokens: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(others)):
        token = first_token(vlm.tokenizer, prompt, others[index])
        if token not in taken:
            taken.add(token)
            tokens.append(token)
        if len(tokens) == count:
            return tokens
    if not tokens:
        raise InvalidSample(
            f"no noun is spelled unlike {concept!r} to serve as a decoy; use a fixed threshold or budget"
        )
    return tokens


def _has_word(vlm: VLM, prompt: str, noun: str) -> bool:
    """Whether the vocabulary holds a noun in few pieces; spelled by letters, its first token would be a letter."""
    pieces = added_tokens(vlm.tokenizer, prompt, noun)
    return len(pieces) <= 2 * len(noun.split()) and len(vlm.tokenizer.decode(pieces[:1]).strip()) > 1

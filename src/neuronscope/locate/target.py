"""The concept's word in the caption: where it is predicted, and which of its tokens y_c belongs to (METHODS B3 to B5).

    caption ids   t_0 ... t_{c-1} t_c t_{c+1} ...        t_c: the first token of the word, as generated
    input         prompt, t_0 ... t_{c-1}                teacher-forced; its last position predicts t_c

Ids are used as generated, never re-tokenised, and the word is the surface form found in the caption ("plane" for
airplane), first occurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from ..errors import InvalidSample
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.loaded import Inputs
from .scores import Entry
from .validity import Validity

#: Which sub-tokens of the word y_c belongs to (B3).
ConceptToken: TypeAlias = Literal["first", "last", "sum", "mean"]
CONCEPT_TOKENS: tuple[ConceptToken, ...] = get_args(ConceptToken)

#: Where activations are read: at the image tokens, or where the word's tokens are predicted.
Position: TypeAlias = Literal["image", "predict"]
POSITIONS: tuple[Position, ...] = get_args(Position)


@dataclass(frozen=True)
class Word:
    """A word of a caption, ready to be teacher-forced.

    Attributes:
        ids: generated ids before the last token that y_c belongs to; they follow the prompt.
        entries: (position counted from the end, token id) of each token that y_c belongs to.
        average: y_c is the mean over the entries, not their sum.
    """

    ids: tuple[int, ...]
    entries: tuple[Entry, ...]
    average: bool = False

    @property
    def farthest(self) -> int:
        """How far from the end the first position lies that predicts a token of the word."""
        return max(position for position, _ in self.entries)

    def inputs(self, vlm: VLM, image: Image.Image, decoding: Decoding) -> Inputs:
        """One row: the prompt with the image, then the ids."""
        return vlm.prepare([image], decoding).extend(self.ids)


def positions_of(inputs: Inputs, entries: Sequence[Entry], position: Position, length: int) -> Int[Tensor, "positions"]:
    """Where a decoder layer that sees `length` positions has the image tokens, or predicts each entry's token."""
    if position == "image":
        return torch.as_tensor(inputs.images[0].positions)
    return torch.tensor(sorted({length - back for back, _ in entries}))


def concept_word(validity: Validity, token: ConceptToken = "first") -> Word:
    """The concept's word in the caption of the original image.

    Raises InvalidSample where no token of the caption spells it.
    """
    spelled, ids = validity.tokens, validity.original.ids
    if not spelled:
        raise InvalidSample(f"no token of the caption {validity.original.text!r} spells {validity.match.surface!r}")
    chosen = chosen_tokens(spelled, token)
    return Word(ids[: chosen[-1]], entries_of(ids, chosen, chosen[-1]), average=token == "mean")


def token_of(method: object) -> ConceptToken:
    """Which sub-tokens a method scores; the first where it has no such option."""
    return getattr(method, "concept_token", "first")


def chosen_tokens(spelled: Sequence[int], token: ConceptToken) -> Sequence[int]:
    """Of the places of a word's tokens in the caption those that count; "sum" and "mean" are over all of them."""
    return {"first": spelled[:1], "last": spelled[-1:]}.get(token, spelled)


def entries_of(ids: Sequence[int], chosen: Sequence[int], last: int) -> tuple[Entry, ...]:
    """The logits that predict tokens of a caption, where ids[:last] follow the prompt.

    The position that predicts generated token t is the one before it: the last one when ids[:t] are given.
    """
    return tuple((last - t + 1, ids[t]) for t in chosen)

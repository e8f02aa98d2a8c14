"""One picture with the caption so far, teacher-forced and read in one forward pass.

    prompt with the picture, t_0 ... t_{c-1}  ->  O'[l, p, i] at the image tokens, what enters there, and the logits

What exchanges, gradients and shares of an effect need of a picture is the same, so it is read once and handed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.inputs import Row
from ..models.loaded import Inputs
from ..samples.inpaint import Counterfactual
from ..types import Site
from .between import entering
from .scores import read_layers
from .target import Word

#: layer -> activations of one picture at its image tokens.
Activations = Mapping[int, Float[Tensor, "positions width"]]


@dataclass(frozen=True)
class PictureRow:
    """One row, and what one forward pass without gradients gave.

    Attributes:
        word: the word whose tokens are predicted.
        site: where activations were read.
        prompt: the row before the caption so far.
        inputs: the row.
        at: [positions] of the image tokens.
        values: layer -> O' at the image tokens, in the model's dtype: O(L P d_f) numbers.
        entered: what the decoder was given of the picture (:mod:`.between`).
        logits: [predictions, vocabulary] of the last positions, as far back as the word's tokens are predicted.
    """

    word: Word
    site: Site
    prompt: Row
    inputs: Inputs
    at: Int[Tensor, "positions"]
    values: Activations
    entered: Float[Tensor, "..."]
    logits: Float[Tensor, "predictions vocabulary"]

    @classmethod
    @in_turn
    def of(cls, vlm: VLM, image: Image.Image, word: Word, decoding: Decoding, site: Site) -> PictureRow:
        """Read `image` with the word's caption so far."""
        prompt = vlm.prepare([image], decoding)
        inputs = prompt.extend(word.ids)
        at = torch.as_tensor(inputs.images[0].positions, device=vlm.device)
        values: dict[int, Tensor] = {}

        def use(layer: int, z: Tensor) -> None:
            values[layer] = z[0].index_select(0, at.to(z.device)).clone()

        entered: list[Tensor] = []
        with entering(vlm, at, entered.append):
            logits = read_layers(vlm, inputs, site, use, last=word.farthest)[0]
        return cls(word, site, prompt.rows[0], inputs, at, values, entered[-1], logits)


def picture_rows(
    vlm: VLM, pair: Counterfactual, word: Word, decoding: Decoding, site: Site, known: Sequence[PictureRow] = ()
) -> tuple[PictureRow, PictureRow]:
    """Of the original and the edited picture; those that are `known` where they were read of that word at that site."""
    if known and (known[0].word, known[0].site) == (word, site):
        original, edited = known
        return original, edited
    return (
        PictureRow.of(vlm, pair.original, word, decoding, site),
        PictureRow.of(vlm, pair.edited, word, decoding, site),
    )

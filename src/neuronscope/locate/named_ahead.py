"""Whether a caption still names the concept, seen where it is read ahead through the word, before it is written.

    prompt, t_0 ... t_c  ->  c + 2 predictions; where these are t_0 ... t_c and a token that begins another word, or
                             the end, the caption says the word

Greedy decoding writes the largest logit, so a caption is written as before for as long as its tokens are the largest
where they were said. Where the largest two come within rounding of each other nothing is said (METHODS h).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..caption.captions import caption_of, ends_of
from ..caption.generation import forbidden, plain_greedy
from ..caption.ties import chosen, near_ties
from ..models.decoding import Decoding
from ..models.loaded import LoadedModel
from ..models.rounding import coarse
from ..samples.lexicon import Lexicon, Mode
from .validity import Validity


@dataclass(frozen=True)
class NamedAhead:
    """The beginning of a caption, through the concept's word.

    Attributes:
        vlm: the model.
        decoding: how captions are written.
        ids: the tokens.
        concept, mode: what is named, and when a caption counts as naming it.
    """

    vlm: LoadedModel
    decoding: Decoding
    ids: tuple[int, ...]
    concept: str
    mode: Mode

    @classmethod
    def of(
        cls, vlm: LoadedModel, validity: Validity, concept: str, mode: Mode, decoding: Decoding
    ) -> NamedAhead | None:
        """None where captions hang on more than the largest logit, or on rounding: in 16 bits."""
        ids = validity.original.ids[: validity.tokens[-1] + 1] if validity.tokens else ()
        if not ids or len(ids) == decoding.max_new_tokens or coarse(vlm) or plain_greedy(decoding):
            return None
        return cls(vlm, decoding, ids, concept, mode)

    @property
    def predictions(self) -> int:
        """The positions that predict these tokens, and the one behind them."""
        return len(self.ids) + 1

    def named(self, logits: Float[Tensor, "rows predictions vocabulary"]) -> list[bool]:
        """Of each row, whether the caption certainly names the concept; False where that is not known."""
        largest, _, gaps = chosen(logits)
        best = largest[..., 0]
        said = torch.tensor(self.ids, device=best.device)
        known = (best[:, :-1] == said).all(-1) & (gaps > near_ties(self.vlm).bound).all(-1)
        return [bool(sure) and self._names(behind) for sure, behind in zip(known, best[:, -1].tolist(), strict=True)]

    def _names(self, behind: int) -> bool:
        """Whether a caption that goes on with a token names the concept, whatever follows."""
        if behind in forbidden(self.vlm, self.decoding):
            return False
        ended = behind in ends_of(self.vlm)
        ids = list(self.ids) if ended else [*self.ids, behind]
        text = caption_of(self.vlm, ids, self.decoding).text
        found = Lexicon.default().match(text, self.concept, self.mode)
        return found is not None and (ended or text[found.end : found.end + 1].isspace())

"""Captions under exchanged neurons, written on from the pass that gives what the sets recover.

    prompt, t_0 ... t_c  ->  c + 2 predictions, and keys and values to go on from

t_0 ... t_c is the caption through the concept's word. Where the largest logits are those tokens they are written again;
from the first other token on `generate` writes, and stops where the concept has been named for certain. A row whose
two largest logits come within rounding of each other somewhere is left to the plain path (METHODS h), which is asked
beside this one the first time a model is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from ..caption.captions import Caption, caption_of, ends_of
from ..caption.generation import Start, forbidden, plain_greedy, write
from ..caption.reading import RowReading
from ..caption.ties import chosen, near_ties
from ..models.decoding import Decoding
from ..models.loaded import LoadedModel
from ..models.rounding import coarse
from ..samples.lexicon import Lexicon, Mode
from .validity import Validity

#: Model -> whether captions that go on from kept states were those of the plain path; not there before it was tried.
_TRIED: WeakKeyDictionary[LoadedModel, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class Saying:
    """What captions of one picture say of a concept.

    Attributes:
        vlm: the model.
        decoding: how captions are written.
        ids: the caption through the concept's word, read ahead.
        concept, mode: what is named, and when a caption counts as naming it.
    """

    vlm: LoadedModel
    decoding: Decoding
    ids: tuple[int, ...]
    concept: str
    mode: Mode

    @classmethod
    def of(cls, vlm: LoadedModel, validity: Validity, concept: str, mode: Mode, decoding: Decoding) -> Saying | None:
        """None where captions hang on more than the largest logit, or on rounding: in 16 bits."""
        ids = validity.original.ids[: validity.tokens[-1] + 1] if validity.tokens else ()
        kept = decoding.use_cache and not plain_greedy(decoding) and not coarse(vlm) and _TRIED.get(vlm, True)
        if not kept or not 0 < len(ids) < decoding.max_new_tokens:
            return None
        return cls(vlm, decoding, ids, concept, mode)

    @property
    def predictions(self) -> int:
        """The positions that predict these tokens, and the one behind them."""
        return len(self.ids) + 1

    @torch.no_grad()
    def captions(
        self,
        reading: RowReading,
        cache: DynamicCache,
        logits: Float[Tensor, "rows predictions vocabulary"],
        rows: Sequence[int],
    ) -> list[Caption | None]:
        """What is written in some of the rows that were read, to where the concept is named; None for near ties.

        Args:
            reading: the rows, with :attr:`ids` read ahead.
            cache: keys and values that it gave.
            logits: those of :attr:`predictions`.
            rows: those that are written.
        """
        logits[..., forbidden(self.vlm, self.decoding)] = -torch.inf
        largest, values, gaps = chosen(logits)
        sure = values[..., 0].isfinite() & (gaps > near_ties(self.vlm).bound)
        known: dict[int, list[int]] = {}
        for row in rows:
            best = largest[row, :, 0].tolist()
            right = next((n for n, token in enumerate(self.ids) if best[n] != token), len(self.ids))
            if bool(sure[row, : right + 1].all()):
                known[row] = best[: right + 1]
        written = self._written(reading, cache, known)
        return [caption_of(self.vlm, written[row], self.decoding) if row in written else None for row in rows]

    def _written(self, reading: RowReading, cache: DynamicCache, known: dict[int, list[int]]) -> dict[int, list[int]]:
        """Token ids of each row, without the end; rows of near ties are not there."""
        ends, longest = set(ends_of(self.vlm)), self.decoding.max_new_tokens
        found: dict[int, list[int]] = {}
        for row, ids in known.items():
            if ids[-1] in ends:
                found[row] = ids[:-1]
            elif len(ids) == longest or self.names(caption_of(self.vlm, ids, self.decoding).text):
                found[row] = ids
        waiting = sorted((len(ids), row) for row, ids in known.items() if row not in found)
        for count, group in groupby(waiting, key=lambda one: one[0]):
            some = [row for _, row in group]
            ids = torch.tensor([known[row] for row in some], dtype=torch.long, device=self.vlm.device)
            resumed = reading.resumed(cache, some, reading.length - 1 + count)
            start = Start([reading.states[row] for row in some], resumed, ids)
            new, bad, trails = write(self.vlm, reading.engine, self.decoding, start, longest - count, self.names)
            for at, row in enumerate(some):
                if at not in bad and trails[at].closest > near_ties(self.vlm).bound:
                    found[row] = known[row] + new[at]
        return found

    def names(self, text: str) -> bool:
        """Whether a caption that begins so names the concept, whatever follows: a word may go on, "bear" to "beard"."""
        found = Lexicon.default().match(text, self.concept, self.mode)
        return found is not None and text[found.end : found.end + 1].isspace()

    def checked(self, caption: Caption, plain: Callable[[], Caption]) -> Caption:
        """A caption, and the plain path's own the first time that a model is asked; where they differ, always that."""
        if self.vlm not in _TRIED:
            written = plain()
            same = written.ids[: len(caption.ids)] == caption.ids
            _TRIED[self.vlm] = same and (len(written.ids) == len(caption.ids) or self.names(caption.text))
            return written
        return caption if _TRIED[self.vlm] else plain()

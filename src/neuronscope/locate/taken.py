"""What the edit takes from the word that is asked for, beside what it takes from the other words of the caption.

    d(w) = log p(w | o, words before it) - log p(w | e, the same words)       natural logarithms

The caption of the original, teacher-forced for both pictures: what they disagree about is what each shows. A word can
be gone from the edited caption only because words before it are ("to the left of a dog" goes with the dog); after the
same words it would still be said, and neurons found for it are those of something else. All tokens of a word count:
the first of a word in bytes, or of a phrase, may say little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from ..caption import Caption
from ..errors import InvalidSample, UnsegmentedScript
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.lexicon import Match
from ..tokens import tokens_of_span
from ..words import Token, fold, folded, segment, tokens_of

#: d below which the edit leaves a word as it is: 99 % of its probability are still there.
UNAFFECTED = 0.01
#: d below which a word would still be said: more than half of its probability is there.
STILL_SAID = math.log(2)
#: Share of the largest d of other lost words below which little is taken from one. By this and the line above, 68 of 68
#: "left" and "right" are doubtful on the bundled model, and 8 of 176 objects: six are the scissors of "a pair of".
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Affected:
    """A word of the original caption.

    Attributes:
        word: as the caption spells it.
        before, after: its probability after the words before it, in the original and in the edited picture, 0 to 1.
        taken: d, in natural logarithms; negative where the edit makes the word more likely.
        lost: the edited caption does not hold it.
    """

    word: str
    before: float
    after: float
    taken: float
    lost: bool

    @property
    def left(self) -> str:
        """How much of its probability is left, for a person."""
        share = self.after / self.before if self.before > 0 else 1.0
        return "less than 0.1 %" if share < 0.001 else f"{100 * share:.1f} %" if share < 0.1 else f"{share:.0%}"


@dataclass(frozen=True)
class Removal:
    """What an edit takes from the words of a caption.

    Attributes:
        asked: the word that was asked for.
        words: the others in the order of the caption.
        place: how many of them stand before it.
    """

    asked: Affected
    words: tuple[Affected, ...]
    place: int

    @property
    def rivals(self) -> tuple[Affected, ...]:
        """Lost words from which more is taken, most first.

        The word directly before is none: "brown" takes the surprise out of the "bear" that follows it.
        """
        others = [word for k, word in enumerate(self.words) if word.lost and k != self.place - 1]
        return tuple(sorted((one for one in others if one.taken > self.asked.taken), key=lambda one: -one.taken))

    @property
    def sentence(self) -> str:
        """What the edit takes, for a person."""
        gone = [one for one in self.words if one.lost and one.taken >= STILL_SAID]
        most = "”, “".join(one.word for one in sorted(gone, key=lambda one: -one.taken)[:3])
        beside = f"; of the other words that are gone “{most}” lose most" if gone else ""
        return (
            f"without the object, after the same words, “{self.asked.word}” keeps {self.asked.left} of its "
            f"probability{beside}"
        )

    @property
    def doubt(self) -> str:
        """Why the word may not be that of what was removed, in a sentence; empty where nothing speaks for it."""
        asked, rivals = self.asked, self.rivals
        small = bool(rivals) and asked.taken < LEAST_SHARE * rivals[0].taken
        if asked.taken >= STILL_SAID and not small:
            return ""
        most = [one for one in rivals if one.taken >= STILL_SAID][:2]
        beside = f" ({', '.join(f'“{one.word}” {one.left}' for one in most)})" if most else ""
        return (
            f"The removal takes little from “{asked.word}”: after the same words it keeps {asked.left} of its "
            f"probability without the object{beside}. It may not be the word for what was removed."
        )

    def require(self) -> None:
        """Raises InvalidSample where the edit leaves the word as it is."""
        if self.asked.taken >= UNAFFECTED:
            return
        most = max(self.words, key=lambda one: one.taken if one.lost else -math.inf, default=None)
        other = f" It takes most from {most.word!r}." if most and most.lost and most.taken >= STILL_SAID else ""
        raise InvalidSample(
            f"{self.asked.word!r} is not the word for what was removed: the edit takes nothing from it (probability "
            f"{self.asked.before:.3g} in the original, {self.asked.after:.3g} in the edited image after the same "
            f"words); it is gone from the caption only with words before it.{other} Ask for a word that the object "
            "itself brings into the caption"
        )

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "doubt": self.doubt}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Removal:
        """What :meth:`to_dict` gave. Raises KeyError and TypeError for anything else."""
        return cls(Affected(**data["asked"]), tuple(Affected(**word) for word in data["words"]), int(data["place"]))


def removal(
    vlm: VLM,
    pair: Counterfactual,
    original: Caption,
    edited: Caption,
    match: Match,
    tokens: Sequence[int],
    decoding: Decoding,
) -> Removal | None:
    """Compare what the edit takes from the concept's word with what it takes from the caption's other words.

    One forward pass for each picture; None where no token of the caption spells the word.
    """
    if not tokens:
        return None
    ids, text = original.ids, original.text
    scores = [_log_probabilities(vlm, image, ids, decoding) for image in (pair.original, pair.edited)]
    said = {fold(edited.text[start:end]) for start, end in _spans(edited.text)}

    def affected(word: str, of: Sequence[int], lost: bool) -> Affected:
        before, after = (float(row[list(of)].sum()) for row in scores)
        return Affected(word, math.exp(before), math.exp(after), before - after, lost)

    others: list[Affected] = []
    place = 0
    for start, end in _spans(text):
        of = tokens_of_span(vlm.tokenizer, ids, start, end)
        if of and (end <= match.start or match.end <= start):
            place += end <= match.start
            others.append(affected(text[start:end], of, fold(text[start:end]) not in said))
    return Removal(affected(match.surface, tokens, True), tuple(others), place)


def _log_probabilities(
    vlm: VLM, image: Image.Image, ids: Sequence[int], decoding: Decoding
) -> Float[np.ndarray, "tokens"]:
    """Of each token of a caption after those before it."""
    inputs = vlm.prepare([image], decoding).extend(tuple(ids[:-1]))
    with torch.no_grad():
        logits = vlm.logits(inputs, last=len(ids))[0].float().log_softmax(-1)
    chosen = torch.tensor(ids, device=logits.device)[:, None]
    return logits.gather(1, chosen)[:, 0].double().cpu().numpy()


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The words of a text, as ranges of it; runs that nothing at hand can cut are left whole."""
    spelling = folded(text)
    for run in tokens_of(spelling, segmented=False):
        for one in _pieces(run):
            yield spelling.span(one.start, one.end)


def _pieces(run: Token) -> list[Token]:
    try:
        return segment([run])
    except UnsegmentedScript:
        return [run]  # compared as it stands

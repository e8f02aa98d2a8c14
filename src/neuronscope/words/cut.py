"""Texts cut into words.

A word is a run of letters with their marks, and digits; runs that one hyphen or apostrophe joins are one word
("fire-hydrant", "o'clock"), as are the two halves of a Catalan ŀl or a Hebrew abbreviation. Everything else stands
between words: white space of every kind, dashes, underscores, slashes, full stops with or without a space behind them,
quotation marks, markdown, emoji, signs. Texts of scripts without spaces are cut by scripts.py.

Small words are written together with the one they belong to. A word with such a clitic has a second reading without:

    dog's, dog’ll        English 's, 'll, 'd, 've, 're, 'm
    l'ours, dell'acqua   elided articles and prepositions of French, Italian and Catalan
    الكلب                the Arabic article, also behind a conjunction or preposition
    개가                  particles of Korean
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import regex

from .fold import Folded, fold
from .scripts import UNSPACED, cut

_LETTER = rf"(?:[[\p{{L}}\p{{Nd}}\p{{Nl}}]--{UNSPACED}]\p{{M}}*)"
_JOINER = r"(?:[-']|(?<=l)\u00b7(?=l)|(?<=\p{Hebrew})[\u05f4\"](?=\p{Hebrew}))"
_SPACED = regex.compile(rf"(?V1){_LETTER}+")
_WORD = regex.compile(rf"(?V1)(?P<spaced>{_LETTER}+(?:{_JOINER}{_LETTER}+)*)|{UNSPACED}(?:{UNSPACED}|\p{{M}})*")

#: Marks that end a sentence or part items of a list: no name goes on behind them. So does an empty line.
_ENDS = regex.compile(r"[.,;:!?\u2026\u3001\u3002\uff61\u060c\u061b\u061f\u06d4\u0964\u0965\u1362]|\n\s*\n")

_BEHIND = regex.compile(r"(?<=\p{L}\p{M}*)'(?:s|ll|d|ve|re|m)$")
_ELIDED = regex.compile(
    r"(?:l|d|j|c|n|s|m|t|qu|un|gl|del|dell|al|all|nel|nell|sul|sull|dal|dall|col|coll|quell|quest|bell|sant|grand"
    r"|lorsqu|puisqu|jusqu|quelqu)'(?=\p{L})"
)
_ARTICLE = regex.compile(r"[\u0648\u0641]?(?:[\u0628\u0643]?\u0627\u0644|\u0644\u0644)(?=\p{Arabic}{2})")
_PARTICLE = regex.compile(
    r"(?<=[가-힣])(?:들?(?:이|은|을|의|에|에게|과|도|만)|가|는|를|에서|께|께서|한테|와|랑|이랑|하고|까지|부터|로|으로|보다|처럼"
    r"|나|이나|들)$"
)


@dataclass(frozen=True)
class Token:
    """A word of a folded text.

    Attributes:
        text: the word.
        start, end: its range in the folded text.
        unspaced: it is of a script without spaces.
        glued: nothing stands between it and the token before: both are parts of one run of such a script.
        apart: an end of a sentence, or of an item of a list, stands between it and the token before.
    """

    text: str
    start: int
    end: int
    unspaced: bool = False
    glued: bool = False
    apart: bool = False

    @property
    def readings(self) -> tuple[tuple[int, int], ...]:
        """Ranges of `text` that are the word: all of it, and without what is only written together with it."""
        return _readings(self.text)


def tokens_of(text: Folded, *, segmented: bool = True) -> list[Token]:
    """The words of a folded text in their order.

    `segmented=False` leaves runs of a script without spaces whole. Raises UnsegmentedScript for runs that cannot be
    cut.
    """
    tokens = list(_runs(text.text))
    return segment(tokens) if segmented else tokens


def segment(tokens: Sequence[Token]) -> list[Token]:
    """Runs of scripts without spaces cut into words. Raises UnsegmentedScript where that cannot be done."""
    return [piece for token in tokens for piece in (_pieces(token) if token.unspaced else (token,))]


def words_of(text: str) -> list[str]:
    """The words of a text for counting: in one spelling, without hyphens and apostrophes, each a word of its own.

    For a text in ASCII these are the runs of letters and digits. Raises UnsegmentedScript as :func:`tokens_of` does.
    """
    tokens = segment(list(_runs(fold(text))))
    return [word for token in tokens for word in ([token.text] if token.unspaced else _SPACED.findall(token.text))]


def wordless(text: str) -> bool:
    """Whether a text says nothing: it holds no letter and no digit."""
    return _WORD.search(fold(text)) is None


def _runs(text: str) -> Iterator[Token]:
    before = 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        apart = before > 0 and _ENDS.search(text, before, start) is not None
        yield Token(match.group(), start, end, match["spaced"] is None, apart=apart)
        before = end


def _pieces(run: Token) -> Iterator[Token]:
    for start, end in cut(run.text):
        piece = replace(run, text=run.text[start:end], start=run.start + start, end=run.start + end)
        yield replace(piece, glued=True, apart=False) if start else piece


@lru_cache(maxsize=4096)
def _readings(word: str) -> tuple[tuple[int, int], ...]:
    heads = (pattern.match(word) for pattern in (_ELIDED, _ARTICLE))
    tails = (pattern.search(word) for pattern in (_BEHIND, _PARTICLE))
    starts = [0, *(found.end() for found in heads if found is not None)]
    ends = [len(word), *(found.start() for found in tails if found is not None)]
    return tuple((start, end) for start in starts for end in ends)

"""A caption with the concept marked: pieces of text, so that a template never has to trust any of it."""

from __future__ import annotations

from typing import NamedTuple

from ..samples.lexicon import Lexicon, Mode


class Piece(NamedTuple):
    """Some text, and whether it names the concept."""

    text: str
    concept: bool


def marked(text: str, concept: str, mode: Mode = "lexicon") -> list[Piece]:
    """A caption, without its prompt, cut at every place that names the concept; the pieces joined are the caption."""
    pieces: list[Piece] = []
    begin = 0
    for match in Lexicon.default().mentions(text, concept, mode):
        if match.start > begin:
            pieces.append(Piece(text[begin : match.start], False))
        pieces.append(Piece(match.surface, True))
        begin = match.end
    return [*pieces, Piece(text[begin:], False)] if text[begin:] or not pieces else pieces


def names(pieces: list[Piece]) -> bool:
    """Whether any piece names the concept."""
    return any(piece.concept for piece in pieces)

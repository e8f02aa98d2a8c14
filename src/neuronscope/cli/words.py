"""How tables of verbs show promoted words: never without those of random neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..meaning import Words
    from ..view import Decoded

#: Columns of :func:`word_cells`.
WORDS = ("promotes (strength in sd)", "stronger than random", "a random neuron of its layer")


def word_cells(words: Words, index: int) -> tuple[str, str, str]:
    """The cells of one neuron."""
    other, quantile = words.beside[index], words.quantiles[index]
    return (
        _spoken(words[index]),
        "-" if quantile is None else f"{quantile:.0%}",
        "-" if other is None else f"{other.neuron}: {_spoken(other)}",
    )


def _spoken(one: Decoded) -> str:
    return "  ".join(
        f"{token.strip()} {strength:.1f}" for token, strength in zip(one.tokens, one.strengths, strict=True)
    )

"""The nouns of a caption: what Pan et al. call its concepts, and look for neurons of (METHODS c, f "Setting").

    tagger      words with a noun's part-of-speech tag, each by itself: "fire", "hydrant"     (as published)
    compounds   the same, neighbouring nouns joined: "fire hydrant", "tennis racket"
    lexicon     mentions of the concepts of the bundled lexicon; needs no tagger, and knows no other noun

The tagger is HanTa (the Hanover Tagger), whose English model comes inside the package, so that nothing is downloaded;
its tags are those of the British National Corpus, in which nouns begin with N. "auto" is the tagger where HanTa is
installed and the lexicon elsewhere; which of them it was, and why, is in :meth:`NounFinder.provenance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Literal, Protocol, TypeAlias, cast

from ..errors import InvalidOption
from ..types import Json, one_of
from ..words import fold, folded, tokens_of
from .lexicon import Lexicon

Finder: TypeAlias = Literal["auto", "tagger", "compounds", "lexicon"]

INSTALL = "pip install 'neuronscope[nouns]'"
_MODULE = "HanTa.HanoverTagger"
_MODEL = "morphmodel_en.pgz"


@dataclass(frozen=True)
class Noun:
    """A noun of a caption.

    Attributes:
        text: the noun in lower case, or the lexicon's name of the concept.
        surface: as the caption spells it.
        start, end: its character range in the caption.
    """

    text: str
    surface: str
    start: int
    end: int


class NounFinder(Protocol):
    """Finds nouns. Made by :func:`noun_finder`."""

    def find(self, caption: str, context: str = "") -> list[Noun]:
        """The nouns of a caption in their order, each once, at its first mention. `context` goes before it."""
        ...

    def provenance(self) -> dict[str, Json]:
        """`finder`, and what else decides the result."""
        ...


def noun_finder(name: str = "auto") -> NounFinder:
    """A way to find nouns by name, see the head of this module.

    Raises InvalidOption for an unknown name, and for a tagger that is not installed.
    """
    one_of("nouns", name, ("auto", *_FINDERS))
    if name != "auto":
        return _FINDERS[name]()
    if find_spec("HanTa") is None:
        return LexiconNouns(fallback=f"HanTa is not installed: {INSTALL}")
    return TaggedNouns()


#: Letters of a word that the tagger is given; of several hundred it takes minutes.
_LONGEST = 100


@dataclass(frozen=True)
class TaggedNouns:
    """Nouns by their part of speech.

    Attributes:
        compounds: join nouns that follow one another.

    Raises InvalidOption where HanTa is not installed.
    """

    compounds: bool = False

    def __post_init__(self) -> None:
        _tagger()

    def find(self, caption: str, context: str = "") -> list[Noun]:
        """The tagger reads context and caption as one sentence; nouns of the context are not returned."""
        before = [context[start:end] for start, end, _ in _pieces(context)]
        pieces = _pieces(caption)
        if not pieces:
            return []
        given = [caption[start:end] for start, end, _ in pieces]
        tagged: Sequence[tuple[str, str, str]] = _tagger().tag_sent([word[:_LONGEST] for word in (*before, *given)])
        spans: list[tuple[int, int]] = []
        joins = False
        for (start, end, word), (_, _, tag) in zip(pieces, tagged[len(before) :], strict=True):
            noun = word and tag.startswith("N") and caption[start].isalpha()
            if noun and joins and self.compounds:
                spans[-1] = (spans[-1][0], end)
            elif noun:
                spans.append((start, end))
            joins = noun
        return _each_once(caption, spans)

    def provenance(self) -> dict[str, Json]:
        """With the tagger's version."""
        name = "compounds" if self.compounds else "tagger"
        return {"finder": name, "tagger": "HanTa", "version": metadata.version("HanTa"), "model": _MODEL}


@dataclass(frozen=True)
class LexiconNouns:
    """Concepts that the bundled lexicon knows: 80 of COCO, with their synonyms.

    Attributes:
        fallback: why the lexicon stands in for a tagger; empty where it was asked for.
    """

    fallback: str = ""

    def find(self, caption: str, context: str = "") -> list[Noun]:
        """The context is not looked at: single words are matched."""
        del context
        lexicon = Lexicon.default()
        found = {concept: lexicon.match(caption, concept) for concept in lexicon.concepts}
        nouns = [Noun(concept, hit.surface, hit.start, hit.end) for concept, hit in found.items() if hit is not None]
        # The bear of "teddy bear" is no bear by the lexicon; a word inside a longer one ("car" of "toy car") may be.
        return sorted(nouns, key=lambda noun: (noun.start, -noun.end, noun.text))

    def provenance(self) -> dict[str, Json]:
        """With the lexicon's version."""
        return {"finder": "lexicon", "version": Lexicon.default().version, "fallback": self.fallback}


_FINDERS: Mapping[str, Any] = {
    "tagger": TaggedNouns,
    "compounds": lambda: TaggedNouns(compounds=True),
    "lexicon": LexiconNouns,
}

#: Names of the finders, "auto" first.
FINDERS: tuple[str, ...] = ("auto", *_FINDERS)


def _pieces(text: str) -> list[tuple[int, int, bool]]:
    """Ranges that the tagger reads one by one, and whether each is a word.

    It wants to see marks of punctuation as well, and knows a possessive 's by itself.
    """
    spelling = folded(text)
    pieces: list[tuple[int, int, bool]] = []
    before = 0
    for token in tokens_of(spelling):
        pieces += _marks(text, before, spelling.starts[token.start])
        head = token.start + min(end for _, end in token.readings)
        start, end = spelling.span(token.start, head)
        pieces.append((start, end, True))
        before = spelling.ends[token.end - 1]
        if end < before:
            pieces.append((end, before, False))
    return [*pieces, *_marks(text, before, len(text))]


def _marks(text: str, start: int, end: int) -> list[tuple[int, int, bool]]:
    return [(n, n + 1, False) for n in range(start, end) if text[n].isprintable() and not text[n].isspace()]


def _each_once(caption: str, spans: Sequence[tuple[int, int]]) -> list[Noun]:
    first: dict[str, Noun] = {}
    for start, end in spans:
        surface = caption[start:end]
        text = " ".join(fold(surface).split())
        first.setdefault(text, Noun(text, surface, start, end))
    return list(first.values())


@lru_cache(maxsize=1)
def _tagger() -> Any:
    try:
        module = import_module(_MODULE)
    except ImportError as error:
        raise InvalidOption(
            f"the tagger needs the package HanTa, which cannot be imported ({error}): {INSTALL}, or nouns='lexicon'"
        ) from error
    return cast("Any", module).HanoverTagger(_MODEL)

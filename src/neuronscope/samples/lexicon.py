"""Does a caption name a concept? See METHODS d, "Target matching".

The paper does not say how it decided; its examples accept "a plane" for airplane and contain "bedroom" beside bed.
Matching works on whole words in one spelling (:mod:`neuronscope.words`); a concept has a list of surface forms, whose
last word may be plural, and whose words may be joined by a space, a hyphen or nothing. Plurals are English; other
inflected forms of a concept that is not listed are forms to be listed.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..reprs import short_repr
from ..types import one_of
from ..words import DOTLESS, GREEK, Folded, Reading, Token, fold, folded, segment, tokens_of

#: `lexicon`: all surface forms; `strict`: the concept's own name and plural; `substring`: anywhere, for sensitivity.
Mode: TypeAlias = Literal["lexicon", "strict", "substring"]
MODES: tuple[Mode, ...] = get_args(Mode)

_Forms: TypeAlias = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Match:
    """The first place where a caption names a concept.

    Attributes:
        surface: the text as it stands in the caption.
        start, end: its character range there.
        form: the surface form of the lexicon that matched.
    """

    surface: str
    start: int
    end: int
    form: str


@checked_methods
@dataclass(frozen=True)
class Lexicon:
    """Surface forms of concepts; a concept that is not listed is known by its literal form and its plural."""

    version: str
    forms: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    not_within: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def default(cls) -> Lexicon:
        """The bundled lexicon of the 80 COCO categories."""
        return _default()

    @property
    def concepts(self) -> tuple[str, ...]:
        """All listed concepts."""
        return tuple(self.forms)

    def match(self, caption: str, concept: str, mode: Mode = "lexicon") -> Match | None:
        """The first mention of `concept` in `caption`, or None. The caller leaves the prompt out of the caption.

        Raises InvalidOption for a concept without a letter or a digit, and UnsegmentedScript where characters of the
        concept stand in a run of a script without spaces and nothing can tell whether they are a word there.
        """
        return next(self.mentions(caption, concept, mode), None)

    def mentions(self, caption: str, concept: str, mode: Mode = "lexicon") -> Iterator[Match]:
        """Every mention of `concept`, in the order of the caption; none begins before the one before it ends.

        Raises as :meth:`match` does.
        """
        one_of("mode", mode, MODES)
        if not concept.strip():
            return
        spans = list(self._found(caption, concept, mode, "plain"))
        # An I may be the capital of an ı where one of the two texts has that letter, and an Α that of an ά.
        if DOTLESS in caption + concept:
            spans += self._found(caption, concept, mode, "dotless")
        if GREEK.search(concept):
            bare = self._found(caption, concept, mode, "unaccented")
            spans += [span for span in bare if caption[span[0] : span[1]].isupper()]
        behind = 0
        for start, end, form in sorted(spans, key=lambda span: (span[0], -span[1])):  # of equal ones the first form
            if start >= behind:
                yield Match(caption[start:end], start, end, form)
                behind = end

    def concepts_in(self, caption: str, mode: Mode = "lexicon") -> list[str]:
        """All listed concepts that a caption names, in the lexicon's order."""
        return [concept for concept in self.forms if self.match(caption, concept, mode) is not None]

    def spellings(self, concept: str) -> tuple[str, ...]:
        """The words that name a concept, as matching reads them: its own name, other forms, and the plural of each."""
        name = _read(concept, "plain").name
        forms = [name, *self._folded[0].get(name, ())] if name else []
        spelled = [
            " ".join([*words[:-1], last]) for words in map(str.split, forms) for last in self._inflections(words[-1])
        ]
        return tuple(dict.fromkeys(spelled))

    def _found(self, caption: str, concept: str, mode: Mode, reading: Reading) -> Iterator[tuple[int, int, str]]:
        """Mentions as character ranges of the caption, each with its form; they may overlap."""
        text, name = _read(caption, reading), _read(concept, reading)
        wanted = name.spelling.text.strip() if mode == "substring" else name.name
        if not wanted:
            raise InvalidOption(f"concept={concept!r} holds no letter and no digit, so no word of a caption can be it")
        if mode == "substring":
            yield from ((*span, wanted) for span in _substrings(text.spelling, wanted))
            return
        forms, _, not_within = self._folded
        blocked = [span for phrase in not_within.get(wanted, ()) for span in self._spans(text, phrase)]
        listed = forms.get(wanted, ()) if mode == "lexicon" else ()
        for form, given in ((wanted, name.spelling.text), *zip(listed, listed, strict=True)):
            for start, end in self._spans(text, given):
                if not any(a <= start and end <= b for a, b in blocked):
                    yield (*text.spelling.span(start, end), form)

    def _spans(self, text: _Text, form: str) -> Iterator[tuple[int, int]]:
        """Character ranges that spell a form, its last word singular or plural; of two from one word on the shorter."""
        words = _read(form, "plain").tokens
        if not words:
            return
        flat = [part for word in words for part in word.text.split("-")]
        closed = frozenset("".join([*flat[:-1], last]) for last in self._inflections(flat[-1]))
        if not any(spelling in text.letters for spelling in closed):
            return
        tokens = text.tokens
        runs = [word.text for word in words if word.unspaced]
        if any(run != token.text and run in token.text for run in runs for token in tokens if token.unspaced):
            tokens = segment(tokens)
        across = any(word.apart for word in words)  # the form itself has such a mark, as "St. Bernard" has
        for first in range(len(tokens)):
            found = _spelled(tokens, first, closed, len(flat), across)
            if found is not None:
                yield found

    @cached_property
    def _folded(self) -> tuple[_Forms, _Forms, _Forms]:
        """Forms, plurals and exclusions by names in their one spelling."""
        by_name = ({_read(k, "plain").name: v for k, v in table.items()} for table in (self.forms, self.not_within))
        plurals = {fold(word): tuple(map(fold, several)) for word, several in self.plurals.items()}
        forms, not_within = by_name
        return forms, plurals, not_within

    def _inflections(self, word: str) -> tuple[str, ...]:
        _, plurals, _ = self._folded
        if word in plurals:
            return (word, *plurals[word])
        if word.endswith(("s", "x", "z", "ch", "sh")):
            return (word, word + "es")
        if word.endswith("y") and word[-2:-1] not in "aeiou":
            return (word, word[:-1] + "ies")
        if word.endswith("o"):  # tomatoes, photos
            return (word, word + "s", word + "es")
        return (word, word + "s")


class _Text(NamedTuple):
    """A text in one spelling, its words, and what they spell.

    Attributes:
        name: the words between single spaces, the lexicon's own spelling of a concept.
        letters: the words written together.
    """

    spelling: Folded
    tokens: list[Token]
    name: str
    letters: str


@lru_cache(maxsize=1024)  # a caption is asked for many concepts
def _read(text: str, reading: Reading) -> _Text:
    spelling = folded(text, reading)
    tokens = tokens_of(spelling, segmented=False)
    words = [word for token in tokens for word in token.text.split("-")]
    return _Text(spelling, tokens, " ".join(words), "".join(words))


def _spelled(
    tokens: Sequence[Token], first: int, closed: frozenset[str], count: int, across: bool
) -> tuple[int, int] | None:
    """The characters that spell one of the closed forms, in `count` words or fewer from a token on.

    Spaces, hyphens and nothing between the words are one spelling: all of them are removed before comparing.
    """
    longest = max(map(len, closed))
    for head in dict.fromkeys(start for start, _ in tokens[first].readings):
        joined, words = "", 0
        for last in range(first, len(tokens)):
            token = tokens[last]
            words += not (token.glued and last > first)
            if words > count or len(joined) > longest or (token.apart and last > first and not across):
                break
            begin = head if last == first else 0
            for end in dict.fromkeys(end for _, end in token.readings):
                if joined + token.text[begin:end].replace("-", "") in closed:
                    return tokens[first].start + head, token.start + end
            joined += token.text[begin:].replace("-", "")
    return None


def _substrings(text: Folded, wanted: str) -> Iterator[tuple[int, int]]:
    """Where a text occurs, as ranges of the original; a letter is not found without its marks."""
    at = text.text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        whole = unicodedata.category(text.text[end : end + 1] or " ")[0] != "M"
        if whole:
            yield text.span(at, end)
        at = text.text.find(wanted, end if whole else at + 1)


def _data(name: str) -> Any:
    return json.loads((files("neuronscope.samples") / "data" / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _default() -> Lexicon:
    data = _data("lexicon.json")
    concepts: dict[str, dict[str, list[str]]] = data["concepts"]
    plurals: dict[str, tuple[str, ...]] = {word: tuple(forms) for word, forms in data["plurals"].items()}
    plurals |= {name: tuple(entry["plural"]) for name, entry in concepts.items() if "plural" in entry}
    return Lexicon(
        version=data["version"],
        forms={name: tuple(entry["synonyms"]) for name, entry in concepts.items()},
        plurals=plurals,
        not_within={name: tuple(entry["not_within"]) for name, entry in concepts.items() if "not_within" in entry},
    )


def published_thresholds() -> dict[str, tuple[float, float]]:
    """Table IV of Sato & Takagi: concept -> (threshold_a, threshold_g), one hand-tuned sample per concept."""
    rows: dict[str, dict[str, float]] = _data("published_thresholds.json")["thresholds"]
    return {concept: (row["activation"], row["gradient"]) for concept, row in rows.items()}

"""Does a caption name a concept? See METHODS d, "Target matching".

The paper does not say how it decided; its examples accept "a plane" for airplane and contain "bedroom" beside bed.
Matching works on whole tokens of the lower-case, NFKC-normalised caption; a concept has a list of surface forms, whose
last word may be plural, and whose words may be joined by a space, a hyphen or nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

from ..types import one_of

#: `lexicon`: all surface forms; `strict`: the concept's own name and plural; `substring`: anywhere, for sensitivity.
Mode: TypeAlias = Literal["lexicon", "strict", "substring"]
MODES: tuple[Mode, ...] = get_args(Mode)

_TOKEN = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")


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


@dataclass(frozen=True)
class Lexicon:
    """Surface forms of concepts; a concept that is not listed is known by its literal form and its plural."""

    version: str
    forms: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    not_within: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @classmethod
    def default(cls) -> Lexicon:
        """The bundled lexicon of the 80 COCO categories."""
        return _default()

    @property
    def concepts(self) -> tuple[str, ...]:
        """All listed concepts."""
        return tuple(self.forms)

    def match(self, caption: str, concept: str, mode: Mode = "lexicon") -> Match | None:
        """The first mention of `concept` in `caption`, or None. The caller leaves the prompt out of the caption."""
        one_of("mode", mode, MODES)
        text, origin = _normalise(caption)
        name = _normalise(concept.strip())[0]
        if not name:
            return None
        if mode == "substring":
            at = text.find(name)
            return None if at < 0 else _found(caption, origin, at, at + len(name), name)
        name = " ".join(name.replace("-", " ").split())  # the lexicon's own spelling
        listed = self.forms.get(name, ())
        wanted = [name, *listed] if mode == "lexicon" else [name]
        tokens = [(m.group(), m.start(), m.end()) for m in _TOKEN.finditer(text)]
        blocked = [span for phrase in self.not_within.get(name, ()) for span in self._spans(tokens, phrase)]
        best: tuple[int, int, str] | None = None  # in `text`, whose characters may outnumber the caption's
        for form in wanted:
            for first, last in self._spans(tokens, form):
                if any(a <= first and last <= b for a, b in blocked):
                    continue
                start, end = tokens[first][1], tokens[last][2]
                if best is None or (start, -end) < (best[0], -best[1]):
                    best = (start, end, form)
                break
        return None if best is None else _found(caption, origin, *best)

    def mentions(self, caption: str, concept: str, mode: Mode = "lexicon") -> Iterator[Match]:
        """Every mention of `concept`, in the order of the caption; each is looked for behind the one before."""
        begin = 0
        while (match := self.match(caption[begin:], concept, mode)) is not None:
            yield replace(match, start=begin + match.start, end=begin + match.end)
            begin += match.end

    def concepts_in(self, caption: str, mode: Mode = "lexicon") -> list[str]:
        """All listed concepts that a caption names, in the lexicon's order."""
        return [concept for concept in self.forms if self.match(caption, concept, mode) is not None]

    def spellings(self, concept: str) -> tuple[str, ...]:
        """The words that name a concept, in lower case: its own name, its other forms, and the plural of each."""
        name = " ".join(_normalise(concept.strip())[0].replace("-", " ").split())
        forms = [name, *self.forms.get(name, ())] if name else []
        spelled = [
            " ".join([*words[:-1], last]) for words in map(str.split, forms) for last in self._inflections(words[-1])
        ]
        return tuple(dict.fromkeys(spelled))

    def _spans(self, tokens: Sequence[tuple[str, int, int]], form: str) -> list[tuple[int, int]]:
        """Token ranges (first, last) that spell a form, its last word singular or plural."""
        words = _TOKEN.findall(form)
        if not words:
            return []
        flat = [word for part in words for word in part.split("-")]
        closed = {"".join([*flat[:-1], last]) for last in self._inflections(flat[-1])}
        spans: list[tuple[int, int]] = []
        for first in range(len(tokens)):
            # Spaces, hyphens and nothing between the words are one spelling: compare with all of them removed.
            joined = ""
            for last in range(first, min(first + len(flat), len(tokens))):
                joined += tokens[last][0].replace("-", "")
                if joined in closed:
                    spans.append((first, last))
                    break
        return spans

    def _inflections(self, word: str) -> tuple[str, ...]:
        if word in self.plurals:
            return (word, *self.plurals[word])
        if word.endswith(("s", "x", "z", "ch", "sh")):
            return (word, word + "es")
        if word.endswith("y") and word[-2:-1] not in "aeiou":
            return (word, word[:-1] + "ies")
        if word.endswith("o"):  # tomatoes, photos
            return (word, word + "s", word + "es")
        return (word, word + "s")


def _normalise(text: str) -> tuple[str, list[int]]:
    """Lower-case NFKC text and, for each of its characters, the index of the character of `text` it came from."""
    characters: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        for piece in unicodedata.normalize("NFKC", character).lower():
            characters.append(piece)
            origin.append(index)
    return "".join(characters), origin


def _found(caption: str, origin: Sequence[int], start: int, end: int, form: str) -> Match:
    first, last = origin[start], origin[end - 1] + 1
    return Match(caption[first:last], first, last, form)


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

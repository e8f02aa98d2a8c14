"""The original way to find objects in captions, for CHAIR (Rohrbach et al., 2018): lists of synonyms and a few rules.

The lists are a file of the original code, `data/synonyms.txt`, that the user supplies: an object in each line, its
synonyms behind it with commas between. What is done with a caption, in this order:

1. lower case; words and punctuation apart; every word in the singular (a word of the lists stays as it is, so that
   "skis" and "scissors" do);
2. from the left, two words that are one in :data:`COMPOUNDS` become that one; "baby" and "adult" before an animal and
   "passenger" before a vehicle are dropped, because they name no person;
3. where a toilet is named no "seat" is a chair;
4. what is then a word of the lists is a mention of the object whose line it is in. Synonyms of several words that are
   no compounds are never found.

An object counts as shown in a picture where it is annotated, or where a reference caption names it in this way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidSample

#: Pairs of words that the original takes for one; those that are no synonym keep their last word from being one.
COMPOUNDS: frozenset[str] = frozenset(
    (
        *("motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light"),
        *("fire hydrant", "stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove"),
        *("tennis racket", "wine glass", "hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier"),
        *("potted plant", "laptop computer", "home plate"),
    )
)
_ANIMALS = (*("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub"),)
#: Two words -> the one that they count as.
PAIRS: Mapping[str, str] = {
    **{pair: pair for pair in COMPOUNDS},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
}
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "oxen": "ox",
    "calves": "calf",
    "loaves": "loaf",
    "wolves": "wolf",
    "knives": "knife",
    "wives": "wife",
    "leaves": "leaf",
    "halves": "half",
    "shelves": "shelf",
}
_WORD = re.compile(r"[^\W_]+(?:[-/.&][^\W_]+)*|[^\w\s]")
_SHORT = re.compile(r"(?<=\w)(n't|['\u2019](?:s|m|d|re|ve|ll))\b")


@dataclass(frozen=True)
class Synonyms:
    """Lists of synonyms; find objects with :meth:`mentions`.

    Attributes:
        name: what tables call them: the file's name and the beginning of the SHA-256 of its bytes.
        object_of: word -> the object whose synonym it is, itself among them.
    """

    name: str
    object_of: Mapping[str, str]

    @classmethod
    def read(cls, path: str | Path) -> Synonyms:
        """Read a file of lists. Raises InvalidSample for one that cannot be read, and for lines without a word."""
        file = Path(path)
        try:
            content = file.read_bytes()
            text = content.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSample(f"{file} cannot be read as lists of synonyms: {error}") from error
        found: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = [" ".join(word.split()).lower() for word in line.split(",")]
            words = [word for word in words if word]
            if not words:
                if line.strip():
                    raise InvalidSample(f"{file}:{number} names no object: {line!r}")
                continue
            found |= dict.fromkeys(words, words[0])  # of a word in two lists the later one holds, as in the original
        if not found:
            raise InvalidSample(f"{file} holds no list of synonyms: an object in each line, its synonyms behind it")
        return cls(f"{file.name} (SHA-256 {hashlib.sha256(content).hexdigest()[:12]})", found)

    @property
    def objects(self) -> tuple[str, ...]:
        """The objects, in the order of the lists."""
        return tuple(dict.fromkeys(self.object_of.values()))

    def mentions(self, caption: str) -> list[tuple[str, str]]:
        """(word, object) of every mention in a caption, in its order, each as often as it stands there."""
        words = list(self._paired([self._singular(word) for word in _tokens(caption)]))
        if "toilet" in words:
            words = [word for word in words if word != "seat"]
        return [(word, self.object_of[word]) for word in words if word in self.object_of]

    def named(self, caption: str) -> list[str]:
        """The objects of :meth:`mentions`."""
        return [one for _, one in self.mentions(caption)]

    def shown(self, annotated: Collection[str], references: Collection[str]) -> frozenset[str]:
        """The objects of a picture, by its annotated categories and its reference captions.

        Raises InvalidSample for a category that is not in the lists.
        """
        strange = sorted(one for one in annotated if one.lower() not in self.object_of)
        if strange:
            raise InvalidSample(f"the annotated category {strange[0]!r} is in none of the lists of {self.name}")
        named = (one for text in references for one in self.named(text))
        return frozenset(self.object_of[one.lower()] for one in annotated) | frozenset(named)

    def _singular(self, word: str) -> str:
        known = _KNOWN | self.object_of.keys()
        if word in known:
            return word
        forms = [*_singulars(word)]
        return next((form for form in forms if form in known), forms[-1] if forms else word)

    def _paired(self, words: list[str]) -> Iterator[str]:
        at = 0
        while at < len(words):
            pair = PAIRS.get(" ".join(words[at : at + 2]))
            yield words[at] if pair is None else pair
            at += 1 if pair is None else 2


#: Words that are part of a pair, so that "rackets" behind "tennis" is known whatever the lists hold.
_KNOWN: frozenset[str] = frozenset(word for pair in PAIRS for word in pair.split())


def _tokens(caption: str) -> list[str]:
    """Words and marks of a text; a hyphen joins, and what is short for "is", "not" and so on is apart."""
    return [part for piece in _SHORT.split(caption.lower()) for part in _WORD.findall(piece)]


def _singulars(word: str) -> Iterator[str]:
    """What a word may be the plural of, the likeliest last."""
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif word.endswith("men") and len(word) > 4:
        yield f"{word[:-3]}man"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies") and len(word) > 4:
            yield word[:-1]
            yield f"{word[:-3]}y"
        elif word.endswith(("ches", "shes", "xes", "sses", "zes", "oes", "uses")):
            yield word[:-1]
            yield word[:-2]
        else:
            yield word[:-1]

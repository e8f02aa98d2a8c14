"""Texts in one spelling, and where each character of it came from.

What is told apart only by how it is typed is made equal: canonically equivalent characters (NFC), wide, narrow and
ligature forms (NFKC), capitals (Unicode case folding, in which STRASSE is Straße), the kinds of apostrophes and of
hyphens, and what is not seen at all: soft hyphens, joiners, marks of direction. Vowel points of Arabic and Hebrew, the
Arabic tatweel and the stress mark of Cyrillic are left out, as nearly every text leaves them out. All other marks are
part of their letter: får is not far.

A sign such as ², ½ or ™ is no letter, so it stays the sign that it is. Capitals say less than small letters: an I is
an i or, in Turkic languages, an ı, and Greek leaves the accent out over them. Such texts have another reading, for
which :func:`folded` can be asked.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import regex

#: "plain"; "dotless" takes a capital I for an ı; "unaccented" leaves the accents of Greek out.
Reading: TypeAlias = Literal["plain", "dotless", "unaccented"]

#: Turkic i without a dot, whose capital is I.
DOTLESS = "\u0131"

#: Between letters these are an apostrophe: U+0027, U+2019, U+2018, U+201B and letters that look and serve the same.
_APOSTROPHES = "\u2019\u2018\u201b\u02bc\u02bb\u055a\ua78c\u05f3"
#: U+2010, the non-breaking U+2011, and the hyphens of Armenian, Hebrew and narrow type.
_HYPHENS = "\u2010\u2011\u058a\u05be\ufe63"
_MARKS = str.maketrans({**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_HYPHENS, "-")})

#: Not seen, all but the zero-width space, which stands between words; and points that texts do without.
_UNSEEN = regex.compile(
    r"(?V1)[\p{Default_Ignorable_Code_Point}--\u200b]"
    r"|[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065e\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
    r"|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"
    r"|(?<=\p{Cyrillic})[\u0300\u0301]"
)
_TAIL = regex.compile(r"(?V1)(?<=.)[\p{Default_Ignorable_Code_Point}--\u200b]+$")
GREEK = regex.compile(r"\p{Greek}")
_ACCENT = regex.compile(r"(?<=\p{Greek}\p{M}*)\u0301")
_CLUSTER = regex.compile(r"\X")
#: Signs, whose compatibility forms are letters that nobody reads in them, and scripts in which they are misspellings.
_KEPT = regex.compile(r"[\p{No}\p{So}\p{Sk}\p{Thai}\p{Lao}]")


@dataclass(frozen=True)
class Folded:
    """A text in its one spelling.

    Attributes:
        text: the spelling.
        starts, ends: of each of its characters, the range of the original text that it came from.
    """

    text: str
    starts: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original text for a range, not an empty one, of this spelling."""
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> str:
    """A text in its one spelling."""
    return text.lower() if text.isascii() else folded(text).text


def typed(text: str) -> str:
    """A text with its capitals, and without what is told apart only by how it is typed."""
    return text if text.isascii() else "".join(_cluster(one, False) for one in _CLUSTER.findall(text))


def folded(text: str, reading: Reading = "plain") -> Folded:
    """A text in its one spelling, with the places of its characters."""
    if text.isascii() and not (reading == "dotless" and "I" in text):
        return Folded(text.lower(), list(range(len(text))), list(range(1, len(text) + 1)))
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _CLUSTER.finditer(text):
        one = match.group()
        if reading == "dotless":
            one = unicodedata.normalize("NFC", one).replace("I", DOTLESS)
        elif reading == "unaccented":
            one = _ACCENT.sub("", unicodedata.normalize("NFD", one))
        spelling = _cluster(one, True)
        characters += spelling
        starts += [match.start()] * len(spelling)
        ends += [match.start() + len(_TAIL.sub("", match.group()))] * len(spelling)
    return Folded("".join(characters), starts, ends)


@lru_cache(maxsize=4096)
def _cluster(text: str, caseless: bool) -> str:
    """One character as a reader sees it, with all its marks."""
    canonical = unicodedata.normalize("NFD", text)
    plain = "".join(one if _KEPT.match(one) else unicodedata.normalize("NFKD", one) for one in canonical)
    if caseless:
        plain = plain.casefold().replace("i\u0307", "i")  # İ is i, as the lower-case i has its dot already
    return _UNSEEN.sub("", unicodedata.normalize("NFC", plain)).translate(_MARKS)

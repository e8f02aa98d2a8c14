"""Scripts that put no space between words, and what cuts their texts into words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are cut by ICU's dictionaries, which the package icu4py brings
(`pip install 'neuronscope[words]'`). Without it, and for the other scripts of this kind, nothing can say whether
characters that stand within a longer run are a word there: such a question is refused, never answered with no.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import accumulate
from typing import Any, cast

import regex

from ..errors import UnsegmentedScript
from .fold import typed

INSTALL = "pip install 'neuronscope[words]'"
_PACKAGE = "icu4py"

#: Script -> its characters: those that ICU has a dictionary for.
_CUT = {
    "Chinese or Japanese": r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70\u3031-\u3035",
    "Thai": r"\p{Thai}",
    "Lao": r"\p{Lao}",
    "Khmer": r"\p{Khmer}",
    "Burmese": r"\p{Myanmar}",
}
#: Those that it has none for. The last is whatever else Unicode says needs a dictionary to break lines.
_UNCUT = {
    "Tibetan": r"\p{Tibetan}",
    "Javanese": r"\p{Javanese}",
    "Balinese": r"\p{Balinese}",
    "Yi": r"\p{Yi}",
    "Tangut": r"\p{Tangut}",
    "Nushu": r"\p{Nushu}",
    "Bopomofo": r"\p{Bopomofo}",
    "a script of South-East Asia": r"\p{Line_Break=Complex_Context}",
}
_SCRIPTS = {name: regex.compile(f"[{characters}]") for name, characters in {**_CUT, **_UNCUT}.items()}

#: For a character class: letters of these scripts, and the mark between syllables of Tibetan. Digits are as elsewhere.
UNSPACED = rf"[[[{''.join({**_CUT, **_UNCUT}.values())}]&&[\p{{L}}\p{{Nl}}\p{{M}}]]\u0f0b\u0f0c]"
_RUN = regex.compile(rf"(?V1){UNSPACED}(?:{UNSPACED}|\p{{M}})*")
_QUOTES = regex.compile(r"[\p{Pi}\p{Pf}\u201e\u201a]")
_PUNCTUATION = regex.compile(r"(?V1)[[\p{P}\p{S}]--[\x00-\x7f]]")


def script_of(run: str) -> str:
    """The name of the first script without spaces in a text; empty where there is none."""
    found = {name: pattern.search(run) for name, pattern in _SCRIPTS.items()}
    places = {name: match.start() for name, match in found.items() if match is not None}
    return min(places, key=lambda name: places[name], default="")


def cut(run: str) -> list[tuple[int, int]]:
    """The words of a text without spaces, as ranges. Raises UnsegmentedScript where nothing can find them."""
    if len(run) == 1:
        return [(0, 1)]
    lacking = [name for name in _UNCUT if _SCRIPTS[name].search(run)]
    cuttable = any(_SCRIPTS[name].search(run) for name in _CUT)
    if lacking and not cuttable:
        raise UnsegmentedScript(
            f"{run!r} is in {lacking[0]}, which puts no space between words, and no dictionary is known that finds "
            "them: separate the words with spaces or zero-width spaces (U+200B), or match by substring"
        )
    if find_spec(_PACKAGE) is None:
        raise UnsegmentedScript(
            f"{run!r} is in {script_of(run)}, which puts no space between words, and the package {_PACKAGE}, which "
            f"finds them, is not installed: {INSTALL}, or separate the words with spaces, or match by substring"
        )
    return _cut(run)


@lru_cache(maxsize=1024)
def _cut(run: str) -> list[tuple[int, int]]:
    breakers: Any = cast("Any", import_module(f"{_PACKAGE}.breakers"))
    # The dictionary follows from the script, the locale says where English breaks. Its own ranges count UTF-16 units.
    ends = list(accumulate(len(word) for word in breakers.WordBreaker(run, "en")))
    return list(zip([0, *ends], ends, strict=False))


def spaced(text: str) -> str:
    """A text with its case, in which words stand apart as English has them, for metrics that split it by themselves.

    Words of scripts without spaces are separated; apostrophes, hyphens, quotation marks and white space are those of
    ASCII, other marks of punctuation stand alone, and what is not seen is left out. A text in ASCII is left as it is.

    Raises UnsegmentedScript as :func:`cut` does.
    """
    if text.isascii():
        return text
    plain = _QUOTES.sub('"', typed(text))
    plain = _PUNCTUATION.sub(lambda match: f" {match.group()} ", plain.replace("\u200b", " "))
    return " ".join(_RUN.sub(lambda match: f" {' '.join(_pieces(match.group()))} ", plain).split())


def _pieces(run: str) -> Iterator[str]:
    return (run[start:end] for start, end in cut(run))


def segmenter() -> str | None:
    """What cuts texts of scripts without spaces, with its version; None where nothing is installed that does."""
    return f"{_PACKAGE} {metadata.version(_PACKAGE)}" if find_spec(_PACKAGE) is not None else None

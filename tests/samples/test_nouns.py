"""Nouns of captions, each with its own place."""

from __future__ import annotations

import sys

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.samples import nouns
from neuronscope.samples.nouns import FINDERS, LexiconNouns, TaggedNouns, noun_finder

CAPTION = "Brown bear near a fire hydrant, two giraffes and another bear."


def texts(finder: str, caption: str, context: str = "The image shows a") -> list[str]:
    return [noun.text for noun in noun_finder(finder).find(caption, context)]


@pytest.mark.parametrize(
    ("finder", "expected"),
    [
        ("tagger", ["bear", "fire", "hydrant", "giraffes"]),
        ("compounds", ["bear", "fire hydrant", "giraffes"]),
        ("lexicon", ["bear", "fire hydrant", "giraffe"]),
    ],
)
def test_each_noun_once_in_the_captions_order(finder: str, expected: list[str]):
    assert texts(finder, CAPTION) == expected


@pytest.mark.parametrize("finder", ["tagger", "compounds", "lexicon"])
def test_places_are_those_of_the_first_mention(finder: str):
    found = noun_finder(finder).find(CAPTION, "The image shows a")
    assert [CAPTION[noun.start : noun.end] for noun in found] == [noun.surface for noun in found]
    assert found[0].start == CAPTION.index("bear")


def test_nouns_of_the_context_are_not_the_captions():
    assert texts("tagger", "a dog", "An image of") == ["dog"]
    assert texts("tagger", "an image of a dog", "An image of") == ["image", "dog"]


def test_the_context_decides_what_a_word_is():
    """By itself "bear" may be a verb; after "shows a brown" it is none."""
    assert texts("tagger", "bear", "The image shows a brown") == ["bear"]


@pytest.mark.parametrize("finder", ["tagger", "lexicon"])
@pytest.mark.parametrize("caption", ["", "  ", "...", "and on the", "12 3"])
def test_captions_without_nouns_have_none(finder: str, caption: str):
    assert texts(finder, caption, "") == []


def test_a_compound_ends_at_punctuation():
    assert texts("compounds", "a tennis racket, suitcase, stop sign") == ["tennis racket", "suitcase", "stop sign"]


def test_provenance_says_how():
    tagged = noun_finder("compounds").provenance()
    assert (tagged["finder"], tagged["tagger"], tagged["model"]) == ("compounds", "HanTa", "morphmodel_en.pgz")
    assert noun_finder("auto").provenance()["finder"] == "tagger"
    assert LexiconNouns().provenance() == {"finder": "lexicon", "version": "1", "fallback": ""}


def test_without_a_tagger_the_lexicon_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nouns, "find_spec", lambda name: None)
    finder = noun_finder("auto")
    assert [noun.text for noun in finder.find("a dog on a street")] == ["dog"]
    assert "HanTa is not installed" in str(finder.provenance()["fallback"])


def test_a_missing_tagger_that_was_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch):
    nouns._tagger.cache_clear()
    monkeypatch.setitem(sys.modules, "HanTa", None)
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)
    with pytest.raises(InvalidOption, match=r"needs the package HanTa.*neuronscope\[nouns\]"):
        TaggedNouns()


def test_unknown_finders_are_refused():
    with pytest.raises(InvalidOption, match=f"nouns='spacy' is not known.*{', '.join(FINDERS)}"):
        noun_finder("spacy")

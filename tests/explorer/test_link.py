"""Addresses of the explorer: what they say is read back, and what others write into them is not taken on trust."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neuronscope.errors import InvalidOption
from neuronscope.explorer import Link, Marks, Question, State
from neuronscope.explorer.forms import EDITS, OFFERED, RULES
from neuronscope.explorer.link import query
from neuronscope.explorer.state import PictureAtHand
from neuronscope.models.decoding import Decoding

USUAL = State()
PICTURE = Image.new("RGB", (9, 9))
_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
_SIDE = st.integers(0, 5000).map(lambda tenth: tenth / 10)


@settings(max_examples=80, deadline=None)
@given(
    name=_TEXT.filter(bool),
    boxes=st.lists(st.tuples(_SIDE, _SIDE, _SIDE, _SIDE), max_size=3),
    concept=_TEXT,
    method=st.sampled_from(OFFERED),
    rule=st.sampled_from(RULES),
    numbers=st.tuples(st.floats(0.01, 0.45), st.integers(1, 300), st.integers(1, 300)),
    edit=st.sampled_from(EDITS),
    asked=_TEXT,
    prefix=st.none() | _TEXT,
)
def test_an_address_says_all_that_it_can(name, boxes, concept, method, rule, numbers, edit, asked, prefix):
    q, budget, count = numbers
    question = Question(concept, method, rule, q, budget, count, edit)
    decoding = Decoding(question=asked, prefix=prefix)
    state = replace(USUAL, picture=PictureAtHand(name, PICTURE, "", 3), marks=Marks(tuple(boxes)), question=question)
    state = replace(state, decoding=decoding)
    found = Link.parse(dict(parse_qsl(query(state, USUAL), keep_blank_values=True)))
    assert (found.picture, found.boxes, found.question) == (name, tuple(boxes), question)
    if found.asks:
        assert (found.asked, found.prefix) == (asked, prefix)
    assert found.asks == (decoding != USUAL.decoding)


def test_an_address_says_nothing_of_what_is_usual():
    assert query(USUAL, USUAL) == ""
    assert Link.parse({}) == Link()
    assert Link.parse({"__theme": "dark", "other": "1"}) == Link()


def test_what_an_address_does_not_say_is_as_usual_there():
    usual = Question(edit="diffusion:own")
    first = replace(USUAL, question=usual)
    offered = (*EDITS, "diffusion:own")
    assert query(first, first) == ""
    assert Link.parse({}, usual, offered).question == usual
    assert Link.parse({"edit": "telea"}, usual, offered).question.edit == "telea"
    with pytest.raises(InvalidOption):
        Link.parse({"edit": "diffusion:other"}, usual, offered)


BAD = [
    {"box": "1,2,3"},
    {"box": "1,2,3,x"},
    {"box": "1,2,3,nan"},
    {"box": "1,2,3,1e30"},
    {"q": "many"},
    {"q": "inf"},
    {"budget": "1.5"},
    {"count": "-3"},
    {"method": "magic"},
    {"rule": "magic"},
    {"edit": "diffusion:/etc"},
]


@pytest.mark.parametrize("said", BAD, ids=str)
def test_an_address_that_cannot_be_meant_is_refused(said):
    with pytest.raises(InvalidOption):
        Link.parse(said)


def test_an_address_is_cut_where_it_is_too_long():
    found = Link.parse({"concept": "x" * 999, "question": "y" * 9999, "neuron": "1" * 999, "box": "1,2,3,4;" * 999})
    assert (len(found.question.concept), len(found.asked), len(found.neuron), len(found.boxes)) == (80, 1000, 80, 200)

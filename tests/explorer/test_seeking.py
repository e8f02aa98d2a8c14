"""A word or a click marks the object in the explorer."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.cli.explore import origin_of
from neuronscope.errors import InvalidSample
from neuronscope.explorer import Desk, ListedPicture, Marks, Question, Session, Shelf, Stroke, Workshop, html
from neuronscope.explorer.clients import Visitor, parts
from neuronscope.explorer.events import point_of
from neuronscope.locate import taken
from neuronscope.options import Loading
from neuronscope.regions import Detector, Segmenter

SOON = 60.0


@pytest.fixture(scope="module")
def finders(finder):
    return Detector(finder("owlvit")), Segmenter(finder("sam"))


@pytest.fixture
def shop(vlm, finders, picture):
    made = Workshop(
        Desk(vlm),
        Shelf([ListedPicture("noise", lambda: picture, "noise.png")]),
        lambda *asked: origin_of(Loading(), *asked),
        detector=finders[0],
        segmenter=finders[1],
    )
    yield made
    made.desk.close()


@pytest.fixture
def session(shop):
    made = Session(shop)
    assert made.pick(0).wait(SOON).status == "done"
    yield made
    made.close()


def test_a_word_marks_what_the_library_finds(session, shop, picture):
    assert session.seek(" bear ").wait(SOON).status == "done"
    regions = ns.find_regions(picture, "bear", shop.detector, segmenter=shop.segmenter)
    marks = session.state.marks
    assert session.state.question.concept == "bear"
    assert marks.all_boxes == (regions.taken[0].box,)
    assert np.array_equal(marks.mask(picture.size), regions.mask)
    assert marks.found_by == regions.to_dict()
    sent = json.loads(html.canvas(session.state, clicks=True))
    assert sent["clicks"]
    assert sent["finds"][0]["outline"].startswith("data:image/png")
    session.undo()
    assert not session.state.marks


def test_a_click_marks_what_lies_under_it_and_both_are_on_record(session, shop, picture):
    assert session.point(30.0, 20.0).wait(SOON).status == "done"
    assert np.array_equal(session.state.marks.mask(picture.size), shop.segmenter.at(picture, 30.0, 20.0)[0])
    assert session.seek("bear").wait(SOON).status == "done"
    told = session.state.marks.found_by
    assert [one["word"] for one in told["finds"]] == ["what lies at 30,20", "bear"]
    kept = Marks.parse(json.dumps({"boxes": [], "strokes": [], "finds": [1]}), session.state.marks.finds)
    assert kept.finds == session.state.marks.finds[1:]


def test_what_was_found_is_with_the_neurons(session, shop, speaks, monkeypatch):
    monkeypatch.setattr(taken, "UNAFFECTED", -9.0)  # a random outline takes nothing from the word
    speaks(shop.desk.vlm, "brown bear on grass", "grass")
    assert session.seek("bear").wait(SOON).status == "done"
    job = session.locate(Question("bear", method="activation-difference", count=3)).wait(SOON)
    assert job.status == "done", job.error
    found = session.state.found
    assert found.evidence.neurons.provenance["edit"]["found_by"]["detector"]["kind"] == "owlvit"
    assert "--mask mask.png" in found.evidence.command
    assert session.state.marks.found_by["sentence"] in found.evidence.notes


def test_a_box_without_a_segmenter_stays_a_box(shop, picture):
    bare = Session(Workshop(shop.desk, shop.shelf, shop.origin, detector=shop.detector))
    assert bare.pick(0).wait(SOON).status == "done"
    assert bare.seek("bear").wait(SOON).status == "done"
    assert bare.state.marks.mask(picture.size) is None
    assert bare.shop.origin(Question("bear"), "noise.png", bare.state.marks, shop.decoding).command.count("--box") == 1
    with_stroke = Marks((), (Stroke(2.0, ((5.0, 5.0),)),), bare.state.marks.finds)
    assert with_stroke.mask(picture.size).sum() > 30
    assert bare.point(3.0, 3.0).wait(SOON).status == "refused"
    assert not json.loads(parts(Visitor(bare.shop))["canvas"] or "null")
    bare.close()


@pytest.mark.parametrize("word", ["", " ", "\t"])
def test_an_empty_word_is_refused(session, word):
    with pytest.raises(InvalidSample, match="type the word"):
        session.seek(word)


@pytest.mark.parametrize(
    "data", [{}, {"x": 1}, {"x": "a", "y": 2}, {"x": None, "y": 1}, {"x": 1e9, "y": 0}, {"x": float("nan"), "y": 1}]
)
def test_clicks_that_are_none(data):
    with pytest.raises(InvalidSample, match="click cannot be read"):
        point_of(data)


@pytest.mark.parametrize("finds", ["[7]", "[-1]", '["0"]', "[1e400]", "[null]", "7", "[[0]]"])
def test_finds_that_the_browser_makes_up_mark_nothing(finds):
    text = f'{{"boxes": [], "strokes": [], "finds": {finds}}}'
    with suppress(InvalidSample):
        assert not Marks.parse(text).finds

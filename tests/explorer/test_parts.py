"""Marks, pictures and choices of the explorer: what comes from a browser is not taken on trust."""

from __future__ import annotations

import json
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.explorer import Change, ListedPicture, Marks, Question, Shelf, Stroke
from neuronscope.explorer import annotations as marks
from neuronscope.explorer import picture_list as shelf
from neuronscope.explorer.forms import OFFERED, OPERATIONS, captions_under, usual_level


def test_marks_are_read_as_the_page_writes_them():
    text = json.dumps({"boxes": [[1, 2, 3.5, 4]], "strokes": [{"radius": 2, "points": [[5, 6], [7, 8]]}]})
    read = Marks.parse(text)
    assert read == Marks(((1.0, 2.0, 3.5, 4.0),), (Stroke(2.0, ((5.0, 6.0), (7.0, 8.0))),))
    assert Marks.parse(json.dumps(read.to_dict())) == read
    assert not Marks()
    assert read


BAD = {
    "no text": None,
    "no json": "{",
    "a list": "[]",
    "no strokes": '{"boxes": []}',
    "three numbers": '{"boxes": [[1, 2, 3]], "strokes": []}',
    "not finite": '{"boxes": [[1, 2, 3, NaN]], "strokes": []}',
    "words": '{"boxes": [["a", 2, 3, 4]], "strokes": []}',
    "far away": '{"boxes": [[1, 2, 3, 1e30]], "strokes": []}',
    "empty stroke": '{"boxes": [], "strokes": [{"radius": 1, "points": []}]}',
    "no radius": '{"boxes": [], "strokes": [{"radius": 0, "points": [[1, 1]]}]}',
    "too many": json.dumps({"boxes": [[0, 0, 1, 1]] * (marks.MOST_MARKS + 1), "strokes": []}),
    "deep": '{"boxes": ' + "[" * 100_000 + "]" * 100_000 + "}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_other_marks_are_refused(text):
    with pytest.raises(InvalidSample):
        Marks.parse(text)


def test_boxes_alone_stay_boxes():
    assert Marks(((1.0, 2.0, 3.0, 4.0),)).mask((20, 10)) is None


def test_a_stroke_covers_what_is_within_its_radius():
    """Up to a pixel at the rim, against the distance of every pixel from the line."""
    a, b, r = np.array([10.0, 12.0]), np.array([40.0, 25.0]), 5.0
    mask = Marks((), (Stroke(r, (tuple(a), tuple(b))),)).mask((60, 44))
    ys, xs = np.mgrid[:44, :60]
    p = np.stack([xs, ys], -1).astype(float)
    t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    away = np.linalg.norm(p - (a + t[..., None] * (b - a)), axis=-1)
    assert mask[away <= r - 1].all()
    assert not mask[away >= r + 1].any()
    with_box = Marks(((50.0, 40.0, 3.0, 2.0),), (Stroke(r, (tuple(a), tuple(b))),)).mask((60, 44))
    assert np.array_equal(with_box[40:42, 50:53], np.ones((2, 3), bool))
    assert with_box.sum() == mask.sum() + 6


def forged_png(path, width, height):
    """A header that promises a large picture, and nothing behind it."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(body)) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    return path


@pytest.mark.parametrize("size", [(6000, 5000), (60_000, 50_000)])
def test_large_pictures_are_refused_by_their_header(tmp_path, size):
    with pytest.raises(InvalidSample, match=r"at most|can be read|cannot be read"):
        shelf.limited(forged_png(tmp_path / "bomb.png", *size))


def test_large_files_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "MOST_BYTES", 1000)
    (tmp_path / "long.png").write_bytes(b"x" * 1001)
    with pytest.raises(InvalidSample, match="MiB are read"):
        shelf.limited(tmp_path / "long.png")


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    for name in ("a.png", "missing.png"):
        with pytest.raises(InvalidSample, match=r"not in a format that can be read|cannot be read as a picture"):
            shelf.limited(tmp_path / name)


def test_a_folder_is_a_shelf_of_pages(tmp_path, picture):
    for k in range(14):
        picture.save(tmp_path / f"{k:02}.png")
    (tmp_path / "05.png").write_text("hello")
    shown = Shelf(shelf.folder(tmp_path))
    assert shown.pages == 2
    first, second = shown.page(0), shown.page(1)
    assert [tile.name for tile in first] == [f"{k:02}.png" for k in range(12)]
    assert [tile.number for tile in second] == [12, 13]
    assert [bool(tile.error) for tile in first] == [k == 5 for k in range(12)]
    assert first[0].picture.startswith("data:image/jpeg;base64,")
    assert shown.page(9) == []
    assert shown.entry(13).path == str(tmp_path / "13.png")
    for number in (-1, 14):
        with pytest.raises(InvalidSample, match="not one of 14"):
            shown.entry(number)


@pytest.mark.parametrize("change", ["another picture", "no picture", "gone", "a folder", "same size, other time"])
def test_a_thumbnail_is_of_the_file_as_it_is_now(tmp_path, picture, change):
    file = tmp_path / "a.bmp"
    picture.save(file)
    shown = Shelf(shelf.folder(tmp_path))
    before = shown.tile(0)
    assert shown.page(0)[0] is before
    if change in ("another picture", "same size, other time"):
        picture.transpose(Image.Transpose.ROTATE_180).save(file)
        if change == "another picture":
            picture.resize((50, 20)).save(file)
    elif change == "no picture":
        file.write_text("hello")
    else:
        file.unlink()
        if change == "a folder":
            file.mkdir()
    now = shown.page(0)[0]
    assert now == shown.tile(0) != before
    assert bool(now.error) == (change in ("no picture", "gone", "a folder"))


def test_pictures_are_made_smaller_only_where_they_are_large(picture):
    assert shelf.shrunk(picture) is picture
    large = picture.resize((3000, 2000))
    assert shelf.shrunk(large).size == (1024, 683)
    assert large.size == (3000, 2000)


def test_an_entry_of_a_shelf_is_read_when_it_is_looked_at():
    read = []
    shown = Shelf([ListedPicture("one", lambda: read.append(1) or Image.new("RGB", (9, 9)))])
    assert not read
    shown.page(0)
    shown.page(0)
    assert read == [1]


QUESTIONS = {
    Question("bear"): "ns.TwoStage()",
    Question("bear", rule="target-decoy"): "ns.TwoStage(activation=ns.TargetDecoy(0.1), gradient=ns.TargetDecoy(0.1))",
    Question("bear", "stage-1", "budget", budget=9): (
        "ns.method('stage-1', activation=ns.Budget(9), gradient=ns.Budget(9))"
    ),
    Question("bear", "stage-2", "paper"): "ns.TwoStage.paper('bear', stages=(2,))",
    Question("bear", "pan", count=7): "ns.method('pan', count=7)",
}


@pytest.mark.parametrize("question", QUESTIONS, ids=QUESTIONS.values())
def test_a_question_is_a_method(question):
    assert question.locator() == eval(QUESTIONS[question], {"ns": ns})


def test_every_method_on_offer_can_be_made():
    for name in OFFERED:
        assert Question("bear", name).locator() == Question("bear", name).locator()


def test_choices_that_do_not_exist_are_refused():
    for wrong in ({"method": "magic"}, {"rule": "magic"}):
        with pytest.raises(InvalidOption, match="magic"):
            Question("bear", **wrong)
    for wrong in ({"operation": "magic"}, {"count": 0}, {"level": float("nan")}, {"factor": float("inf")}):
        with pytest.raises(InvalidOption):
            Change(**wrong)
    with pytest.raises(InvalidOption, match="zebra"):
        Question("zebra", rule="paper").locator()


@pytest.fixture(scope="module")
def two():
    return ns.Neurons(ns.Neurons.of([(1, 3), (2, 7)]).members, {"activation": (4.0, 2.0)}, concept="bear")


def both(picture):
    """A picture and one that stands for it without the object."""
    return SimpleNamespace(original=picture, edited=ImageOps.mirror(picture))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_captions_under_a_change_are_those_of_its_python(operation, vlm, picture, two):
    change = Change(operation, level=30.0, factor=-9.0, word="dog")
    pair, short = both(picture), ns.Decoding(max_new_tokens=8)
    made = eval(change.python("bear", "two"), {"ns": ns, "two": two, "vlm": vlm, "pair": pair})
    if operation == "swap":
        with made:
            expected = [vlm.caption(picture, decoding=short)]
    elif operation == "noise":
        expected = vlm.captions([picture], made, decoding=short)[0]
    else:
        expected = vlm.captions([picture], made, decoding=short)
    found = captions_under(vlm, pair, two, change, short)
    assert len(found) == (3 if operation == "noise" else 1)
    assert [text.endswith(part) for text, part in zip(expected, found, strict=True)] == [True] * len(found)


def test_a_word_that_cannot_be_exchanged_is_refused_and_the_weights_stay(vlm, picture, two):
    before = vlm.fingerprint
    with pytest.raises(InvalidOption, match="not in the vocabulary"):
        captions_under(vlm, both(picture), two, Change("swap", word="quokka"))
    assert vlm.fingerprint == before


def test_the_first_noise_level(vlm, picture, two):
    assert usual_level(vlm, picture, two) == 6.0
    bare = ns.Neurons.of([(1, 3), (2, 7)])
    from neuronscope.intervene import activations

    largest = np.abs(activations(vlm, picture, bare)).max(axis=0)
    assert usual_level(vlm, picture, bare) == pytest.approx(2 * np.median(largest))
    assert usual_level(vlm, picture, bare[:0]) == 0.0

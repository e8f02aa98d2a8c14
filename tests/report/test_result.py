"""The page of a measured result, and the pictures that are kept for it."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from neuronscope.errors import RunMismatch
from neuronscope.report.blocks import Listing, Section, StyledText, grid, text
from neuronscope.report.kept import SIDE, earlier_pictures, keep_pictures, kept_photo
from neuronscope.report.result import Card, Group, ResultPage, read_document, said, told_rest, write_result
from neuronscope.samples import read_image
from report_samples import HOSTILE, picture


def test_hostile_texts_are_texts(tmp_path):
    one, two, three, four = HOSTILE
    page = ResultPage(
        title=one,
        about=two,
        groups=[Group(three, [Card(four, "", [said(one, f"a bear {two}", ("bear",), begins=three)])], four)],
        sections=[
            Section("opening", "", [text(one), text(two)]),
            Section(
                "more",
                three,
                [grid([one, two], [[three, four]]), Listing(((StyledText(one, "strong"), StyledText(two)),))],
            ),
        ],
        recipe={"command": one, "python": two},
        settings={three: {four: one}},
        sent=two,
        figures={},
    )
    made = write_result(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert made.count("<script") == 1
    assert "<img src=x" not in made
    assert "1337" not in made
    assert "<mark>bear</mark>" in made
    for hostile in HOSTILE:
        assert html.escape(hostile).replace("&quot;", "&#34;") in made


def test_every_mention_is_marked_and_nothing_else():
    line = said("caption", "a bear, a red bus and a bear", ("bear", None, "..", "bus"))
    assert [(piece.text, piece.concept) for piece in line.text] == [
        ("a ", False),
        ("bear", True),
        (", a red ", False),
        ("bus", True),
        (" and a ", False),
        ("bear", True),
    ]


def test_what_is_not_shown_is_told():
    assert told_rest(3, 3, "x") == ""
    assert told_rest(2, 3, "tables.json") == "2 of 3 are shown; the others are in tables.json."


def test_pictures_are_kept_small_and_once(tmp_path):
    wide = picture().resize((1200, 600))
    wide.save(tmp_path / "wide.png")
    picture(1).save(tmp_path / "small.png")
    out = tmp_path / "out"
    kept = keep_pictures(out, [tmp_path / name for name in ("wide.png", "small.png", "wide.png")])
    assert kept == {tmp_path / "wide.png": "thumbnails/1.jpg", tmp_path / "small.png": "thumbnails/2.jpg"}
    assert read_image(out / "thumbnails" / "1.jpg").size == (SIDE, SIDE // 2)
    assert read_image(out / "thumbnails" / "2.jpg").size == (48, 32)
    (out / "thumbnails" / "mine.jpg").write_bytes(b"")
    assert earlier_pictures(out) == ["thumbnails/1.jpg", "thumbnails/2.jpg"]
    assert kept_photo(out, "thumbnails/1.jpg").startswith("data:image/jpeg;base64,")
    assert kept_photo(out, "thumbnails/3.jpg") == ""
    (out / "thumbnails" / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(RunMismatch, match=r"2\.jpg is damaged"):
        kept_photo(out, "thumbnails/2.jpg")


@pytest.mark.parametrize("name", ["../secret.jpg", "thumbnails/../../secret.jpg", "/secret.jpg", "secret.jpg", ""])
def test_no_other_picture_is_read(name: str, tmp_path: Path):
    picture().save(tmp_path / "secret.jpg")
    (tmp_path / "out" / "thumbnails").mkdir(parents=True)
    (tmp_path / "out" / "secret.jpg").write_bytes((tmp_path / "secret.jpg").read_bytes())
    assert kept_photo(tmp_path / "out", name) == ""


@pytest.mark.parametrize("written", ["{", "[]", "{}", json.dumps({"schema": "other/1"})])
def test_other_documents_are_refused(written: str, tmp_path: Path):
    (tmp_path / "tables.json").write_text(written)
    with pytest.raises(RunMismatch, match=r"tables\.json (cannot be read|is not of schema 'a/1' or 'b/1')"):
        read_document(tmp_path / "tables.json", ("a/1", "b/1"))

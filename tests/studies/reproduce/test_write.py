"""The page of a run: its text as blocks, and its captions as a gallery."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from neuronscope.report.blocks import Cell, Figure, Run, Table, Text, chapters
from neuronscope.studies.reproduce.gallery import MISSING, Gallery, Said, Shot
from neuronscope.studies.reproduce.sections import table
from neuronscope.studies.reproduce.write import RunPage, embedded, write_run
from report_samples import HOSTILE

TEXT = f"""# Evaluation

Opening with `code` and **bold** words.

## Table II: things

### Means

{table(["method", "J"], [["a|b", "+0.500 [-0.100, +0.900]"], ["two", "-"]])}

![J by method](j)

- one: `1`
- two

[^rouge]: how it was made

## {HOSTILE[0]}

{HOSTILE[1]}
"""


def test_text_becomes_blocks():
    opening, first, second = chapters(TEXT)
    assert opening.blocks == [
        Text((Run("Opening with "), Run("code", "code"), Run(" and "), Run("bold", "strong"), Run(" words.")))
    ]
    heading, grid, figure, one, two, note = first.blocks
    assert heading == Text((Run("Means"),), "h3")
    assert grid == Table(
        ("method", "J"),
        (True, False),
        ((Cell("a|b", None), Cell("+0.500 [-0.100, +0.900]", 0.5)), (Cell("two", None), Cell("-", None))),
    )
    assert (grid.rows[0][1].main, grid.rows[0][1].interval) == ("+0.500", "[-0.100, +0.900]")
    assert figure == Figure("J by method", "j")
    assert one == Text((Run("one: "), Run("1", "code")), "li")
    assert two == Text((Run("two"),), "li")
    assert note == Text((Run("rouge", "strong"), Run(": "), Run("how it was made")))
    assert second.title == HOSTILE[0]


@pytest.mark.parametrize("text", ["< 0.001", "1,234", "-0.5", "0.4 / 0.3", "none 3", "-", ""])
def test_cells_sort_by_their_first_number(text):
    (chapter,) = chapters("## t\n\n" + table(["a", "b"], [["x", text]]))
    values = {"< 0.001": 0.001, "1,234": 1234.0, "-0.5": -0.5, "0.4 / 0.3": 0.4}
    assert chapter.blocks[0].rows[0][1].value == values.get(text)


@pytest.fixture
def gallery() -> Gallery:
    shots = [Shot("1", "bear", ("dog",), "a bear", "a lawn"), Shot("2", "bus", (), "\U0001f600 bus", "a road")]
    said = [[Said("a bear", True), Said("a lawn", False)], [Said("\U0001f600 bus", True)]]
    cells = np.zeros((2, 2, 3), np.uint16)
    cells[0, 0] = (1, 0, 1)
    cells[1, 1, 2] = MISSING
    return Gallery(
        "The image shows a",
        "lexicon",
        shots,
        said,
        {("pan", "noise 1"): cells, ("two-stage", "zero"): cells[..., :1]},
        {"pan": [3, None], "two-stage": [1, 2]},
        {"pan": [[], ["note"]], "two-stage": [[], []]},
        "no pictures",
    )


def test_gallery_holds_every_text_once_and_every_cell(gallery):
    data = json.loads(json.dumps(gallery.to_dict()))
    assert sorted(data["texts"]) == sorted(["a bear", "a lawn", "\U0001f600 bus", "a road"])
    assert (data["methods"], data["conditions"]) == (["pan", "two-stage"], ["noise 1", "zero"])
    packed = data["cells"][0][0]
    cells = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(2, 2, packed["draws"])
    assert np.array_equal(cells, gallery.cells["pan", "noise 1"])
    assert data["cells"][0][1] is None
    said = [data["texts"][data["spoken"][0][cell][0]] for cell in cells[0, 0]]
    assert said == ["a lawn", "a bear", "a lawn"]
    assert [data["spoken"][0][cell][1] for cell in cells[0, 0]] == [0, 1, 0]
    assert data["spoken"][0][0][2:] == [2, 6]
    assert data["spoken"][1][0][2:] == [3, 6]  # a browser counts the emoji as two
    assert data["shots"][0]["also"] == ["dog"]
    assert data["sizes"] == [[3, None], [1, 2]]


@pytest.mark.parametrize("text", [*HOSTILE, "a & b", "\u2028", "<!--", "\\u003c"])
def test_embedded_json_cannot_end_its_element(text):
    found = embedded({text: [text]})
    assert not set("<>&\u2028") & set(found)
    assert json.loads(found) == {text: [text]}


def test_page_of_a_run(gallery, tmp_path):
    page = RunPage("T", "model", "data", TEXT, {"j": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, gallery, "again")
    html = write_run(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("<script") == 2
    assert html.index('alt="J by method"') < html.index(">Means<")
    assert 'data-v="0.5">+0.500 <small>[-0.100, +0.900]</small>' in html
    assert "&lt;script&gt;window.hacked=1" in html
    assert "no pictures" in html

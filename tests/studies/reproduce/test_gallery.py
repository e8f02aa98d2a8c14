"""The page of a run: its sections, and its captions as a gallery."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from neuronscope.report.blocks import Figure, Heading, Listing, Notes, Section, StyledText, grid, text
from neuronscope.report.cells import Cell
from neuronscope.report.markdown import markdown
from neuronscope.studies.reproduce.gallery import MISSING, CaptionVariant, Gallery, Shot
from neuronscope.studies.reproduce.page import RunPage, embedded, write_run
from neuronscope.studies.reproduce.sections import sections
from report_samples import HOSTILE

RESULTS = Path(__file__).parents[3] / "docs" / "results"


@pytest.fixture
def gallery() -> Gallery:
    shots = [Shot("1", "bear", ("dog",), "a bear", "a lawn"), Shot("2", "bus", (), "\U0001f600 bus", "a road")]
    said = [[CaptionVariant("a bear", True), CaptionVariant("a lawn", False)], [CaptionVariant("\U0001f600 bus", True)]]
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


SECTIONS = [
    Section("verdict", "", [text("What it comes to.")]),
    Section(
        "opening",
        "",
        [text("Opening with ", StyledText("code", "code"), " and ", StyledText("bold", "strong"), " words.")],
    ),
    Section(
        "things",
        "Things",
        [
            Heading("Means"),
            grid(["method", "J"], [["a|b", Cell("+0.500", 0.5, "[-0.100, +0.900]", "rouge")], ["two", "-"]]),
            Notes({"rouge": "how it was made"}),
            Listing(((StyledText("one: "), StyledText("1", "code")),)),
        ],
        (Figure("j", "J by method"), Figure("absent", "never drawn")),
    ),
    Section("hostile", HOSTILE[0], [Heading(HOSTILE[2]), text(HOSTILE[1]), grid([HOSTILE[0]], [[HOSTILE[2]]])]),
]


def test_page_of_a_run(gallery, tmp_path):
    page = RunPage(
        "T",
        "model",
        "data",
        SECTIONS,
        {"Layers": "None."},
        {"j": b"<svg xmlns='http://www.w3.org/2000/svg'/>"},
        gallery,
        "again",
    )
    html = write_run(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("<script") == 2
    assert html.index('<p class="verdict">What it comes to.</p>') < html.index("How to read it")
    assert "Opening with <code>code</code> and <b>bold</b> words." in html
    assert html.index('alt="J by method"') < html.index("<h3>Means</h3>")
    assert "never drawn" not in html
    assert '<th scope="col" data-sort>method</th><th scope="col" class="n" data-sort>J</th>' in html
    interval = "+0.500 <small>[-0.100, +0.900]</small>"
    assert (
        f'<th scope="row" data-name="method">a|b</th><td class="n" data-name="J" data-v="0.5">{interval}</td>' in html
    )
    assert '<th scope="row" data-name="method">two</th><td class="n" data-name="J">-</td>' in html
    assert "<p><b>rouge</b>: how it was made</p>" in html
    assert '<p class="item">one: <code>1</code></p>' in html
    assert '<a href="#things">Things</a>' in html
    assert '<section id="things"><h2>Things</h2>' in html
    assert "&lt;script&gt;window.hacked=1" in html
    assert "<img src=x" not in html
    assert "no pictures" in html
    assert '<section id="absent"><h2>Not in this run</h2><p class="item"><b>Layers</b>: None.</p>' in html


@pytest.mark.parametrize("name", ["evaluation", "scores"])
def test_kept_results_are_the_same_as_markdown_and_as_html(gallery, tmp_path, name):
    folder = RESULTS / name
    document = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    figures = {key: next(path for path in paths if path.endswith(".png")) for key, paths in document["figures"].items()}
    kept = (folder / "tables.md").read_text(encoding="utf-8")
    assert markdown("Evaluation", sections(document), figures) == kept
    page = RunPage("T", "model", "data", sections(document), {}, dict.fromkeys(figures, b"<svg/>"), gallery, "again")
    html = write_run(page, tmp_path / "page.html").read_text(encoding="utf-8")
    shown = Grids()
    shown.feed(html.partition("<section>")[2])
    assert [row for row in shown.rows if row] == list(rows_of(kept))
    assert html.count('<figure class="plot ') == len(figures)


class Grids(HTMLParser):
    """The words of every cell of every table of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def rows_of(kept: str) -> Iterator[list[str]]:
    """The same of a text in Markdown, without rules and marks of notes."""
    for line in kept.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.partition("[^")[0].strip() for cell in line[2:-2].split(" | ")]

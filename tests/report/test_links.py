"""Links from pages to those of single neurons."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from neuronscope.errors import RunMismatch
from neuronscope.report.blocks import Section, grid, text
from neuronscope.report.links import linked
from neuronscope.report.neurons import page_of
from neuronscope.report.result import Card, Group, ResultPage, said, write_result
from neuronscope.types import Neuron
from report_samples import HOSTILE

OWN = Neuron(3, 17)


def to_own(neuron: Neuron) -> str:
    return "there.html" if neuron == OWN else ""


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("L3.U17 (1.5)", '<a href="there.html">L3.U17</a> (1.5)'),
        ("L3.U18, L3.U17", 'L3.U18, <a href="there.html">L3.U17</a>'),
        ("vision.L3.U17", "vision.L3.U17"),
        ("XL3.U17 L3.U170 L3.U17x", "XL3.U17 L3.U170 L3.U17x"),
        ("<b>L3.U17</b>", '&lt;b&gt;<a href="there.html">L3.U17</a>&lt;/b&gt;'),
        ("", ""),
    ],
)
def test_addresses_lead_to_pages_and_all_else_is_a_text(told, shown):
    assert linked(told, to_own) == shown


def test_a_result_page_links_from_texts_tables_and_pictures(tmp_path):
    index = SimpleNamespace(path=tmp_path / "my index" / "index.npz", model={"fingerprint": "ab"})
    place = index.path.parent / page_of(OWN)
    place.parent.mkdir(parents=True)
    place.write_text("a page")
    page = ResultPage(
        title="title",
        about="",
        groups=[Group("group", [Card("card", "", [said("best neuron", f"{OWN} {HOSTILE[0]}")])])],
        sections=[
            Section("opening", "", [text("verdict")]),
            Section("more", "More", [grid(["noun", "best"], [["bear", f"{OWN} (2.0), L0.U0"]]), text(f"{OWN}: any.")]),
        ],
        recipe={},
        settings={},
        model={"fingerprint": "ab"},
    )
    plain = write_result(page, tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "my%20index" not in plain
    made = write_result(page, tmp_path / "page.html", index=index).read_text(encoding="utf-8")
    assert made.count(f'<a href="my%20index/{page_of(OWN)}">{OWN}</a>') == 3
    assert "L0.U0</a>" not in made
    assert "<img src=x" not in made
    index.model["fingerprint"] = "cd"
    with pytest.raises(RunMismatch, match="pages are of other neurons"):
        write_result(page, tmp_path / "other.html", index=index)
    assert not (tmp_path / "other.html").exists()

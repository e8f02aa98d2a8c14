"""Blocks as Markdown, worked out by hand."""

from __future__ import annotations

import pytest

from neuronscope.report.blocks import Document, Figure, Heading, Listing, Notes, Section, StyledText, grid, text
from neuronscope.report.cells import Cell, count, interval, number, p_value, share, shares
from neuronscope.report.markdown import markdown, table

REPORT = [
    Section(
        "opening",
        "",
        [text("Opening with ", StyledText("code", "code"), " and ", StyledText("bold", "strong"), " words.")],
    ),
    Section(
        "first",
        "Things",
        [
            Heading("Means"),
            grid(["method", "J"], [["a|b", Cell("0.5", 0.5, "[0.1, 0.9]", "how")], ["two", "-"]]),
            Notes({"how": "made", "why": "asked"}),
            Listing(((StyledText("one: "), StyledText("1", "code")), (StyledText("two"),))),
            Document({"a": ["b"]}),
        ],
        (Figure("j", "J by method"), Figure("absent", "never drawn")),
    ),
]


def test_a_report():
    assert markdown("Title", REPORT, {"j": "figures/j.png", "other": "other.png"}) == (
        "# Title\n\nOpening with `code` and **bold** words.\n\n## Things\n\n### Means\n\n"
        "| method |                    J |\n"
        "| ------ | -------------------: |\n"
        "| a\\|b   | 0.5 [0.1, 0.9][^how] |\n"
        "| two    |                    - |\n\n"
        "[^how]: made\n[^why]: asked\n\n- one: `1`\n- two\n\n"
        '```json\n{\n "a": [\n  "b"\n ]\n}\n```\n\n![J by method](figures/j.png)\n'
    )


def test_without_a_title():
    assert markdown("", [Section("one", "", [text("All.")])]) == "All.\n"


def test_one_table():
    assert table(["name", "n"], [["a|b", "1"], ["c", count(10)]]).splitlines() == [
        "| name |   n |",
        "| ---- | --: |",
        "| a\\|b |   1 |",
        "| c    |  10 |",
    ]


def test_numbers():
    assert [number(value) for value in (0.12345, -0.0001, None)] == ["0.123", "0.000", "-"]
    assert [number(value, signed=True) for value in (0.5, -0.5, 0.0001)] == ["+0.500", "-0.500", "0.000"]


@pytest.mark.parametrize(
    ("cell", "shown", "value"),
    [
        (share(0.12345), "0.123", 0.12345),
        (share(0.5, signed=True), "+0.500", 0.5),
        (share(None), "-", None),
        (shares((0.4, 0.3)), "0.400 / 0.300", 0.4),
        (count(1234), "1234", 1234),
        (count(2.25, ".1f"), "2.2", 2.25),
        (count(None, ".1f"), "-", None),
        (interval({"value": 0.5, "low": 0.25, "high": 1}), "0.500 [0.250, 1.000]", 0.5),
        (interval({"value": -0.5, "low": -1, "high": 0.25}, signed=True), "-0.500 [-1.000, +0.250]", -0.5),
        (interval(None), "-", None),
        (p_value(0.0004), "< 0.001", 0.0004),
        (p_value(0.0005), "0.001", 0.0005),
        (p_value(0.5), "0.500", 0.5),
    ],
)
def test_cells_and_what_they_sort_by(cell: Cell, shown: str, value: float | None):
    assert (str(cell), cell.value) == (shown, value)

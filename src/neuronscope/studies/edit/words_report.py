"""A list of words taken out of what a model says, as tables.

Brackets of one word hold intervals over images or texts; nothing is averaged over words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...evaluate.editing import MEASURES
from ...report.blocks import Section, Table, grid, text
from ...report.cells import Cell, interval
from ...report.markdown import markdown
from .verdict import words_verdict

#: What is shown of every word; all measures are in the document.
SHOWN = ("success", "generality", "gone", "locality", "similarity", "text_perplexity", "text_agreement")


def named(source: str, target: str | None) -> str:
    """A word, and what takes its place, as a list of words has them."""
    return source if target is None else f"{source} -> {target}"


def words_tables(result: Mapping[str, Any]) -> str:
    """The document of several words as Markdown."""
    return markdown("", words_sections(result))


def words_sections(result: Mapping[str, Any]) -> list[Section]:
    """The document of several words as a report."""
    words: Sequence[Mapping[str, Any]] = result["words"]
    names = [named(one["source"], one["target"]) for one in words]
    opening = (
        "Brackets hold 95 % bootstrap "
        "intervals over images or texts; the second row of each word is the same on random neurons of equal count and "
        "layers. A word without an arrow is suppressed: success is that a caption no longer names it."
    )
    alone = _table(names, [one["edited"] for one in words], [one["random"] for one in words], words)
    both = result["together"]
    sections = [
        Section("opening", "", [text(words_verdict(result)), text(opening)]),
        Section("alone", "Each word by itself", [alone]),
        Section("together", "All of them in force at once", [_table(names, both["edited"], both["random"], words)]),
    ]
    if result["left_out"]:
        rows: list[list[str | Cell]] = [[one["word"], one["reason"]] for one in result["left_out"]]
        sections.append(Section("left", "Words that are as they were", [grid(["word", "reason"], rows, 2)]))
    return sections


def _table(
    names: Sequence[str],
    edited: Sequence[Mapping[str, Any]],
    random: Sequence[Mapping[str, Any]],
    words: Sequence[Mapping[str, Any]],
) -> Table:
    rows: list[list[str | Cell]] = []
    for number, (name, one) in enumerate(zip(names, words, strict=True)):
        beside = random[number] if number < len(random) else {}
        rows.append([name, str(one["neurons"]), *(interval(edited[number][key]) for key in SHOWN)])
        rows.append(["random neurons", str(one["neurons"]), *(interval(beside.get(key)) for key in SHOWN)])
    return grid(["word", "neurons", *(MEASURES[key].title for key in SHOWN)], rows)

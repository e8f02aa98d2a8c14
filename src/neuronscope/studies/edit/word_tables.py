"""A list of words taken out of what a model says, as documents, tables and files.

Brackets of one word hold intervals over images or texts; nothing is averaged over words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluate.editing import MEASURES, Measured
from ...files import clear_result, output_folder, write_text
from ...report.blocks import Section, Table, grid, text
from ...report.cells import Cell, interval
from ...report.markdown import markdown
from ...run.settings import environment
from .earlier import earlier
from .tables import document
from .verdict import words_verdict
from .words import Listed, Suppressed

#: What is shown of every word; all measures are in the document.
SHOWN = ("success", "generality", "gone", "locality", "similarity", "text_perplexity", "text_agreement")


def save_words(found: Suppressed, folder: str | Path) -> dict[str, Any]:
    """Write tables.md, tables.json, and of the n-th word of the list edit-n.safetensors and neurons-n.json.

    Returns the document of tables.json. Raises InvalidOption for a folder that cannot be written to.
    """
    target = output_folder(folder)
    result = words_document(found) | {"environment": environment()}
    clear_result(target, "tables.json", "tables.md", *earlier(target))
    for number, made in enumerate(found.words.values(), 1):
        made.found.edit.save(target / f"edit-{number}.safetensors")
        made.neurons.save(target / f"neurons-{number}.json")
    write_text(target / "tables.md", words_tables(result))
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


def words_document(found: Suppressed) -> dict[str, Any]:
    """All words as JSON: each by itself as one edit's document, and what all edits in force at once did."""
    made: dict[str, Any] = {
        "asked": dict(next(iter(found.words.values())).asked),
        "words": [
            document(made.found) | {"images": made.groups.each(lambda picture: picture.name)}
            for made in found.words.values()
        ],
        "left_out": [{"word": str(one), "reason": reason} for one, reason in found.left.items()],
        "together": {
            "edited": [_measures(one) for one in found.together.measured.values()],
            "random": [_measures(one) for one in found.together.random.values()],
        },
        "refused": [{"where": one.where, "reason": one.reason} for one in found.refused],
    }
    return {"verdict": words_verdict(made), **made}


def words_tables(result: Mapping[str, Any]) -> str:
    """The document of :func:`words_document` as Markdown."""
    words: Sequence[Mapping[str, Any]] = result["words"]
    names = [str(Listed(one["source"], one["target"])) for one in words]
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
    return markdown("", sections)


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


def _measures(found: Mapping[str, Measured]) -> dict[str, Any]:
    return {
        name: None if one.estimate is None else {**one.estimate.to_dict(), "items": len(one.values)}
        for name, one in found.items()
    }

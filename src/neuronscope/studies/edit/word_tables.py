"""A list of words taken out of what a model says, as documents, tables and files.

Brackets of one word hold intervals over images or texts; nothing is averaged over words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluate.editing import MeasureValues
from ...files import clear_result, output_folder, write_text
from ...report.kept import keep_pictures
from ...run.settings import environment
from .earlier import PAGE, earlier
from .page import WORDS_SCHEMA, write_page
from .verdict import words_verdict
from .words import Suppressed
from .words_report import words_tables


def save_words(found: Suppressed, folder: str | Path) -> dict[str, Any]:
    """Write tables.md, tables.json, page.html, and of the n-th word of the list edit-n.safetensors and neurons-n.json.

    Returns the document of tables.json. Raises InvalidOption for a folder that cannot be written to.
    """
    target = output_folder(folder)
    clear_result(target, "tables.json", "tables.md", *earlier(target))
    kept = keep_pictures(target, (path for made in found.words.values() for path in made.shown()))
    result = {"schema": WORDS_SCHEMA} | words_document(found, kept)
    result |= {"recipe": found.request.recipe(), "environment": environment()}
    for number, made in enumerate(found.words.values(), 1):
        made.found.edit.save(target / f"edit-{number}.safetensors")
        made.neurons.save(target / f"neurons-{number}.json")
    write_text(target / "tables.md", words_tables(result))
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_page(target, target / PAGE)
    return result


def words_document(found: Suppressed, kept: Mapping[Path, str]) -> dict[str, Any]:
    """All words as JSON: each by itself as one edit's document, and what all edits in force at once did.

    `kept` names the copies of pictures that lie beside it.
    """
    made: dict[str, Any] = {
        "asked": dict(next(iter(found.words.values())).asked),
        "words": [made.document(kept) for made in found.words.values()],
        "left_out": [{"word": str(one), "reason": reason} for one, reason in found.left.items()],
        "together": {
            "edited": [_measures(one) for one in found.together.measured.values()],
            "random": [_measures(one) for one in found.together.random.values()],
        },
        "refused": [{"where": one.where, "reason": one.reason} for one in found.refused],
    }
    return {"verdict": words_verdict(made), **made}


def _measures(found: Mapping[str, MeasureValues]) -> dict[str, Any]:
    return {
        name: None if one.estimate is None else {**one.estimate.to_dict(), "items": len(one.values)}
        for name, one in found.items()
    }

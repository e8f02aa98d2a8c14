"""Edits as documents and tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate.editing import MEASURES
from neuronscope.studies.edit.tables import across, tables

ASKED = {"success": 0.9, "locality": 0.95}


def row(editor: str, success: list[float], locality: list[float], random: list[float], **checks: Any) -> dict[str, Any]:
    """One edit's values; ratios are 1, the rest is perfect."""
    values = {name: [0.0 if one.ratio else 1.0] for name, one in MEASURES.items()}
    fine = {"share": 0.002, "weights_restored": True, "captions_restored": True, "adapter_error": 1e-6}
    return {
        "editor": editor,
        "edited": {**values, "success": success, "locality": locality},
        "random": {**values, "success": random},
        **fine,
        **checks,
    }


def pair(source: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"source": source, "target": "horse", "rows": list(rows)}


def test_means_are_over_pairs_and_the_best_editor_is_judged():
    first = pair("bear", row("a", [1, 1, 1, 1], [1], [0]), row("b", [0], [1], [0]))
    second = pair("bus", row("a", [1, 0], [0.95], [0.04], adapter_error=3e-6), row("b", [1], [0], [0]))
    found = across([first, second], asked=ASKED, random=0.01)
    success = found["editors"]["a"]["edited"]["success"]
    assert (success["value"], success["items"]) == (0.75, 2)  # not the mean over six images
    assert found["best"] == "a"
    assert [(one["figure"], one["value"], one["holds"]) for one in found["limits"]] == [
        ("success", 0.75, False),
        ("locality", pytest.approx(0.975), True),
        ("random success", 0.02, False),
    ]
    assert found["editors"]["a"]["adapter_error"] == 3e-6
    text = tables(found)
    assert "0.750" in text
    assert "| success        | 0.750 | >= 0.90 |" in text
    assert "best editor (a)" in text
    assert "bear -> horse" in text


def test_one_failed_check_shows():
    broken = row("a", [1], [1], [0], weights_restored=False)
    found = across([pair("bear", row("a", [1], [1], [0])), pair("bus", broken)], asked=ASKED, random=0.02)
    assert found["editors"]["a"]["weights_restored"] is False
    assert found["editors"]["a"]["captions_restored"] is True
    line = next(line for line in tables(found).splitlines() if "bit-equal" in line)
    assert "**no**" in line


def test_ratios_and_empty_measures():
    one, two = row("a", [1], [1], [0]), row("a", [1], [1], [0])
    one["edited"]["perplexity"], two["edited"]["perplexity"] = [math.log(2)], [math.log(8)]
    one["edited"]["rest"] = two["edited"]["rest"] = []
    found = across([pair("bear", one), pair("bus", two)], asked=ASKED, random=0.02)
    assert found["editors"]["a"]["edited"]["perplexity"]["value"] == pytest.approx(4)
    assert found["editors"]["a"]["edited"]["rest"] is None
    line = next(line for line in tables(found).splitlines() if "rest the same" in line)
    assert line.split("|")[2].strip() == "-"


def test_no_documents():
    with pytest.raises(InvalidOption, match="no pairs"):
        across([], asked=ASKED, random=0.02)

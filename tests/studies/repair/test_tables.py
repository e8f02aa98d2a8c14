"""The repair of hallucinations as documents and tables, from results made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.evaluate.editing.chair import named_objects
from neuronscope.samples.objects import PictureCategories
from neuronscope.studies.repair.settings import Attempt, Beside, Repair, Repaired, Repairs, Together
from neuronscope.studies.repair.tables import document, tables

CATEGORIES = ("bear", "bus")
SHOWN = {"searched": [{"bus"}, {"bus"}, {"bear"}], "held_out": [{"bear"}, set()]}
BEFORE = {"searched": ("a bus and a bear", "a bear", "a bear"), "held_out": ("a bear", "a bus")}
AFTER = {"searched": ("a bus", "a bear", "a bear"), "held_out": ("a cow", "a street")}


def named(captions: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {half: named_objects(texts, SHOWN[half], CATEGORIES) for half, texts in captions.items()}


@pytest.fixture
def repairs() -> Repairs:
    """Two hallucinations, one of them repaired; together the right mention of a held-out bear is lost."""
    neurons = ns.Neurons.of([(7, 1), (7, 2)])
    first = Repaired(
        "0.png",
        "bear",
        None,
        "a bus and a bear",
        Attempt(neurons, "a bus", True),
        Attempt(gone=True),
        Beside((True, False), (True,)),
        Beside((True, True), (True,)),
    )
    second = Repaired("1.png", "bear", None, "a bear", Attempt(), Attempt(), None, None)
    pictures = {
        half: tuple(
            PictureCategories(Path(f"{half}{n}.png"), f"{half}{n}.png", frozenset(one)) for n, one in enumerate(there)
        )
        for half, there in SHOWN.items()
    }
    after, random = Together(None, AFTER, named(AFTER)), Together(None, BEFORE, named(BEFORE))
    return Repairs(Repair(), pictures, BEFORE, named(BEFORE), (first, second), after, random)


def test_figures_by_hand(repairs: Repairs):
    found = document(repairs)
    single, halves = found["single"], found["together"]["halves"]
    assert single["found"]["neurons"] == [2]
    values = {name: single["found"][name]["value"] for name in ("gone", "repaired", "kept", "same")}
    assert values == {"gone": 0.5, "repaired": 0.5, "kept": 0.5, "same": 1}
    assert {name: single["random"][name]["value"] for name in values} == {
        "gone": 0.5,
        "repaired": 0,
        "kept": 1,
        "same": 1,
    }
    assert halves["searched"]["before"]["chair_i"]["value"] == 2 / 4
    assert halves["searched"]["after"]["chair_i"]["value"] == pytest.approx(1 / 3)
    assert halves["searched"]["change"]["after"]["chair_s"]["value"] == pytest.approx(-1 / 3)
    assert halves["searched"]["change"]["random"]["chair_s"]["value"] == 0
    assert halves["held_out"]["before"]["hallucinated"] == 1
    assert halves["held_out"]["after"]["chair_i"] is None  # nothing is named any more
    assert halves["held_out"]["after"]["recall"]["value"] == 0
    assert halves["held_out"]["same"]["after"]["value"] == 0
    assert found["captions"]["held_out"][0] == {"before": "a bear", "after": "a cow", "random": "a bear"}
    assert [one["after"] for one in found["captions"]["searched"]] == ["a bus"]  # those that changed
    json.dumps(found, allow_nan=False)


def test_tables_of_several_ways(repairs: Repairs):
    one = document(repairs)
    text = tables({"ablate": one, "again": one})
    assert text.count("random neurons ") >= 2 * 3
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("| unedited"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["0", "0.500 [0.000, 1.000]"]
    assert ["bear", "a bus and a bear", "a bus", "2"] in [[c.strip() for c in r.split("|")[1:-1]] for r in lines]
    assert any("still named" in line for line in lines)
    assert "3 pictures were searched, 2 held out; 2 hallucinations" in text


def test_nothing_accepted(repairs: Repairs):
    found = document(replace(repairs, single=repairs.single[1:]))
    assert found["single"]["found"]["kept"] is None
    assert "| ablate" in tables({"ablate": found})


def test_refusals(repairs: Repairs):
    with pytest.raises(InvalidOption, match="ways is empty"):
        tables({})
    one = document(repairs)
    with pytest.raises(InvalidOption, match="'b' repaired other pictures than 'a'"):
        tables({"a": one, "b": one | {"pictures": {"searched": ["x"], "held_out": []}}})

"""benchmarks/exact.py: what of an earlier file is taken as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.exact import known

from neuronscope.evaluate import Estimate
from neuronscope.studies.locate.judged import Judged


@pytest.fixture
def held(tmp_path: Path) -> Path:
    figures = {name: {"precision at 100": Estimate(0.5, 0.4, 0.6)} for name in ("pan", "random")}
    rows = {
        "whole": Judged(900, 900, 1.0, figures, {}, (), 2.0),
        "sampled": Judged(150, 900, 1.0, figures, {"pan": {10: 0.5}}, ("a note",), 2.0, {"model": "natural"}),
    }
    path = tmp_path / "exact.json"
    path.write_text(json.dumps({name: row.to_dict() for name, row in rows.items()}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("methods", "budget", "names"),
    [
        (("pan",), None, ["whole"]),
        (("pan", "random"), 150, ["sampled"]),
        (("pan", "two-stage"), 150, []),
        (("pan",), 151, []),
    ],
)
def test_only_what_was_asked_in_the_same_way_is_taken(held: Path, methods, budget, names) -> None:
    assert list(known(held, methods, budget)) == names


def test_what_is_taken_is_what_was_written(held: Path, tmp_path: Path) -> None:
    row = known(held, ("pan",), 150)["sampled"]
    assert json.loads(json.dumps(row.to_dict())) == json.loads(held.read_text(encoding="utf-8"))["sampled"]
    assert row.recovered == {"pan": {10: 0.5}}
    assert known(None, ("pan",), None) == known(tmp_path / "none.json", ("pan",), None) == {}

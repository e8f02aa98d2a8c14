"""What processes counted: kept by process, read by all, and nothing that a result needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuronscope.errors import RunMismatch
from neuronscope.run.directory import Run
from neuronscope.run.tallies import FOLDER, new_process, read_tallies, write_tally


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Run.open(tmp_path / "run", {"settings": 1}).folder


def test_a_process_has_one_count_the_last(folder: Path):
    one, other = new_process(), new_process()
    assert read_tallies(folder) == []
    write_tally(folder, one, {})
    assert not (folder / FOLDER).exists()  # who counted nothing leaves nothing
    write_tally(folder, one, {"captions": 3, "rounding": 1e-6})
    write_tally(folder, other, {"captions": 1})
    write_tally(folder, one, {"captions": 5, "rounding": 2e-6})
    assert sorted(read_tallies(folder), key=len) == [{"captions": 1.0}, {"captions": 5.0, "rounding": 2e-6}]
    assert not list((folder / "temporary").iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"captions": "x"}', '{"captions": true}', '{"captions": -1}'])
def test_what_is_no_tally_is_refused_by_its_name(folder: Path, text: str):
    write_tally(folder, "a", {"captions": 1})
    path = folder / FOLDER / "a.json"
    path.write_text(text)
    with pytest.raises(RunMismatch, match=r"a\.json .*Remove it: no result needs it"):
        read_tallies(folder)


def test_numbers_that_are_none_are_not_written(folder: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_tally(folder, "a", {"captions": float("nan")})
    assert read_tallies(folder) == []
    write_tally(folder, "a", {"captions": 2})
    assert json.loads((folder / FOLDER / "a.json").read_text()) == {"captions": 2}

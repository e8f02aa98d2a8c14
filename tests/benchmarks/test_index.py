"""`python -m benchmarks.index`: pictures made of photographs, and the command measured between bare passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.index import Figures, measure, photographs_of, pieces
from PIL import Image

from neuronscope.samples.image import read_image


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(2):
        Image.effect_noise((90, 60), 50.0 + number).convert("RGB").save(folder / f"{number}.png")
    return photographs_of([folder])


def test_pieces_are_different_and_stay(photographs: list[Path], tmp_path: Path):
    made = pieces(photographs, 6, tmp_path / "pieces")
    assert len({path.read_bytes() for path in made}) == 6
    for path in made:
        width, height = read_image(path).size
        assert 36 <= width <= 90
        assert 24 <= height <= 60
    before = [path.stat().st_mtime_ns for path in made]
    assert [path.stat().st_mtime_ns for path in pieces(photographs, 6, tmp_path / "pieces")] == before


def test_a_folder_without_photographs_is_said(tmp_path: Path):
    with pytest.raises(SystemExit, match="no photographs"):
        photographs_of([tmp_path])


def test_the_ratios():
    found = Figures(100, 5, command=6.0, memory=2**30, prepare=0.01, bare=(0.03, 0.05))
    assert found.over_bare == pytest.approx(0.05 / 0.04)
    assert found.over_pass == pytest.approx(0.06 / 0.05)
    assert "1.00 GiB" in str(found)


def test_the_command_is_measured(checkpoint: Path, photographs: list[Path], tmp_path: Path):
    made = pieces(photographs, 4, tmp_path / "pieces")
    found = measure(str(checkpoint), made, tmp_path / "index", sample=2)
    assert found.pictures == 4
    assert found.neurons == 4 * 48
    assert found.command > found.prepare + sum(found.bare)
    assert 2**28 < found.memory < 2**33

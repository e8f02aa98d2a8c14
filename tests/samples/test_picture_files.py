"""Pictures of a job: found, named without telling the machine, and known by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.picture_files import gather


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


def test_files_folders_and_tables(tmp_path: Path):
    one = draw(tmp_path / "one.png")
    two, three = draw(tmp_path / "folder" / "two.png", 2), draw(tmp_path / "folder" / "three.png", 3)
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "folder" / "broken.png").write_text("x")
    (tmp_path / "list.csv").write_text("file,caption\none.png,a\nmissing.png,b\n")
    found = gather([tmp_path / "folder", one, tmp_path / "list.csv"])
    assert [picture.name for picture in found.items] == ["three.png", "two.png", "one.png"]  # one.png once
    assert [picture.path for picture in found.items] == [three, two, one]
    assert found.items[2].digest == hashlib.sha256(one.read_bytes()).hexdigest()[:16]
    assert found.items[2].key == {"image": "one.png", "sha256": found.items[2].digest}
    assert {"notes.txt", "broken.png"} <= {Path(one.where).name for one in found.refused}
    assert any("missing.png" in one.where + one.reason for one in found.refused)


def test_pictures_of_one_name_are_told_apart_below_what_they_share(tmp_path: Path):
    paths = [draw(tmp_path / "deep" / name / "a.png", seed) for seed, name in enumerate(("x", "y"))]
    assert [p.name for p in gather([*paths, draw(tmp_path / "deep" / "y" / "b.png")]).items] == [
        "x/a.png",
        "y/a.png",
        "b.png",
    ]


def test_tables_may_lie_apart_from_their_pictures(tmp_path: Path):
    draw(tmp_path / "pictures" / "a.png")
    (tmp_path / "list.jsonl").write_text('{"file": "a.png", "caption": "x"}\n')
    assert [p.name for p in gather([tmp_path / "list.jsonl"], tmp_path / "pictures").items] == ["a.png"]


def test_refusals(tmp_path: Path):
    with pytest.raises(InvalidOption, match="no images were given"):
        gather([])
    with pytest.raises(InvalidSample, match=r"missing\.png does not exist"):
        gather([tmp_path / "missing.png"])
    with pytest.raises(InvalidSample):
        gather([tmp_path])

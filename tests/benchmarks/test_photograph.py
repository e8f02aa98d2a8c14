"""The picture of one photograph's result: made, small, and saying what was said."""

import sys

import pytest
from PIL import Image

from benchmarks import photograph
from neuronscope.samples.scenes import sample_scene, scene_sample


def test_a_result_is_drawn_and_told(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    sample = scene_sample(sample_scene(3, concepts=["bear", "clock"], count=2), "bear")
    sample.image.save(tmp_path / "scene.png")
    box = ",".join(str(number) for number in sample.boxes[0])
    out = tmp_path / "made" / "bear.jpg"
    arguments = ["photograph", str(tmp_path / "scene.png"), "bear", "--box", box, "--model", "demo", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    photograph.main()
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if not line.startswith("note"))
    assert len(said) == 4
    assert [" bear" in caption for caption in said.values()] == [True, False, False, True]
    with Image.open(out) as picture:
        assert picture.width == 3 * photograph.WIDTH + 4 * photograph.GAP
    assert out.stat().st_size < 200_000


@pytest.mark.parametrize("name", ["cat.jpg", "cup.jpg"])
def test_pictures_of_the_gallery_are_small(name: str):
    path = photograph.Path(__file__).parents[2] / "docs" / "images" / name
    assert path.stat().st_size < 200_000

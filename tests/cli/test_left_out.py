"""Jobs over many pictures go on without one that the model's processor refuses, and say so; links out of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_forms import FORMS, of_scenes
from hallucinations import scenes
from neuronscope.studies.demo.scenes import scenes_of

Cli = Callable[..., tuple[int, str, str]]
ODD = (127, 128)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch, demo: Any) -> None:
    """The bundled model's processor refuses pictures of one size."""
    process = type(demo.processor).__call__

    def call(self: Any, *args: Any, images: Any, **kwargs: Any) -> Any:
        if any(picture.size == ODD for picture in images):
            raise ValueError("absolute aspect ratio must be smaller than 200")
        return process(self, *args, images=images, **kwargs)

    monkeypatch.setattr(type(demo.processor), "__call__", call)


@pytest.mark.usefixtures("picky", "undrawn")
def test_discover(cli: Cli, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    for number, sample in enumerate(scenes_of("bear", 2)):
        sample.load().save(tmp_path / "pictures" / f"{number}.png")
    Image.new("RGB", ODD).save(tmp_path / "pictures" / "odd.png")
    given = (
        tmp_path / "pictures",
        "--out",
        tmp_path / "run",
        "--top",
        "10",
        "--ks",
        "1",
        "--group",
        "2",
        "--json",
        "--quiet",
    )
    code, text, told = cli("discover", *given)
    assert (code, told) == (0, "")
    document = json.loads(text)
    assert document["images"] == 2
    (refused,) = document["refused"]
    assert refused["where"].endswith("odd.png")
    assert "odd.png (127 x 128 px) is refused by the processor of" in refused["reason"]
    code, text, _ = cli("discover", tmp_path / "pictures" / "odd.png", *given[1:])
    assert code == 1
    assert "none of 1 pictures can be used: image" in json.loads(text)["error"]["message"]


@pytest.mark.usefixtures("picky")
def test_index(cli: Cli, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    scenes_of("bear", 1)[0].load().save(tmp_path / "pictures" / "bear.png")
    Image.new("RGB", ODD).save(tmp_path / "pictures" / "odd.png")
    given = (tmp_path / "pictures", "--out", tmp_path / "out", "--pages", 0, "--json", "--quiet")
    code, text, told = cli("index", *given)
    assert (code, told) == (0, "")
    (refused,) = json.loads(text)["refused"]
    assert refused["where"].endswith("odd.png")
    assert "odd.png (127 x 128 px) is refused by the processor of" in refused["reason"]


@pytest.mark.usefixtures("picky")
def test_repair_which_reads_outside_only_where_it_is_told(cli: Cli, tmp_path: Path):
    place = FORMS["coco"](of_scenes(scenes()[:4]), tmp_path / "coco")
    Image.new("RGB", ODD).save(place / "images" / "003.png")
    (place / "images").rename(tmp_path / "stored")
    (place / "images").mkdir()
    for path in (tmp_path / "stored").iterdir():
        (place / "images" / path.name).symlink_to(path)
    given = ("--images", place, "--count", 1, "--set", "right=0", "--out", tmp_path / "out", "--json", "--quiet")
    code, text, _ = cli("repair", *given)
    assert code == 1
    assert "--allow-outside" in json.loads(text)["error"]["message"]
    code, text, told = cli("repair", *given, "--allow-outside")
    assert (code, told) == (0, "")
    document = json.loads(text)
    assert [one["where"] for one in document["refused"]] == ["003.png"]
    assert not any("003.png" in names for names in document["pictures"].values())


@pytest.mark.usefixtures("picky")
def test_caption_names_the_file(cli: Cli, tmp_path: Path):
    for name, size in (("a", (128, 128)), ("odd", ODD), ("b", (128, 128))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    code, text, _ = cli("caption", *(tmp_path / f"{name}.png" for name in ("a", "odd", "b")), "--json")
    assert code == 1
    message = json.loads(text)["error"]["message"]
    assert message.startswith(f"images[1]: image {tmp_path / 'odd.png'} (127 x 128 px) is refused by the processor of")


@pytest.mark.parametrize("verb", ["reproduce", "discover", "index", "edit", "repair", "explore", "report"])
def test_every_verb_that_reads_a_data_set_can_be_told_to_read_outside(cli: Cli, verb: str):
    code, text, _ = cli(verb, "--help")
    assert code == 0
    assert "--allow-outside" in text

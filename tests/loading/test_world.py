"""The bundled model says of a picture that it was not made for it."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageDraw

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.cli.explore import offered
from neuronscope.errors import ConceptNotNamed, RunMismatch
from neuronscope.explorer import Desk, ListedPicture, Session, Shelf, Workshop, html
from neuronscope.loading import world
from neuronscope.loading.load import BUNDLED
from neuronscope.loading.world import FILE, notice, world_of
from neuronscope.locate.validity import valid_pair
from neuronscope.samples.scenes import CONCEPTS
from neuronscope.studies.demo.scenes import scenes_of


def noise(seed, side=128):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def page():
    drawn = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(drawn).multiline_text((10, 10), "A page of text\n" * 9, fill="black")
    return drawn


def waves():
    x = np.linspace(0, 40, 128)
    tone = (127 + 120 * np.sin(x[:, None] + x[None] ** 1.3)).astype(np.uint8)
    return Image.fromarray(np.stack([tone, tone.T, 255 - tone], axis=-1))


#: Pictures that are no scenes.
STRANGE = {
    "noise": partial(noise, 0),
    "large noise": partial(noise, 1, 500),
    "black": partial(Image.new, "RGB", (128, 128), (0, 0, 0)),
    "white": partial(Image.new, "RGB", (90, 128), (255, 255, 255)),
    "red": partial(Image.new, "RGB", (128, 128), (250, 10, 10)),
    "a page": page,
    "waves": waves,
    "a chessboard": lambda: Image.fromarray(
        np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((16, 16))).astype(np.uint8) * 255
    ).convert("RGB"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_scene_is_told(demo, name):
    assert notice(demo, STRANGE[name]()).startswith("this model knows only drawn scenes of 30 things, and")


def test_no_scene_that_comes_along_is_told(demo):
    shown = [entry.load() for entry in offered("demo", [])]
    shown += [one.load() for concept in sorted(CONCEPTS) for one in scenes_of(concept, 1, seed=3)]
    assert not [k for k, scene in enumerate(shown) if notice(demo, scene)]


def test_most_photographs_are_told(demo, real_coco):
    files = sorted((real_coco / "train2017").glob("*.jpg"))[::4]
    assert np.mean([bool(notice(demo, ns.samples.read_image(file))) for file in files]) > 0.8


def test_other_models_say_nothing(vlm, picture):
    assert world_of(vlm) is None
    assert notice(vlm, picture) == ""


def test_how_it_was_measured_is_in_the_file():
    from safetensors import safe_open

    with safe_open(str(BUNDLED / FILE), framework="pt") as file:
        about = json.loads(file.metadata()[world.ABOUT])
    assert about["measured"]["photographs beyond"] > 0.85 * about["measured"]["photographs"]
    assert about["measured"]["held-out scenes"] >= 3000


@pytest.mark.parametrize("damage", ["cut", "text", "no metadata", "empty"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage, demo):
    from safetensors.torch import save_file

    path = tmp_path / FILE
    shutil.copy(BUNDLED / FILE, path)
    if damage == "no metadata":
        save_file({"mean": demo.model.lm_head.weight[:1].clone()}, str(path))
    else:
        path.write_bytes({"cut": path.read_bytes()[:5000], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(RunMismatch, match=f"{FILE} is damaged"):
        world.read_world(path)


def test_captions_and_refusals_say_it(demo, tmp_path, capsys):
    path = tmp_path / "noise.png"
    noise(0).save(path)
    scene = scenes_of("bear", 1)[0]
    scene.load().save(tmp_path / "scene.png")
    with pytest.raises(SystemExit):
        main(["caption", str(path), str(tmp_path / "scene.png"), "--json"])
    out, err = capsys.readouterr()
    assert err.count("this model knows only drawn scenes") == 1
    assert f"{path}: this model" in err
    told = [one["notice"] for one in json.loads(out)["captions"]]
    assert [bool(one) for one in told] == [True, False]
    with pytest.raises(ConceptNotNamed, match="Notice: this model knows only drawn scenes"):
        valid_pair(demo, ns.Sample(noise(0), "zebra", boxes=[(9, 9, 40, 40)]))
    with pytest.raises(ConceptNotNamed) as error:
        valid_pair(demo, ns.Sample(scene.load(), "zebra", boxes=scene.boxes))
    assert "Notice" not in str(error.value)


def test_the_explorer_says_it_and_shows_scenes_first(demo):
    own = [ListedPicture("mine", partial(noise, 0), "mine.png")]
    assert offered("demo", own)[-1].name == "mine"
    assert offered("somewhere", own)[0].name == "mine"
    shop = Workshop(Desk(demo), Shelf(offered("demo", own)), lambda *_: None)  # pyright: ignore
    session = Session(shop)
    for number, strange in ((12, True), (0, False)):
        assert session.pick(number).wait(60).status == "done"
        assert bool(session.state.notice) is strange
        assert ("ns-notice" in html.caption(session.state)) is strange
    session.close()
    shop.desk.close()

"""`neuronscope edit`: one small edit with everything it writes, and what is refused."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

import neuronscope as ns
from neuronscope.edit import Edit
from neuronscope.evaluate import planted
from neuronscope.options import SETTING
from neuronscope.samples.scenes import render
from neuronscope.studies.demo.scenes import scene_stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo: ns.VLM) -> Path:
    """Two scenes whose captions name a bear, and three without one; of one object each, so that captions are short."""
    place = tmp_path_factory.mktemp("pictures")
    for concept, count, named in (("bear", 2, True), ("pizza", 3, False)):
        shown = (render(scene).image for scene in scene_stream(concept, 7) if scene.concepts == (concept,))
        fitting = (image for image in shown if (" bear" in demo.caption(image)) is named)
        for n, image in enumerate(islice(fitting, count)):
            image.save(place / f"{concept}{n}.png")
    return place


def test_an_edit_and_what_it_writes(
    cli: Callable[..., tuple[int, str, str]], demo: ns.VLM, folder: Path, tmp_path: Path
):
    set_file, out = tmp_path / "bear.json", tmp_path / "out"
    planted(demo)["bear"].save(set_file)
    (tmp_path / "texts.txt").write_text("The image shows a cake.\n\nA red bus on a street.\n", encoding="utf-8")
    given = ("--source", "bear", "--target", "horse", "--images", folder, "--editor", "embed", "--set", "lambda2=6.5")
    rest = ("--neurons", set_file, "--texts", tmp_path / "texts.txt", "--prompt", "There is a", "--out", out)
    code, text, told = cli("edit", *given, *rest, "--adapter", "--json", "--quiet")
    assert (code, told) == (0, "")
    document = json.loads(text)
    assert document == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert document["settings"]["lambda2"] == 6.5
    assert {name: len(images) for name, images in document["images"].items()} == {
        "edited": 1,
        "held_out": 1,
        "kept": 0,
        "others": 3,
    }
    assert document["edited"]["success"]["value"] == 1
    assert document["random"]["success"]["value"] == 0
    assert document["edited"]["text_agreement"]["items"] == 2
    assert document["edited"]["prompts"]["items"] == 1
    edit = Edit.load(out / "edit.safetensors", demo)
    shown = [pair["after"] for pair in document["captions"]["edited"]]
    with edit:
        names = document["images"]["edited"]
        assert [f"The image shows a {text}" for text in shown] == demo.captions([folder / name for name in names])
    assert {path.name for path in (out / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert "| success " in (out / "tables.md").read_text(encoding="utf-8")
    assert "embed: bear -> horse, 12 neurons (0.20 % of the decoder's)" in (out / "tables.md").read_text("utf-8")
    made = (out / "page.html").read_text(encoding="utf-8")
    assert document["verdict"] in html.unescape(made)
    count = sum(map(len, document["images"].values()))
    assert made.count("data:image/jpeg") == len(list((out / "thumbnails").iterdir())) == count
    assert "<mark>horse</mark>" in made
    assert document["recipe"]["command"] in html.unescape(made)
    (out / "thumbnails" / "1.jpg").unlink()  # the page is made of what is there
    code, text, _ = cli("report", out, "--out", tmp_path / "page.html", "--json")
    assert (code, json.loads(text)["kind"]) == (0, "edit")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("data:image/jpeg") == count - 1


def test_donors_and_several_values(cli, demo: ns.VLM, folder: Path, tmp_path: Path):
    sets = planted(demo)
    for name in ("bear", "horse"):
        sets[name].save(tmp_path / f"{name}.json")
    given = ("--source", "bear", "--target", "horse", "--images", folder, "--editor", "graft", "--controls", 0)
    files = ("--neurons", tmp_path / "bear.json", "--donors", tmp_path / "horse.json", "--out", tmp_path / "out")
    code, text, _ = cli("edit", *given, *files, "--set", "lambda_u=0,3", "--json")
    assert code == 0
    document = json.loads(text)
    assert [one["settings"]["lambda_u"] for one in document["report"]["tried"]] == [0, 3]
    assert document["settings"]["donors"] == sets["horse"].addresses
    assert len(document["images"]["kept"]) == 1  # of three others, which then are not measured
    code, text, _ = cli("edit", *given, *files, "--focused", "--json")
    assert (code, len(json.loads(text)["report"]["weights"])) == (0, 12)


def test_neurons_are_ranked_where_none_are_given(cli, folder: Path, tmp_path: Path, demo: ns.VLM):
    out = tmp_path / "out"
    given = ("--source", "bear", "--images", folder, "--editor", "ablate", "--position", "image", "--count", 12)
    code, text, _ = cli("edit", *given, "--controls", 0, "--out", out)
    assert code == 0
    assert "ablate: bear -> -, 12 neurons" in text
    neurons = ns.Neurons.load(out / "neurons.json")
    assert len(set(neurons) & set(planted(demo)["bear"])) >= 9


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--editor", "rome"), "--editor='rome'"),
        (("--editor", "embed"), "--editor embed needs --target"),
        (("--editor", "ablate", "--set", "alpha=1"), "--set='alpha'"),
        (("--target", "dog", "--editor", "graft"), "--editor graft needs --donors"),
        (
            ("--target", "dog", "--focused"),
            "--focused is for an editor in closed form that replaces a word, not learned",
        ),
        (("--target", "dog", "--donors", "some.json"), "--editor learned does not"),
        (("--target", "dog", "--editor", "graft", "--donors", "missing.json"), "missing.json cannot be read"),
        (("--target", "dog", "--set", "steps=3,4"), "--set steps: several values are tried"),
        (("--target", "dog", "--editor", "embed", "--set", "lambda1=1,2", "--set", "lambda2=3,4"), "of one option"),
        (("--target", "dog", "--made-with", "0"), "made_with=0 must be at least 1"),
        (("--target", "dog", "--texts", "missing.txt"), "missing.txt cannot be read"),
        (("--target", "dog", "--neurons", "missing.json"), "missing.json cannot be read"),
    ],
)
def test_bad_options_are_refused_before_anything_is_loaded(cli, options, reason: str, tmp_path: Path):
    code, text, _ = cli("edit", "--source", "bear", "--images", tmp_path / "none.png", *options, "--json")
    assert code == 1
    assert reason in json.loads(text)["error"]["message"]


def test_images_that_do_not_name_the_source_are_refused(cli, folder: Path, tmp_path: Path):
    given = ("--images", folder, "--editor", "ablate", "--out", tmp_path)
    code, _, told = cli("edit", "--source", "zebra", *given)
    assert code == 1
    assert "of 5 images the captions of 0 name 'zebra' and 5 do not" in told
    code, _, told = cli("edit", "--source", "bear", *given, "--made-with", 2)
    assert code == 1
    assert "needed are 2 that the edit is made with" in told


def test_the_old_spelling_of_repair_names_the_verb(cli, tmp_path: Path):
    code, text, told = cli("edit", "--repair", "--images", tmp_path)
    assert (code, text) == (2, "")
    assert "edit --repair is a verb of its own now: neuronscope repair --images DATA" in told


def test_settings_of_the_editor():
    written = [("lr=0.01", ("lr", 0.01)), ("start=swap", ("start", "swap")), ("settle=false", ("settle", False))]
    written += [("x=null", ("x", None)), ("steps=3,4", ("steps", (3, 4)))]
    for text, setting in written:
        assert SETTING.read(text) == setting
        assert SETTING.write(setting) == text


def test_both_doors_write_the_same(cli, demo: ns.VLM, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The verb, and the Python that its page shows."""
    for door in ("shell", "python"):
        (tmp_path / door).mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    given = ("--images", folder, "--source", "bear", "--target", "horse", "--editor", "embed", "--count", 12)
    code, text, _ = cli("edit", *given, "--set", "lambda2=6.5", "--controls", 0, "--json")
    assert code == 0
    monkeypatch.chdir(tmp_path / "python")
    monkeypatch.setattr(ns, "load", lambda *_, **__: demo)
    exec(json.loads(text)["recipe"]["python"], {})
    shell, python = (tmp_path / door / "neuronscope-edit" for door in ("shell", "python"))
    for name in ("tables.json", "tables.md", "neurons.json", "page.html"):
        assert (python / name).read_bytes() == (shell / name).read_bytes()
    one, two = (Edit.load(door / "edit.safetensors", demo) for door in (shell, python))
    assert one.new.keys() == two.new.keys()
    assert all(one.new[layer].equal(two.new[layer]) for layer in one.new)

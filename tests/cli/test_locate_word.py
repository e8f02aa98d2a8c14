"""`neuronscope locate photo.jpg bear`: a detector finds the object, up to the saved file."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.locate import validity
from neuronscope.locate.taken import Removal
from neuronscope.studies.locate.pointing import DETECTOR, SEGMENTER
from neuronscope.studies.locate.settings import Locate


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def run(cli, undrawn, unplaced, monkeypatch, checkpoint, tmp_path, photo):
    """A verb on the photograph, which the tiny model calls a bear."""

    def captions(vlm, images, *_, **__):
        texts = ["brown bear on grass", "grass"][: len(images)]
        ids = [tuple(vlm.tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
        return [[Caption(text, f"The image shows a {text}", row)] for text, row in zip(texts, ids, strict=True)]

    monkeypatch.setattr(validity, "generate_captions", captions)
    monkeypatch.setattr(Removal, "require", lambda _: None)  # random weights say the word whatever is shown
    for name in (DETECTOR, SEGMENTER):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "out"
    return lambda verb, *more: cli(verb, photo, "bear", "--model", checkpoint, "--out", out, *more, "--json")


FEW = ("--method", "activation-difference", "--count", "3", "--no-test")


@pytest.mark.parametrize("name", ["owlv2", "dino"])
def test_the_word_alone_is_enough_where_a_detector_is_given(run, finder, tmp_path, photo, name):
    code, _, err = run("locate", *FEW, "--detector", finder(name), "--segmenter", finder("sam"))
    assert code == 0, err
    found = ns.Neurons.load(tmp_path / "out" / "neurons.json").provenance["edit"]["found_by"]
    again = ns.find_regions(photo, "bear", finder(name), segmenter=finder("sam"))
    assert found == again.to_dict()
    assert found["detector"]["fingerprint"] != found["segmenter"]["fingerprint"]
    assert again.sentence in (tmp_path / "out" / "summary.txt").read_text()
    evidence = json.loads((tmp_path / "out" / "evidence" / "evidence.json").read_text())
    assert evidence["boxes"] == [list(again.taken[0].box)]
    words = shlex.split(evidence["command"])
    assert words[words.index("--box") + 1] == "auto"
    assert f"ns.find_regions({str(photo)!r}, 'bear', {str(finder(name))!r}, segmenter=" in evidence["python"]


def test_the_environment_names_the_models_and_the_command_says_them(run, finder, tmp_path, monkeypatch):
    monkeypatch.setenv(DETECTOR, str(finder("owlvit")))
    monkeypatch.setenv(SEGMENTER, str(finder("sam")))
    assert run("locate", *FEW)[0] == 0
    command = json.loads((tmp_path / "out" / "evidence" / "evidence.json").read_text())["command"]
    assert str(finder("owlvit")) in command
    assert str(finder("sam")) in command
    assert run("locate", *FEW, "--box", "4,4,20,20")[0] == 0  # who marks the object is not asked by the environment
    assert "found_by" not in ns.Neurons.load(tmp_path / "out" / "neurons.json").provenance["edit"]


def test_all_boxes_and_a_box_with_its_outline(run, finder, tmp_path):
    assert run("locate", *FEW, "--box", "all", "--detector", finder("owlvit"), "--least-score", "0")[0] == 0
    found = ns.Neurons.load(tmp_path / "out" / "neurons.json").provenance["edit"]["found_by"]
    assert len(found["taken"]) > 1
    assert run("locate", *FEW, "--box", "4,4,20,20", "--segmenter", finder("sam"))[0] == 0
    edit = ns.Neurons.load(tmp_path / "out" / "neurons.json").provenance["edit"]
    assert edit["found_by"]["detector"] is None
    assert edit["region"] == "mask"


def test_truth_and_heatmap_take_the_same_words(run, cli, finder, tmp_path, photo, checkpoint):
    how = ["--method", "schwettmann", "--budget", "110", "--detector", finder("owlvit")]
    code, _, err = run("truth", *how)
    assert code == 0, err
    document = json.loads((tmp_path / "out" / "truth.json").read_text())
    assert document["found_by"]["word"] == "bear"
    assert document["notes"][0] == document["found_by"]["sentence"]
    assert run("locate", *FEW, "--detector", finder("owlvit"))[0] == 0
    neurons = tmp_path / "out" / "neurons.json"
    given = ["heatmap", photo, neurons, "--model", checkpoint, "--out", tmp_path / "map.png", "--json"]
    code, out, err = cli(*given, "--box", "auto", "--detector", finder("owlvit"))
    assert code == 0, err
    assert json.loads(out)["found_by"] == document["found_by"]
    code, out, err = cli(*given[:2], "1.3", *given[3:], "--box", "auto", "--detector", finder("owlvit"))
    assert code == 1
    assert "no concept to look for" in err


BAD = {
    "no detector at all": ([], "--detector with a directory or hub id"),
    "auto without a detector": (["--box", "auto"], "--box auto: a detector finds it"),
    "all without a detector": (["--box", "all"], "--box all: a detector finds it"),
    "auto beside a box": (["--box", "auto", "--box", "1,1,9,9", "--detector", "{owl}"], "no other --box beside"),
    "auto twice": (["--box", "auto", "--box", "auto", "--detector", "{owl}"], "no other --box beside"),
    "auto beside a mask": (["--box", "auto", "--mask", "{photo}", "--detector", "{owl}"], "--mask says already"),
    "a detector beside a box": (["--box", "1,1,9,9", "--detector", "{owl}"], "say --box auto instead"),
    "a detector beside an edit": (["--edited", "{photo}", "--detector", "{owl}"], "say --box auto instead"),
    "a score beside a box": (["--box", "1,1,9,9", "--least-score", "0.2"], "say --box auto instead"),
    "nothing that good": (["--detector", "{dino}", "--least-score", "1"], "is not found in"),
    "a score that is none": (["--detector", "{owl}", "--least-score", "7"], "at most 1"),
    "a detector that is none": (["--detector", "{sam}"], "which is no detector"),
    "a segmenter that is none": (["--detector", "{owl}", "--segmenter", "{owl}"], "which is no segmenter"),
    "a detector that is not there": (["--detector", "{photo}"], "is not a directory"),
    "another word": (["--box", "best"], "four finite numbers x,y,w,h in pixels, auto, or all"),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals_write_nothing(run, finder, tmp_path, photo, name):
    arguments, message = BAD[name]
    places = {"owl": finder("owlvit"), "dino": finder("dino"), "sam": finder("sam"), "photo": photo}
    code, _, err = run("locate", *FEW, *(one.format(**places) for one in arguments))
    assert code == 1
    assert message in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_settings_say_what_is_looked_for(monkeypatch):
    monkeypatch.setenv(DETECTOR, "somebody/owl")
    asked = Locate(image="a.png", concept="bear")
    assert (asked.boxes, asked.detector) == (("auto",), "somebody/owl")
    assert Locate(image="a.png", concept="bear", boxes=((1, 2, 3, 4),)).detector is None

"""`neuronscope edit --suppress`: words taken out alone and together, and what is refused."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

import neuronscope as ns
from neuronscope.edit import Edit
from neuronscope.samples.scenes import render
from neuronscope.studies.demo.scenes import scene_stream
from neuronscope.studies.edit.settings import Rewrite
from neuronscope.studies.edit.words import suppress


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo: ns.VLM) -> Path:
    """Two scenes whose captions name a bear, two with a pizza, one with neither."""
    place = tmp_path_factory.mktemp("pictures")
    for concept, count, words in (("bear", 2, (" bear",)), ("pizza", 2, (" pizza",)), ("clock", 1, (" clock",))):
        shown = (render(scene).image for scene in scene_stream(concept, 7) if scene.concepts == (concept,))
        others = {" bear", " pizza", " clock", " horse"} - set(words)
        texts = ((image, demo.caption(image)) for image in shown)
        fitting = (i for i, text in texts if words[0] in text and not any(one in text for one in others))
        for n, image in enumerate(islice(fitting, count)):
            image.save(place / f"{concept}{n}.png")
    return place


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_alone_and_together(cli, demo: ns.VLM, folder: Path, tmp_path: Path):
    before = demo.fingerprint
    words = file(tmp_path, "bear\npizza -> horse\nzebra\n")
    out = tmp_path / "out"
    given = ("--suppress", words, "--images", folder, "--editor", "embed", "--count", 24, "--made-with", 1)
    code, text, told = cli("edit", *given, "--position", "image", "--out", out, "--json", "--quiet")
    assert (code, told) == (0, "")
    result = json.loads(text)
    assert result == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert [(one["source"], one["target"], one["editor"]) for one in result["words"]] == [
        ("bear", None, "ablate"),
        ("pizza", "horse", "embed"),
    ]
    assert result["asked"]["sent"] == demo.sent()
    (left,) = result["left_out"]
    assert left["word"] == "zebra"
    assert "the captions of 0 name 'zebra'" in left["reason"]
    together = result["together"]
    for one, random, both in zip(result["words"], together["random"], together["edited"], strict=True):
        assert one["edited"]["generality"]["value"] == both["generality"]["value"] == 1
        assert one["random"]["generality"]["value"] == random["generality"]["value"] == 0
        assert both["locality"]["items"] == 1
        assert both["text_perplexity"]["value"] < 1.2
    sets = [ns.Neurons.load(out / f"neurons-{n}.json") for n in (1, 2)]
    assert [len(one) for one in sets] == [24, 24]
    assert not set(sets[0]) & set(sets[1])
    page = (out / "tables.md").read_text(encoding="utf-8")
    for shown in ("| bear ", "| pizza -> horse ", "random neurons", "Words that are as they were", "perplexity"):
        assert shown in page
    made = (out / "page.html").read_text(encoding="utf-8")
    assert result["verdict"] in made
    for told in ("bear. Held out", "pizza -&gt; horse. Other pictures", "All of them in force at once"):
        assert told in made
    assert 0 < len(list((out / "thumbnails").iterdir())) <= 8  # pictures of two words are kept once
    assert demo.fingerprint == before
    edits = [Edit.load(out / f"edit-{n}.safetensors", demo) for n in (1, 2)]
    with edits[0], edits[1]:
        captions = demo.captions([folder / f"{name}.png" for name in ("bear1", "pizza1", "clock0")])
    assert " bear" not in captions[0]
    assert " horse" in captions[1]
    assert " clock" in captions[2]


def test_a_suppressed_word_is_ranked_at_the_image_and_a_swapped_one_at_the_word(demo: ns.VLM, folder: Path, tmp_path):
    words = file(tmp_path, "bear\npizza -> horse\n")
    asked = Rewrite(images=(str(folder),), suppress=words, editor="swap", count=3, made_with=1, controls=0)
    found = suppress(demo, asked)
    assert [made.neurons.options["position"] for made in found.words.values()] == ["image", "predict"]
    assert found.together.random == {}
    assert not found.left


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "one word is to be given by --source, or several by --suppress FILE"),
        (("--source", "bear", "--suppress", "words.txt"), "one word is to be given by --source, or several"),
        (("--suppress", "words.txt", "--target", "dog"), "--target dog is for one word"),
        (("--suppress", "words.txt", "--neurons", "n.json"), "--neurons n.json is for one word"),
        (("--suppress", "words.txt", "--adapter"), "--adapter is for one word"),
        (("--suppress", "missing.txt"), "--suppress missing.txt cannot be read"),
    ],
)
def test_bad_options_are_refused_before_anything_is_loaded(cli, options, reason: str, tmp_path: Path):
    code, text, _ = cli("edit", "--images", tmp_path / "none.png", *options, "--json")
    assert code == 1
    assert reason in json.loads(text)["error"]["message"]


def test_a_setting_or_editor_that_the_words_do_not_have(cli, folder: Path, tmp_path: Path):
    def refused(words: str, *options: object) -> str:
        given = ("--suppress", file(tmp_path, words), "--images", folder, *options, "--out", tmp_path / "out")
        code, text, _ = cli("edit", *given, "--json")
        assert code == 1
        return json.loads(text)["error"]["message"]

    assert "the list has none" in refused("bear\n", "--set", "alpha=1")
    assert "--editor='rome'" in refused("bear -> dog\n", "--editor", "rome")
    assert "--editor graft needs --donors" in refused("bear -> dog\n", "--editor", "graft")
    assert "none of 1 words could be edited; the first: of 5 images" in refused("zebra\n")
    assert not (tmp_path / "out" / "tables.json").exists()

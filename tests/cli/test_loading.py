"""`--attn` and `--revision` of every verb that loads a model."""

import json
import sys

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.options import Loading
from neuronscope.studies.locate.settings import Locate


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (48, 40), (90, 120, 60)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_attention_is_handed_on_and_recorded(cli, checkpoint, image):
    code, out, _ = cli("caption", image, "--model", checkpoint, "--attn", "eager", "--json")
    assert code == 0
    assert json.loads(out)["model"]["loaded"] == "attn_implementation=eager"
    code, out, _ = cli("check", checkpoint, "--attn", "eager", "--estimate", "--json")
    assert json.loads(out)["attn"] == "eager"
    for wrong in ("a b", "--", "../eager", "sdpa\n", "\u2028"):
        code, _, err = cli("caption", image, "--model", checkpoint, f"--attn={wrong}")
        assert code == 1
        assert "--attn" in err
    code, _, err = cli("caption", image, "--model", checkpoint, "--attn", "quick")
    assert code == 1
    assert "cannot be loaded" in err


@pytest.mark.parametrize(
    "verb",
    [
        ("caption", "{image}"),
        ("decode", "1.3"),
        ("heatmap", "{image}", "1.3"),
        ("pictures", "1.3", "{image}"),
        ("locate", "{image}", "bear", "--box", "4,4,20,20"),
        ("truth", "{image}", "bear", "--box", "4,4,20,20"),
        ("discover", "{image}"),
        ("edit", "--images", "{image}", "--source", "bear", "--target", "dog"),
        ("check",),
    ],
)
def test_a_directory_has_no_revisions(cli, checkpoint, image, tmp_path, verb, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(image) if word == "{image}" else word for word in verb]
    words += [checkpoint] if verb == ("check",) else ["--model", checkpoint]
    code, _, err = cli(*words, "--revision", "v1.0")
    assert code == 1
    assert "revision='v1.0' is of a hub id" in err


def test_recipes_repeat_them():
    asked = Locate(image="a.png", concept="bear", boxes=((1, 2, 3, 4),), model="org/name", attn="sdpa", revision="abc")
    assert "--attn sdpa" in asked.command()
    assert "--revision abc" in asked.command()
    assert "attn_implementation='sdpa', revision='abc')" in asked.python()
    assert Loading().further == {}


def test_a_model_in_memory_has_none(vlm):
    with pytest.raises(InvalidOption, match="revision=main: the model is in memory"):
        ns.load((vlm.model, vlm.processor), revision="main")


def test_a_revision_of_the_hub_is_recorded(monkeypatch, checkpoint):
    """As it was asked for, where the hub's files were read."""
    loading = sys.modules["neuronscope.loading.load"]

    read = loading._read
    seen = []

    def fake(where, dtype, device, device_map, revision, backend, keywords):
        seen.append((where, revision))
        return read(str(checkpoint), dtype, device, device_map, "main", backend, keywords)

    monkeypatch.setattr(loading, "_read", fake)
    monkeypatch.setattr(loading, "require_safetensors", lambda *_: None)
    monkeypatch.setattr("neuronscope.models.hub._silent", lambda *_: None)
    vlm = ns.load("org/name", revision="v2", attn_implementation="eager")
    assert seen == [("org/name", "v2")]
    assert vlm.identity()["loaded"] == "attn_implementation=eager, revision=v2"

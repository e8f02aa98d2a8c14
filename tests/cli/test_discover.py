"""`neuronscope discover`: options, one small run, and going on with it."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.locate import Discovery
from neuronscope.options import given
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.studies.discover.settings import Discover, DiscoveryPlan


class Points(dict[str, float]):
    """A writer that keeps the last point of every curve."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self[tag] = scalar_value

    def close(self) -> None:
        self["closed"] = True


@pytest.mark.usefixtures("undrawn")
def test_a_small_run_and_again(
    cli: Callable[..., tuple[int, str, str]],
    demo: ns.VLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "neuronscope-discover"
    logged: dict[Path, Points] = {}
    monkeypatch.setattr("neuronscope.run.writers.open_writer", lambda folder: logged.setdefault(folder, Points()))
    monkeypatch.chdir(tmp_path)
    for number, sample in enumerate(scenes_of("bear", 2)):
        sample.image.save(tmp_path / f"{number}.png")
    given = [*sorted(tmp_path.glob("*.png")), "--top", "10", "--ks", "1,10", "--group", "2"]
    log = ("--log", tmp_path / "log")
    code, text, told = cli("discover", *given, "--exclude", "Right, left", *log, "--json", "--quiet")
    assert (code, told) == (0, "")
    kept = logged[tmp_path / "log"]
    assert kept["closed"]
    assert kept["captions"] == 2
    assert kept["nouns"] > 0
    assert any(tag.startswith("named/") for tag in kept)
    document = json.loads(text)
    assert document["images"] == 2
    assert list(document["layers"]) == ["1", "10"]
    assert not {"left", "right"} & set(document["nouns"])
    assert document == json.loads((out / "discovery.json").read_text(encoding="utf-8"))
    parts = sorted((out / "parts").rglob("*.parquet"))
    made = (out / "page.html").read_bytes()
    assert html.escape(document["verdict"]).encode() in made
    assert made.count(b"data:image/jpeg") == 2
    assert made.count(b"data:image/svg+xml") == len(document["figures"])
    code, text, _ = cli(*shlex.split(document["recipe"]["command"])[1:])  # both recipes go on with the run
    assert code == 0
    assert "written to neuronscope-discover; open neuronscope-discover/page.html" in text
    assert "# Discovery" in text
    assert sorted((out / "parts").rglob("*.parquet")) == parts
    monkeypatch.setattr(ns, "load", lambda *_, **__: demo)
    exec(document["recipe"]["python"], {})
    assert sorted((out / "parts").rglob("*.parquet")) == parts
    code, text, _ = cli("report", out, "--out", "page.html", "--json")
    assert (code, json.loads(text)["kind"]) == (0, "discovery")
    assert (out / "page.html").read_bytes() == (tmp_path / "page.html").read_bytes() == made
    code, text, _ = cli("discover", *given, "--norm", "gain", "--json")
    assert code == 1
    assert json.loads(text)["error"]["type"] == "RunMismatch"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--preset", "paper"), "--preset='paper' is not known. Choices: recommended, published"),
        (("--ks", "1,x"), "--ks '1,x' is not a list"),
        (("--ks", "1,200"), "k=200 must be 1 to 100"),
        (("--nouns", "spacy"), "nouns='spacy' is not known"),
        (("--template", "{image}{question}{prompt}"), "has {question}, and no question is given"),
    ],
)
def test_bad_options_are_refused_before_anything_is_loaded(cli, options, reason: str, tmp_path: Path):
    code, text, _ = cli("discover", tmp_path / "missing.png", *options, "--json")
    assert code == 1
    assert reason in json.loads(text)["error"]["message"]


def test_missing_images_are_refused(cli, tmp_path: Path):
    code, _, told = cli("discover", tmp_path / "missing.png", "--out", tmp_path / "run")
    assert code == 1
    assert "missing.png does not exist" in told
    assert not (tmp_path / "run").exists()
    assert cli("discover")[0] == 2


def test_presets_and_sizes():
    published = Discover(sources=(), preset="published", top=5, max_new_tokens=7).discovery()
    assert published == Discovery.as_published(top=5, decoding=replace(published.decoding, max_new_tokens=7))
    assert published.decoding.question == "Describe the image in few words."
    assert Discover(sources=()).discovery() == Discovery()
    assert given(DiscoveryPlan, {"ks": "1,5"}) == {"ks": (1, 5)}
    with pytest.raises(InvalidOption, match="whole numbers"):
        given(DiscoveryPlan, {"ks": "1.5"})


@pytest.mark.usefixtures("undrawn")
def test_sbus_own_caption_json_with_a_part_of_its_pictures(cli, tmp_path: Path):
    (tmp_path / "images").mkdir()
    names = [f"{number}.png" for number in range(2)]
    for name, sample in zip(names, scenes_of("bear", 2), strict=True):
        sample.image.save(tmp_path / "images" / name)
    urls = [f"http://static.flickr.com/27/{name}" for name in ("gone.jpg", *names)]
    table = tmp_path / "sbu-captions-all.json"
    table.write_text(json.dumps({"image_urls": urls, "captions": ["A bear ."] * 3, "user_ids": ["x"] * 3}))
    code, text, told = cli(
        "discover", table, "--out", tmp_path / "run", "--top", "10", "--ks", "1", "--group", "2", "--json", "--quiet"
    )
    assert (code, told) == (0, "")
    assert json.loads(text)["images"] == 2
    assert "1 of 3 entries name pictures that are not in" in text

"""Runs whose objects are taken out by an inpainter that is not one of those that come along."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.samples import inpainters
from neuronscope.samples.boxes import boxes_mask
from neuronscope.samples.inpainters import INPAINTERS
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.opening import open_run
from neuronscope.studies.reproduce.page import run_page
from neuronscope.studies.reproduce.pixels import encode_inside, put_inside
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.tables import render
from neuronscope.studies.reproduce.work import Reproduction
from tiny_inpainter import tiny_pipeline

SMALL: dict[str, Any] = {
    "images": 1, "methods": ("two-stage:activation=1,gradient=0.05",), "levels": (2.0,), "draws": 1, "ablations": (),
    "metrics": {}, "limits": Limits(min_side=16.0),
}  # fmt: skip


class Restless:
    """The mean colour and noise that is another one each time, as a model's is on another machine."""

    def __init__(self, name: str = "restless") -> None:
        self.name, self.drawn = name, 0

    def fill(self, pixels: Any, mask: Any, radius: float) -> Any:
        self.drawn += 1
        filled = INPAINTERS["mean_fill"].fill(pixels, mask, radius)
        noise = np.random.default_rng(self.drawn).integers(0, 4, filled.shape)
        return np.clip(filled + noise, 0, 255).astype(np.uint8)

    def told(self) -> dict[str, Any]:
        return {"model": self.name, "fingerprint": "0123"}


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> Restless:
    monkeypatch.setattr(inpainters, "_REGISTERED", {})
    made = Restless()
    ns.register_inpainter("restless", made)
    return made


def begin(vlm: ns.VLM, data: Path, out: Path) -> Reproduction:
    source, plan = ns.annotated(data), Experiment(("bear", "bus"), edit="restless", **SMALL)
    return Reproduction(vlm, source, plan, open_run(out, vlm, source.identity(), plan))


def test_what_was_drawn_is_kept_and_not_drawn_again(demo: ns.VLM, few_scenes: Path, tmp_path: Path, restless: Restless):
    first = begin(demo, few_scenes, tmp_path / "run")
    edited = [kept.pair.edited.tobytes() for kept in first.samples]
    often = restless.drawn
    again = begin(demo, few_scenes, tmp_path / "run")
    assert [kept.pair.edited.tobytes() for kept in again.samples] == edited
    assert restless.drawn == often
    assert again.samples[0].pair.method == "restless"
    assert first.run.settings["inpainter"] == {"model": "restless", "fingerprint": "0123"}


def test_another_model_of_the_same_name_is_another_run(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, restless: Restless
):
    begin(demo, few_scenes, tmp_path / "run")
    restless.name = "another"
    with pytest.raises(RunMismatch, match="inpainter"):
        begin(demo, few_scenes, tmp_path / "run")


def test_the_page_shows_what_was_drawn(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, restless: Restless, monkeypatch: pytest.MonkeyPatch
):
    from neuronscope.studies.reproduce.collect import collect

    monkeypatch.setattr("neuronscope.studies.reproduce.tables._draw", lambda *_: {})  # figures are not pictures
    work = begin(demo, few_scenes, tmp_path / "run")
    work.work()
    render(collect(work), work.run.folder)
    shots = run_page(tmp_path / "run", few_scenes).gallery.shots
    assert len(shots) == 2
    assert all(shot.edited.startswith("data:image") for shot in shots)


def test_pixels_inside_a_mask_are_put_back(scene: Any):
    mask = boxes_mask([(5, 7, 9, 4)], scene.size)
    drawn = scene.rotate(90)
    made = np.asarray(put_inside(scene, mask, encode_inside(drawn, mask)))
    assert (made[mask] == np.asarray(drawn)[mask]).all()
    assert (made[~mask] == np.asarray(scene)[~mask]).all()
    with pytest.raises(ValueError, match="are kept of an edit of 8 x 4"):
        put_inside(scene, boxes_mask([(5, 7, 8, 4)], scene.size), encode_inside(drawn, mask))


def test_an_unknown_inpainter_is_refused_at_once():
    with pytest.raises(InvalidOption, match="Did you mean 'telea'"):
        Experiment(("bear", "bus"), edit="tela")


def test_a_pipeline_of_diffusers_on_the_command_line(
    capsys: pytest.CaptureFixture[str], few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also from another folder, which holds the same files: a run goes on wherever its pipeline lies."""
    from neuronscope.samples import diffusion

    folder = tiny_pipeline(tmp_path / "here" / "pipe")
    monkeypatch.setattr(diffusion, "STEPS", 1)

    def run(*words: str) -> Any:
        with pytest.raises(SystemExit) as stop:
            main([*words, "--json"])
        told = capsys.readouterr()
        assert not stop.value.code, told.err
        return json.loads(told.out)

    asked = ("--concepts", "bear,bus", "--images", "1", "--min-side", "16", "--levels", "2", "--draws", "1")
    rest = (*asked, "--ablations", "none", "--methods", "two-stage", "--metrics", "none", "--model", "demo")
    out = tmp_path / "run"
    where = ("--data", str(few_scenes), "--out", str(out))
    found = run("reproduce", *where, *rest, "--edit", f"diffusion:{folder}")
    settings = json.loads((out / "run.json").read_text(encoding="utf-8"))["settings"]
    assert settings["edit"] == "diffusion:pipe"
    assert settings["inpainter"]["fingerprint"] == diffusion.told_of(str(folder))["fingerprint"]
    assert f"--edit diffusion:{folder}" in " ".join(shlex.split((out / "again.sh").read_text(encoding="utf-8")))
    shutil.copytree(folder, tmp_path / "there" / "pipe")
    moved = run("reproduce", *where, *rest, "--edit", f"diffusion:{tmp_path / 'there' / 'pipe'}")
    assert moved["table_2"] == found["table_2"]

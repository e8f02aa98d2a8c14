"""Inpainters behind one protocol: those of the user's, and pipelines of diffusers."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.samples import inpaint, inpainters
from neuronscope.samples.boxes import boxes_mask
from neuronscope.samples.inpainters import INPAINTERS, Inpainter, is_inpainter, require_edit
from tiny_inpainter import tiny_pipeline


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(inpainters, "_REGISTERED", {})


def red(pixels, mask, radius):
    """Everything, which the library puts back outside the mask."""
    return np.full_like(pixels, (255, 0, 0))


def test_a_function_of_the_users_fills_the_mask_and_nothing_else(sample):
    ns.register_inpainter("red", red)
    pair = ns.counterfactual(sample, "red")
    pixels = np.asarray(pair.edited)
    assert (pixels[pair.mask] == (255, 0, 0)).all()
    assert (pixels[~pair.mask] == np.asarray(pair.original)[~pair.mask]).all()
    assert pair.options == {"radius": 3, "dilate": 0, "region": "auto"}


def test_an_object_of_the_users_tells_what_it_is(sample):
    class Mine:
        def fill(self, pixels, mask, radius):
            return red(pixels, mask, radius)

        def told(self):
            return {"model": "mine"}

    ns.register_inpainter("mine", Mine())
    assert ns.counterfactual(sample, "mine").options["inpainter"] == {"model": "mine"}
    with pytest.raises(InvalidOption, match="is taken"):
        ns.register_inpainter("mine", red)


@pytest.mark.parametrize("name", ["telea", "exact", "edited", "mean_fill", "", " ", "a:b", "diffusion:x"])
def test_names_that_cannot_be_given(name):
    with pytest.raises(InvalidOption):
        ns.register_inpainter(name, red)


@pytest.mark.parametrize(
    "made",
    [
        lambda p, m, r: p[:-1],
        lambda p, m, r: p.astype(float),
        lambda p, m, r: p[..., 0],
        lambda p, m, r: p[..., :2],
        lambda p, m, r: p.transpose(2, 0, 1),
        lambda p, m, r: p[..., None],
    ],
)
def test_what_is_no_picture_of_that_size_is_refused(scene, unchecked, made):
    ns.register_inpainter("odd", made)
    with pytest.raises(InvalidOption, match="the inpainter 'odd' gives"):
        inpaint(scene, boxes_mask([(8, 8, 4, 4)], scene.size), "odd")


def test_those_that_come_along_are_inpainters():
    assert all(isinstance(one, Inpainter) for one in INPAINTERS.values())
    assert is_inpainter("diffusion:somewhere")
    assert not is_inpainter("exact")
    with pytest.raises(InvalidOption, match="Did you mean 'telea'"):
        require_edit("edit", "tela", "exact")


def test_a_pipeline_of_diffusers_fills_the_mask_alike_each_time(tmp_path, sample, monkeypatch):
    folder = tiny_pipeline(tmp_path / "pipe")
    from neuronscope.samples import diffusion

    monkeypatch.setattr(diffusion, "STEPS", 2)
    pair, again = (ns.counterfactual(sample, f"diffusion:{folder}") for _ in range(2))
    assert pair.edited.tobytes() == again.edited.tobytes()
    changed = np.any(np.asarray(pair.original) != np.asarray(pair.edited), axis=-1)
    assert changed[pair.mask].mean() > 0.9
    assert not changed[~pair.mask].any()
    told = pair.options["inpainter"]
    assert told["model"] == "pipe"
    assert told["seed"] == 0
    assert len(told["fingerprint"]) == 16
    json.dumps(dict(pair.options))
    tall = ns.Sample(Image.new("RGB", (20, 90), (9, 90, 200)), "bear", boxes=[(2, 2, 9, 9)])
    assert ns.counterfactual(tall, f"diffusion:{folder}").edited.size == (20, 90)


def test_directories_that_are_no_pipeline_are_refused(tmp_path, sample):
    pytest.importorskip("diffusers")
    refused = partial(ns.counterfactual, sample)
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidOption, match="no model_index"):
        refused(f"diffusion:{tmp_path / 'a'}")
    with pytest.raises(InvalidOption, match="no model_index"):
        refused("diffusion:")
    known = {"_class_name": "StableDiffusionInpaintPipeline"}
    for index, message in (
        ("[]", "cannot be read"),
        ("{", "cannot be read"),
        ("{}", "cannot be read"),
        (json.dumps({"_class_name": "Other"}), "is a 'Other'"),
        (json.dumps({**known, "unet": ["my_code", "Net"]}), "code that is not run"),
        (json.dumps({**known, "vae": ["os", "system"]}), "code that is not run"),
    ):
        (tmp_path / "a" / "model_index.json").write_text(index)
        with pytest.raises(InvalidOption, match=message):
            refused(f"diffusion:{tmp_path / 'a'}")


def test_without_diffusers_the_extra_is_named(sample, monkeypatch):
    monkeypatch.setattr("neuronscope.samples.diffusion.find_spec", lambda name: None)
    with pytest.raises(InvalidOption, match=r"neuronscope\[diffusion\]"):
        ns.counterfactual(sample, "diffusion:somewhere")

"""Detectors and segmenters of transformers, tiny and random."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample, UnsupportedModel
from neuronscope.regions import DETECTORS, Detector, DetectorFinder, Segmenter
from neuronscope.samples import Finder


@pytest.mark.parametrize("name", ["owlvit", "owlv2", "dino"])
def test_a_word_becomes_boxes_inside_the_picture_and_a_sample(finder, picture, name):
    detector = Detector(finder(name))
    assert isinstance(DetectorFinder(detector), Finder)
    found = detector.find(picture, "bear")
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for x, y, w, h in (one.box for one in found):
        assert 0 <= x < x + w <= picture.width
        assert 0 <= y < y + h <= picture.height
    regions = ns.find_regions(picture, "bear", detector, least_score=0.0)
    assert regions.taken[0].box == found[0].box
    assert regions.finder["detector"]["kind"] in DETECTORS
    assert len(regions.finder["detector"]["fingerprint"]) == 16
    json.dumps(regions.to_dict())
    again = ns.find_regions(picture, "bear", finder(name), least_score=0.0)
    assert again.to_dict() == regions.to_dict()
    assert regions.sample().boxes == (found[0].box,)


def test_a_wide_and_a_high_picture_are_seen_where_they_are(finder):
    """OWLv2 makes pictures square: what is found beside the picture is cut away."""
    for size in ((64, 16), (16, 64)):
        for one in Detector(finder("owlv2")).find(Image.new("RGB", size, (9, 99, 200)), "bear"):
            assert one.box[0] + one.box[2] <= size[0]
            assert one.box[1] + one.box[3] <= size[1]


def test_how_each_kind_is_asked(finder):
    assert Detector(finder("owlvit")).query("Fire.  hydrant") == "a photo of a Fire hydrant"
    assert Detector(finder("dino")).query("Stop sign.") == "stop sign."
    assert Detector(finder("owlvit")).least == 0.1
    assert Detector(finder("dino")).least == 0.25


def test_masks_of_boxes_and_of_a_click(finder, picture):
    segmenter = Segmenter(finder("sam"))
    mask, _ = segmenter.in_box(picture, (4, 4, 20, 20))
    assert mask.shape == (picture.height, picture.width)
    assert mask.dtype == bool
    clicked, _ = segmenter.at(picture, 30.0, 20.0)
    assert clicked.shape == mask.shape
    regions = ns.find_regions(picture, "bear", finder("owlvit"), segmenter=segmenter)
    assert regions.mask is not None
    assert np.array_equal(regions.sample().mask, regions.mask)
    outlined = ns.outline_boxes(picture, "bear", [(4, 4, 20, 20)], segmenter)
    assert np.array_equal(outlined.mask, mask)
    assert outlined.sentence.startswith("'bear' is at 4,4,20,20, outlined by tiny-sam")
    for x, y in ((-1, 3), (61, 3), (3, 45), (1e6, 1)):
        with pytest.raises(InvalidSample, match="outside the image"):
            segmenter.at(picture, float(x), float(y))


def test_sam2_where_torchvision_is_installed_and_where_not(finder, picture):
    if find_spec("torchvision") is None:
        with pytest.raises(UnsupportedModel, match=r"torchvision only.*\[vision\]"):
            Segmenter(finder("sam2"))
        return
    mask, _ = Segmenter(finder("sam2")).at(picture, 30.0, 20.0)
    assert mask.shape == (picture.height, picture.width)


def test_words_that_are_too_long_are_refused(finder, picture):
    for name in ("owlvit", "dino"):
        with pytest.raises(InvalidSample, match="too long"):
            Detector(finder(name)).find(picture, " ".join(["bear"] * 40))


def kinds(folder, finder, checkpoint):
    """Names that are no detector."""
    (folder / "empty").mkdir()
    broken = folder / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "owlv2"}')
    text = folder / "bert"
    text.mkdir()
    (text / "config.json").write_text('{"model_type": "bert"}')
    return {
        finder("sam"): (InvalidOption, "type 'sam', which is no detector"),
        checkpoint: (InvalidOption, "type 'llava', which is no detector"),
        text: (InvalidOption, "type 'bert', which is no detector"),
        folder / "nowhere": (InvalidOption, "is not a directory"),
        "": (InvalidOption, "names nothing"),
        "a b": (InvalidOption, "neither a directory nor a hub id"),
        folder / "empty": (InvalidOption, "type '', which is no detector"),
        broken: (UnsupportedModel, "cannot load"),
        "package:nothing-like-it": (InvalidOption, "no package"),
        "nobody/nothing": (UnsupportedModel, "cannot load"),
    }


def test_other_models_are_refused_by_name(finder, picture, checkpoint, tmp_path):
    for name, (error, message) in kinds(tmp_path, finder, checkpoint).items():
        with pytest.raises(error, match=message):
            ns.find_regions(picture, "bear", name)
    with pytest.raises(InvalidOption, match="type 'owlvit', which is no segmenter"):
        Segmenter(finder("owlvit"))

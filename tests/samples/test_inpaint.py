import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples import inpaint
from neuronscope.samples.boxes import boxes_mask
from neuronscope.samples.inpaint import INPAINTERS

SIZE = (48, 32)
BLUE = (20, 40, 200)


def changed(pair):
    return np.any(np.asarray(pair.original) != np.asarray(pair.edited), axis=-1)


@pytest.fixture
def plain():
    return Image.new("RGB", SIZE, BLUE)


@pytest.mark.parametrize("method", sorted(INPAINTERS))
def test_the_object_goes_and_nothing_else_changes(sample, method):
    pair = ns.counterfactual(sample, method)
    assert (changed(pair) == pair.mask).all()
    assert np.abs(np.asarray(pair.edited, int) - BLUE).max() <= 2
    assert (pair.method, pair.sample, pair.original.size) == (method, sample, SIZE)
    assert pair.options == {"radius": 3, "dilate": 0, "region": "auto"}


def test_telea_is_opencvs(sample):
    import cv2

    pair = ns.counterfactual(sample, radius=5)
    expected = cv2.inpaint(np.asarray(pair.original), pair.mask.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    assert (np.asarray(pair.edited) == expected).all()


def test_mean_fill_looks_only_at_the_ring_around_the_region(scene, sample):
    scene.paste("white", (30, 0, 48, 32))
    assert ns.counterfactual(sample, "mean_fill").edited.getpixel((14, 12)) == BLUE
    halves = Image.new("RGB", (20, 20), (0, 0, 0))
    halves.paste((100, 200, 50), (10, 0, 20, 20))
    filled = inpaint(halves, boxes_mask([(8, 8, 4, 4)], (20, 20)), "mean_fill", 2)
    assert filled.getpixel((9, 9)) == (50, 100, 25)


def test_dilation_and_mask_are_used(scene):
    mask = np.zeros((32, 48), bool)
    mask[8:16, 10:20] = True
    pair = ns.counterfactual(ns.Sample(scene, "bear", boxes=[(0, 0, 5, 5)], mask=mask), region="mask", dilate=1)
    assert pair.mask.sum() == 10 * 12
    assert pair.options["region"] == "mask"


@pytest.mark.parametrize("method", ["exact", "edited"])
def test_a_given_picture_is_taken_as_it_is(scene, plain, method):
    boxes = [(10, 8, 10, 8)]
    if method == "exact":
        pair = ns.counterfactual(ns.Sample(scene, "bear", boxes=boxes, exact=plain), "exact")
    else:
        pair = ns.counterfactual(ns.Sample(scene, "bear", boxes=boxes), "edited", edited=plain)
    assert pair.edited.tobytes() == plain.tobytes()
    assert pair.mask.sum() == 80


def test_without_a_region_the_mask_is_what_differs(scene, plain):
    pair = ns.counterfactual(ns.Sample(scene, "bear"), "edited", edited=plain)
    assert (pair.mask == boxes_mask([(10, 8, 10, 8)], SIZE)).all()


@pytest.mark.parametrize(
    ("method", "edited", "reason"),
    [
        ("exact", None, "needs the sample's `exact` picture"),
        ("edited", None, "needs a picture given as `edited`"),
        ("edited", (40, 32), r"\(40, 32\), the original \(48, 32\)"),
        ("edited", SIZE, "identical to the original"),
        ("telea", None, "neither boxes nor a mask"),
    ],
)
def test_unusable_edits_are_refused(scene, method, edited, reason):
    picture = scene if edited == SIZE else edited and Image.new("RGB", edited)
    with pytest.raises(InvalidSample, match=reason):
        ns.counterfactual(ns.Sample(scene, "bear"), method, edited=picture)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"method": "tela"}, "'tela' is not known. Did you mean 'telea'.*navier_stokes.*edited"),
        ({"radius": 0}, "radius=0"),
        ({"radius": float("nan")}, "radius=nan"),
        ({"radius": float("inf")}, "radius=inf"),
        ({"edited": "other.png"}, "given as `edited`, which method 'telea' does not use"),
    ],
)
def test_bad_options_are_refused(sample, options, reason):
    with pytest.raises(InvalidOption, match=reason):
        ns.counterfactual(sample, **options)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((48, 32), bool), r"\(48, 32\), the image is 32 x 48"),
        (np.ones((32, 48), bool), "whole image of 48 x 32"),
    ],
)
def test_inpaint_refuses_masks_it_cannot_use(scene, mask, reason):
    with pytest.raises(InvalidSample, match=reason):
        inpaint(scene, mask)

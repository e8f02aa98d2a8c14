import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.sample import boxes_mask, mask_box

SIZE = (48, 32)


def test_load_reads_the_picture(scene, tmp_path):
    scene.save(tmp_path / "a.png")
    assert ns.Sample(image=tmp_path / "a.png", concept="bear").load().tobytes() == scene.tobytes()


@pytest.mark.parametrize("concept", ["", "  \n"])
def test_an_empty_concept_is_refused(concept):
    with pytest.raises(InvalidSample, match="concept is empty"):
        ns.Sample(image="a.png", concept=concept)


def test_the_region_is_the_union_of_all_boxes(scene):
    region = ns.Sample(scene, "bear", boxes=[(0, 0, 4, 4), (2, 2, 4, 4)]).region(SIZE)
    assert region.shape == (32, 48)
    assert region.sum() == 16 + 16 - 4


def test_boxes_partly_outside_are_clipped(scene):
    region = ns.Sample(scene, "bear", boxes=[(-5, -5, 10, 10)]).region(SIZE)
    assert mask_box(region) == (0, 0, 5, 5)


@pytest.mark.usefixtures("unchecked")
def test_boxes_may_be_an_array_and_others_keep_theirs(scene):
    sample = ns.Sample(scene, "bear", boxes=np.array([[1.0, 2, 3, 4]]), others=[ns.Region("dog", (0, 0, 2, 2))])
    assert sample.boxes == ((1.0, 2.0, 3.0, 4.0),)
    assert sample.others[0].mask is None


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 0, 4), "empty"),
        ((9, 9, -4, 4), "empty"),
        ((9, 9, 4, -4), "empty"),
        ((48, 0, 4, 4), "outside"),
        ((-9, 0, 4, 4), "outside"),
        ((0, 900, 4, 4), "outside"),
        ((1e308, 0, 1e308, 4), "outside"),
    ],
)
def test_bad_boxes_are_refused_with_the_box_and_the_frame(scene, box, reason):
    with pytest.raises(InvalidSample, match=reason) as caught:
        ns.Sample(scene, "bear", boxes=[(1, 1, 4, 4), box]).region(SIZE)
    assert str(tuple(float(v) for v in box)) in str(caught.value)
    assert "48 x 32" in str(caught.value)


@pytest.mark.parametrize("boxes", [(1, 2, 3, 4), [(1, 2, 3)], [(1, 2, 3, 4, 5)], [("a", 1, 2, 3)], [None]])
@pytest.mark.usefixtures("unchecked")
def test_what_is_not_a_list_of_boxes_is_refused_at_once(boxes):
    with pytest.raises(InvalidSample, match="not four finite numbers x, y, width, height"):
        ns.Sample(image="a.png", concept="bear", boxes=boxes)


def test_mask_or_boxes_can_be_chosen(scene):
    mask = np.zeros((32, 48), bool)
    mask[20:25, 30:40] = True
    sample = ns.Sample(scene, "bear", boxes=[(1, 1, 4, 4)], mask=mask)
    assert (sample.region(SIZE, source="mask") == mask).all()
    assert sample.region(SIZE).sum() == sample.region(SIZE, source="boxes").sum() == 16
    assert (ns.Sample(scene, "bear", mask=mask).region(SIZE) == mask).all()


def test_dilation_grows_the_region_on_every_side(sample):
    assert mask_box(sample.region(SIZE, dilate=3)) == (7, 5, 16, 14)


@pytest.mark.parametrize(
    ("given", "source", "reason"),
    [
        ({}, "auto", "neither boxes nor a mask"),
        ({"boxes": [(1, 1, 4, 4)]}, "mask", "has no mask"),
        ({"mask": np.eye(32, 48, dtype=bool)}, "boxes", "has no boxes"),
        ({"mask": np.zeros((32, 48), bool)}, "auto", "is empty"),
        ({"mask": np.ones((48, 32), bool)}, "auto", r"\(48, 32\), the image is 32 x 48"),
        ({"boxes": [(0, 0, 48, 32)]}, "auto", "nothing would be left to inpaint from"),
        ({"boxes": [(0, 0, 48, 31.5)]}, "auto", "100% of the image"),
    ],
)
def test_regions_that_cannot_be_used_are_refused(scene, given, source, reason):
    with pytest.raises(InvalidSample, match=reason):
        ns.Sample(scene, "bear", **given).region(SIZE, source=source)


@pytest.mark.parametrize(
    ("option", "reason"), [({"source": "bbox"}, "'bbox' is not known.*boxes"), ({"dilate": -1}, "dilate=-1")]
)
def test_unknown_options_are_refused(sample, option, reason):
    with pytest.raises(InvalidOption, match=reason):
        sample.region(SIZE, **option)


def test_a_region_just_under_the_limit_is_kept(scene):
    assert ns.Sample(scene, "bear", boxes=[(0, 0, 47, 32)]).region(SIZE).mean() == pytest.approx(47 / 48)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 60), st.integers(1, 60))
def test_whole_pixel_boxes_come_back_clipped(x, y, w, h):
    assert mask_box(boxes_mask([(x, y, w, h)], SIZE)) == (x, y, min(w, 48 - x), min(h, 32 - y))

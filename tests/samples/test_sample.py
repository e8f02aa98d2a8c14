import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.boxes import mask_box

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


@pytest.mark.usefixtures("unchecked")
def test_boxes_may_be_an_array_and_others_keep_theirs(scene):
    sample = ns.Sample(scene, "bear", boxes=np.array([[1.0, 2, 3, 4]]), others=[ns.Region("dog", (0, 0, 2, 2))])
    assert sample.boxes == ((1.0, 2.0, 3.0, 4.0),)
    assert sample.others[0].mask is None


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


def turned(folder, size, turn, kind):
    """A picture of a stored size with an EXIF tag, or without one."""
    path = folder / f"a.{kind.lower()}"
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    Image.new("RGB", size, (90, 120, 60)).save(path, kind, exif=exif)
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("stored", [(60, 40), (50, 50)])
@pytest.mark.parametrize("turn", [0, 1, 2, 3, 4, 5, 6, 7, 8])
def test_a_picture_turned_by_its_tag_must_have_been_annotated_as_it_is_seen(tmp_path, kind, stored, turn):
    path = turned(tmp_path, stored, turn, kind)
    upright = stored if turn < 5 else stored[::-1]

    def load(annotated):
        return ns.Sample(path, "bear", boxes=[(9, 9, 9, 9)], annotated=annotated).load().size

    assert load(None) == upright
    if turn < 2 or upright != stored:
        assert load(upright) == upright
    if turn > 1:
        with pytest.raises(InvalidSample, match=rf"{path.name} is .*orientation {turn}\) turns it.*without the tag"):
            load(stored)


@pytest.mark.parametrize("annotated", [(120, 80), (30, 20), (40, 60), (61, 40), (60, 39), (1, 1)])
def test_a_picture_of_another_size_than_the_annotated_is_refused_with_both_sizes(tmp_path, annotated):
    path = turned(tmp_path, (60, 40), 0, "PNG")
    drawn = f"{annotated[0]} x {annotated[1]} px"
    with pytest.raises(InvalidSample, match=rf"a.png is 60 x 40 px, but its boxes and masks were drawn on {drawn}"):
        ns.counterfactual(ns.Sample(path, "bear", boxes=[(9, 9, 9, 9)], annotated=annotated))

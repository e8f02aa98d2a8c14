from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.samples import Region, control_boxes, control_patches, controls_of
from neuronscope.samples.boxes import boxes_mask

SIZE = (48, 32)


def textured(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8))


def pair_of(share: float, *others: Region, wide: bool = True, **changes) -> ns.Counterfactual:
    """An object of a share of the picture, as one box at its left or its top."""
    box = (0, 0, 48 * share, 32) if wide else (0, 0, 48, 32 * share)
    return ns.counterfactual(replace(ns.Sample(textured(), "bear", boxes=[box], others=others), **changes))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 25), st.integers(0, 8), st.integers(0, 5))
def test_control_boxes_fit_avoid_the_object_and_differ(w, h, count, seed):
    avoid = boxes_mask([(10, 8, 10, 8)], SIZE)
    boxes = control_boxes(SIZE, (w, h), avoid, count, seed)
    assert boxes == control_boxes(SIZE, (w, h), avoid, count, seed)
    assert len(set(boxes)) == len(boxes) <= count
    for x, y, bw, bh in boxes:
        assert 0 <= x <= x + bw <= 48
        assert 0 <= y <= y + bh <= 32
        assert round(w / 2) <= bw <= w
        assert round(h / 2) <= bh <= h
        assert not (boxes_mask([(x, y, bw, bh)], SIZE) & avoid).any()


def test_control_boxes_shrink_only_where_they_must():
    avoid = boxes_mask([(0, 0, 38, 32)], SIZE)  # leaves 10 columns
    assert {b[2:] for b in control_boxes(SIZE, (8, 8), avoid, 5)} == {(8, 8)}
    assert {b[2] for b in control_boxes(SIZE, (16, 8), avoid, 5)} == {10}  # 16 x 0.6
    assert control_boxes(SIZE, (24, 8), avoid, 5) == []
    assert control_boxes(SIZE, (8, 8), np.ones((32, 48), bool), 5) == []


def test_control_boxes_depend_on_the_seed():
    avoid = np.zeros((32, 48), bool)
    assert control_boxes(SIZE, (6, 6), avoid, 5, 0) != control_boxes(SIZE, (6, 6), avoid, 5, 1)
    with pytest.raises(InvalidOption, match="count=-1"):
        control_boxes(SIZE, (6, 6), avoid, -1)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.02, 0.9), st.booleans(), st.sampled_from(["none", "dogs", "everywhere"]), st.integers(0, 3))
def test_any_object_up_to_nine_tenths_of_the_picture_has_controls(share, wide, others, seed):
    regions = {
        "none": [],
        "dogs": [Region("dog", (30, 20, 10, 10)), Region("dog", (20, 2, 20, 6))],
        "everywhere": [Region("dog", (0, 0, 48, 32))],
    }
    pair = pair_of(share, *regions[others], wide=wide)
    found = controls_of(pair, 6, seed)
    assert len(found) == 6
    masks = {control.mask.tobytes() for control in found}
    assert len(masks) == 6
    for control in found:
        assert not (control.mask & pair.mask).any()
        changed = np.any(np.asarray(control.edited) != np.asarray(pair.original), axis=-1)
        assert changed.any()
        assert not (changed & ~control.mask).any()
        assert control.area == pytest.approx(control.mask.sum() / pair.mask.sum())
        if control.kind.startswith("empty"):
            assert not any((control.mask & boxes_mask([other.box], SIZE)).any() for other in regions[others])
    again = controls_of(pair, 6, seed)
    assert [c.mask.tobytes() for c in again] == [c.mask.tobytes() for c in found]


@pytest.mark.parametrize(
    ("share", "others", "kinds"),
    [
        (0.2, [], {"empty box"}),
        (0.8, [], {"empty patches"}),
        (0.2, [Region("dog", (10, 0, 38, 32))], {"other objects"}),
        (0.8, [Region("dog", (38, 0, 10, 32))], {"patches"}),
    ],
)
def test_each_kind_where_those_before_it_have_no_room(share, others, kinds):
    assert {control.kind for control in controls_of(pair_of(share, *others), 4)} == kinds


def test_an_outline_of_irregular_form_and_an_exact_edit_have_controls():
    rows, columns = np.mgrid[:32, :48]
    disc = (rows - 16) ** 2 + ((columns - 24) / 1.5) ** 2 < 16**2
    sample = ns.Sample(textured(), "bear", mask=disc, exact=textured(1))
    for method in ("telea", "exact"):
        pair = ns.counterfactual(sample, method)
        found = controls_of(pair, 5)
        assert len(found) == 5
        assert not any((control.mask & disc).any() for control in found)


def test_controls_change_about_as_much_as_the_edit():
    """Half of the free picture is plain and is inpainted by itself: a control there would change nothing."""
    picture = np.full((32, 48, 3), 90, np.uint8)
    picture[:, 32:] = np.asarray(textured())[:, 32:]
    picture[8:16, 4:12] = np.asarray(textured())[8:16, 4:12]
    pair = ns.counterfactual(ns.Sample(picture, "bear", boxes=[(4, 8, 8, 8)]))
    wanted = np.abs(np.asarray(pair.edited, float) - np.asarray(pair.original, float)).sum()
    for control in controls_of(pair, 3, seed=1):
        change = np.abs(np.asarray(control.edited, float) - np.asarray(pair.original, float)).sum()
        assert wanted / 3 < change < 3 * wanted


def test_where_nothing_is_left_there_is_no_control():
    sample = ns.Sample(textured(), "bear")
    pair = ns.counterfactual(sample, "edited", edited=Image.new("RGB", SIZE, "red"))
    assert pair.mask.all()
    assert controls_of(pair, 4) == []
    assert controls_of(pair_of(0.3), 0) == []
    with pytest.raises(InvalidOption, match="count=-1"):
        controls_of(pair_of(0.3), -1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1400), st.integers(0, 5))
def test_patches_are_as_many_pixels_as_asked_or_half_of_the_room(area, seed):
    avoid = boxes_mask([(0, 0, 40, 30)], SIZE)
    room = int((~avoid).sum())
    for mask in control_patches(avoid, area, 3, seed):
        assert mask.sum() == min(area, -(-room // 2))
        assert not (mask & avoid).any()
    assert control_patches(np.ones_like(avoid), area, 3, seed) == []

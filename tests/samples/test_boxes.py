import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.samples.boxes import boxes_mask, mask_box, require_inside, slack

SIZE = (48, 32)
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 0, 4), "empty"),
        ((9, 9, -4, 4), "empty.*top left corner"),
        ((9, 9, 4, -4), "empty.*top left corner"),
        ((9, 9, -4, -4), "empty.*top left corner"),
        ((20, 20, -10, 10), "empty.*top left corner"),
        ((48, 0, 4, 4), "outside"),
        ((-9, 0, 4, 4), "outside"),
        ((0, 900, 4, 4), "outside"),
        ((1e308, 0, 1e308, 4), "outside"),
        ((-5, -5, 10, 10), "reaches 5 px out of the image of 48 x 32 px: it belongs to a picture of another size"),
        ((40, 3, 20, 20), "reaches 12 px out"),
        ((3, 20, 20, 20), "reaches 8 px out"),
        ((20, 10, 44, 30), "reaches 16 px out of .*; its numbers would fit as two corners"),
        ((2, 17, 5, 32), "reaches 17 px out of .*; its numbers would fit as two corners"),
    ],
)
def test_bad_boxes_are_refused_with_the_box_and_the_frame(scene, box, reason):
    with pytest.raises(InvalidSample, match=reason) as caught:
        ns.Sample(scene, "bear", boxes=[(1, 1, 4, 4), box]).region(SIZE)
    assert str(tuple(float(v) for v in box)) in str(caught.value)
    assert "48 x 32" in str(caught.value)


sides = st.integers(16, 4000)
shares = st.floats(0, 1)


@settings(max_examples=80, deadline=None)
@given(sides, sides, shares, shares, shares, shares)
def test_no_box_in_shares_is_taken_for_pixels(width, height, x, y, w, h):
    """Corner, centre or two corners: whatever the four shares mean."""
    with pytest.raises(InvalidSample):
        require_inside((x, y, w, h), (width, height))


def test_a_short_side_is_judged_by_itself():
    """3 px beyond both sides of 16 x 300: too much of the short one, not of the long one."""
    with pytest.raises(InvalidSample, match="reaches 3 px out"):
        require_inside((3, 3, 16, 300), (16, 300))
    assert require_inside((0, 3, 16, 300), (16, 300))


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.booleans(), st.data())
def test_corners_are_told_where_width_and_height_would_not_fit(width, height, wide, data):
    def drawn(side, beyond):
        """Two corners' numbers along a side; `beyond`: as begin and length they would reach out of the picture."""
        over = int(slack(side)) + 1 if beyond else -side
        end = data.draw(st.integers(max(8, (side + over + 9) // 2), side))
        return data.draw(st.integers(max(0, side + over - end), end - 8)), end

    (x, right), (y, bottom) = drawn(width, wide), drawn(height, not wide)
    with pytest.raises(InvalidSample, match=r"would fit as two corners.*give x, y, x2 - x1, y2 - y1"):
        require_inside((x, y, right, bottom), (width, height))
    assert require_inside((x, y, right - x, bottom - y), (width, height))


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.sampled_from("lrtb"), st.floats(0.1, 0.9), st.booleans())
def test_only_rounding_may_reach_over_a_border(width, height, border, share, little):
    """Boxes whose one side lies beyond one border of the picture."""
    across = border in "lr"
    side, other = (width, height) if across else (height, width)
    beyond = slack(side) * (0.9 if little else 1.1)
    start, length = (-beyond, side * share + beyond) if border in "lt" else (side * (1 - share), side * share + beyond)
    rest = (other * 0.25, other * 0.5)
    box = (start, rest[0], length, rest[1]) if across else (rest[0], start, rest[1], length)
    if little:
        assert boxes_mask([box], (width, height)).any()
    else:
        with pytest.raises(InvalidSample, match="px out of the image"):
            boxes_mask([box], (width, height))


def extents(last: int, end: int) -> st.SearchStrategy[tuple[int, int]]:
    """Where a box begins, at `last` at most, and how long it is, up to `end`."""
    return st.integers(0, last).flatmap(lambda at: st.tuples(st.just(at), st.integers(2, end - at)))


@settings(max_examples=50, deadline=None)
@given(extents(40, 50), extents(20, 34))
def test_whole_pixel_boxes_come_back_clipped(across, down):
    """Also those that reach two pixels out of the picture."""
    (x, w), (y, h) = across, down
    assert mask_box(boxes_mask([(x, y, w, h)], SIZE)) == (x, y, min(w, 48 - x), min(h, 32 - y))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "box", [(NAN, 0, 4, 4), (0, 0, INF, 4), (10**400, 0, 1, 1), "abcd", (1, 2, None, 4), 7, {"x": 1}]
)
def test_what_are_not_four_numbers(box):
    with pytest.raises(InvalidSample, match="not four finite numbers x, y, width, height"):
        boxes_mask([box], SIZE)


def test_an_empty_mask_has_no_box():
    with pytest.raises(InvalidSample, match="empty mask"):
        mask_box(np.zeros((4, 4), bool))

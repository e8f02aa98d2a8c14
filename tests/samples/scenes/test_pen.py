import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronscope.samples.boxes import mask_box
from neuronscope.samples.scenes.pen import PALETTE, Pen, arc, jitter, shade, smooth

RED = (255, 0, 0)
channel = st.integers(0, 255)


def drawn(pen):
    """Covered pixels, at least half."""
    return np.asarray(pen.image())[..., 3] >= 128


def test_the_unit_square_is_the_box():
    pen = Pen(64, (10, 20, 30, 15))
    pen.rect(0, 0, 1, 1, RED)
    assert np.allclose(mask_box(drawn(pen)), (10, 20, 30, 15), atol=1)
    assert np.asarray(pen.image())[25, 25].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({}, (20, 20, 12, 12)),  # the top left quarter
        ({"mirror": True}, (32, 20, 12, 12)),
        ({"angle": 90}, (32, 20, 12, 12)),  # clockwise on screen
        ({"angle": 180}, (32, 32, 12, 12)),
        ({"angle": 90, "mirror": True}, (32, 32, 12, 12)),
    ],
)
def test_boxes_are_mirrored_first_and_then_turned_clockwise(options, box):
    pen = Pen(64, (20, 20, 24, 24), **options)
    pen.rect(0, 0, 0.5, 0.5, RED)
    assert np.allclose(mask_box(drawn(pen)), box, atol=1)


@pytest.mark.parametrize(
    ("shape", "share"),
    [
        (lambda pen: pen.ellipse(0.5, 0.5, 0.5, 0.25, RED), np.pi / 8),
        (lambda pen: pen.rect(0, 0, 1, 1, RED, radius=0.5), np.pi / 4),
        (lambda pen: pen.rect(0, 0, 1, 1, RED, radius=9), np.pi / 4),
        (lambda pen: pen.polygon([(0, 0), (1, 0), (0, 1)], RED), 0.5),
        (lambda pen: pen.line([(0.25, 0.5), (0.75, 0.5)], 0.2, RED), 0.1 + np.pi * 0.01),
        (lambda pen: pen.ring(0.5, 0.5, 0.4, 0.4, 0.1, RED), 2 * np.pi * 0.4 * 0.1),
    ],
)
def test_shapes_have_the_area_they_should(shape, share):
    pen = Pen(64)
    shape(pen)
    assert drawn(pen).mean() == pytest.approx(share, abs=0.02)


def test_edges_are_smooth_and_outside_is_clear():
    pen = Pen(64)
    pen.ellipse(0.5, 0.5, 0.3, 0.3, RED)
    alpha = np.asarray(pen.image())[..., 3]
    assert len(np.unique(alpha)) > 4
    assert alpha[0, 0] == 0


@settings(max_examples=50, deadline=None)
@given(st.tuples(channel, channel, channel), st.floats(0, 3))
def test_shades_stay_colours_and_go_from_black_to_white(colour, factor):
    shaded = shade(colour, factor)
    assert all(0 <= v <= 255 for v in shaded)
    assert all((s <= c) if factor <= 1 else (s >= c) for s, c in zip(shaded, colour, strict=True))
    assert (shade(colour, 0), shade(colour, 1), shade(colour, 2)) == ((0, 0, 0), colour, (255, 255, 255))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(PALETTE)), st.integers(0, 1000), st.integers(0, 40))
def test_jitter_moves_every_channel_by_at_most_the_amount(name, seed, amount):
    moved = jitter(PALETTE[name], np.random.default_rng(seed), amount)
    assert all(0 <= m <= 255 and abs(m - c) <= amount for m, c in zip(moved, PALETTE[name], strict=True))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 360), st.floats(1, 359))
def test_arcs_lie_on_the_ellipse_and_run_from_start_to_end(start, span):
    points = np.array(arc(1, 2, 3, 5, start, start + span))
    assert np.allclose(((points - (1, 2)) / (3, 5)) ** 2 @ (1, 1), 1)
    for degrees, point in ((start, points[0]), (start + span, points[-1])):
        t = np.radians(degrees)
        assert np.allclose(point, (1 + 3 * np.cos(t), 2 + 5 * np.sin(t)))


def test_a_full_arc_does_not_repeat_its_first_point():
    points = arc(0, 0, 1, 1, 0, 360)
    assert len({(round(x, 9), round(y, 9)) for x, y in points}) == len(points)


@pytest.mark.parametrize("closed", [False, True])
def test_curves_go_through_their_points(closed):
    points = [(0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0)]
    curve = smooth(points, closed=closed, steps=6)
    assert np.allclose(curve[::6][:4], points)
    assert len(curve) == (24 if closed else 19)

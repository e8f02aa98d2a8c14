"""Image positions, grids and what each token covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import ImageTokenMismatch, InvalidOption
from neuronscope.tokens import Frame, ImageTokens

IDENTITY = Frame((224, 224), (224, 224), (1.0, 1.0), (0.0, 0.0))


def tokens(rows: int, columns: int, frame: Frame = IDENTITY) -> ImageTokens:
    return ImageTokens.single(np.arange(rows * columns), (rows, columns), frame)


@st.composite
def layouts(draw: st.DrawFn) -> ImageTokens:
    """Any grid on any picture that was resized, and cropped or padded."""
    size = draw(st.tuples(st.integers(8, 900), st.integers(8, 900)))
    scale = draw(st.tuples(st.floats(0.2, 8), st.floats(0.2, 8)))
    offset = draw(st.tuples(st.floats(-60, 60), st.floats(-60, 60)))
    grid = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    return tokens(*grid, Frame(size, (224, 160), scale, offset))


@pytest.mark.parametrize(
    ("token", "box"), [(0, (0, 0, 56, 14)), (3, (168, 0, 56, 14)), (4, (0, 14, 56, 14)), (63, (168, 210, 56, 14))]
)
def test_a_16_by_4_grid_covers_the_pixels_worked_out_by_hand(token: int, box: tuple[float, ...]):
    assert tokens(16, 4).footprint(token) == pytest.approx(box)  # METHODS m, oracle 10


def test_the_frame_moves_the_footprint_into_the_users_picture():
    frame = Frame((640, 448), (224, 224), (2.0, 2.0), (96.0, 0.0))
    assert tokens(16, 16, frame).footprint(17) == pytest.approx((96 + 28, 28, 28, 28))


def test_a_grid_that_does_not_hold_the_positions_is_refused_with_both_numbers():
    with pytest.raises(ImageTokenMismatch, match=r"holds 64 image tokens.*grid of 8 x 4 = 32 features"):
        ImageTokens.single(np.arange(64), (8, 4), IDENTITY)


@pytest.mark.parametrize("token", [-1, 64])
def test_a_token_that_does_not_exist_is_refused(token: int):
    with pytest.raises(ImageTokenMismatch, match=rf"image token {token} does not exist; there are 64"):
        tokens(16, 4).footprint(token)


@settings(max_examples=50, deadline=None)
@given(layouts(), st.data())
def test_at_undoes_footprint(where: ImageTokens, data: st.DataObject):
    token = data.draw(st.integers(0, where.count - 1))
    x, y, w, h = where.footprint(token)
    across, down = data.draw(st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)))
    assert where.at(x + across * w, y + down * h) == token


@settings(max_examples=50, deadline=None)
@given(layouts(), st.floats(-300, 1200), st.floats(-300, 1200))
def test_footprint_contains_what_at_was_asked_for(where: ImageTokens, x: float, y: float):
    left, top, width, height = where.tiles[0].frame.to_source((0, 0, *map(float, where.tiles[0].frame.processed)))
    token = where.at(x, y)
    if token is None:
        assert not (left < x < left + width and top < y < top + height)
    else:
        bx, by, bw, bh = where.footprint(token)
        assert bx - 1e-6 <= x <= bx + bw + 1e-6
        assert by - 1e-6 <= y <= by + bh + 1e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=64, max_size=64))
def test_coverage_is_the_share_of_each_cell(filled: list[bool]):
    where = tokens(16, 4)
    cells = np.array(filled).reshape(16, 4)
    region = np.repeat(np.repeat(cells, 14, 0), 56, 1)
    np.testing.assert_array_equal(where.coverage(region), cells.ravel().astype(float))


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, 224)] * 4))
def test_coverage_times_area_sums_to_the_region(corners: tuple[int, int, int, int]):
    region = np.zeros((224, 224), dtype=bool)
    region[min(corners[:2]) : max(corners[:2]), min(corners[2:]) : max(corners[2:])] = True
    assert (tokens(16, 4).coverage(region) * 14 * 56).sum() == pytest.approx(region.sum())


def test_coverage_of_cells_outside_the_picture_is_0():
    padded = Frame((224, 112), (224, 224), (1.0, 1.0), (0.0, -56.0))
    shares = tokens(4, 1, padded).coverage(np.ones((112, 224), dtype=bool))
    np.testing.assert_array_equal(shares, [0, 1, 1, 0])


def test_the_model_input_holds_the_image_where_the_library_says(vlm: ns.VLM, pictures: list):
    inputs = vlm.prepare(pictures, ns.Decoding("the image shows a"))
    for row, where in enumerate(inputs.images):
        ids = inputs.tensors["input_ids"][row].numpy()
        assert [tile.tokens.shape for tile in where.tiles] == [(4, 4)]
        np.testing.assert_array_equal(where.positions, np.nonzero(ids == vlm.image_token)[0])
        assert where.tiles[0].frame.source == pictures[row].size


@pytest.mark.parametrize(
    ("template", "prompt", "reason"),
    [
        ("{prompt}", "the", "holds the image 0 times; once is needed"),
        ("", "the", "has no {prompt}, and 'the' is given"),
        ("{image}{prompt}", "the <image>", "holds the image 2 times; once is needed"),
        ("{image} {words}", "the", r"'{image} {words}' cannot be filled in; it holds {image} and {prompt}"),
        ("{image} {prompt", "the", "cannot be filled in"),
    ],
)
def test_a_prompt_needs_one_image(vlm: ns.VLM, picture, template: str, prompt: str, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        vlm.prepare([picture], ns.Decoding(prompt, template))

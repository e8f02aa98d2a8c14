"""Several images in one prompt: whose tokens are whose, and where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuronscope.errors import ImageTokenMismatch, InvalidOption, NoGrid
from neuronscope.tokens import Frame, ImageTokens, as_alone, packed_cells, require_unpadded, share_out


def frame(width: int, height: int, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> Frame:
    return Frame((640, 480), (width, height), (scale, scale), offset)


def grid(rows: int, columns: int, side: int = 10) -> ImageTokens:
    own = Frame((columns * side, rows * side), (columns * side, rows * side), (1.0, 1.0), (0.0, 0.0))
    return ImageTokens.single(np.arange(rows * columns), (rows, columns), own)


def never(_image: int, _times: int) -> int:
    raise AssertionError("copies are not needed where the counts alone add up")


def test_images_that_add_up_have_the_tokens_that_they_have_alone():
    assert share_out([70, 72], 142, never) == (70, 72)


def test_copies_tell_how_many_tokens_images_have_that_are_not_tiled_among_others():
    asked: list[tuple[int, int]] = []

    def copies(image: int, times: int) -> int:
        asked.append((image, times))
        return times * (17, 9)[image]

    assert share_out([70, 72], 26, copies) == (17, 9)
    assert asked == [(0, 2), (1, 2), (0, 3)]


@pytest.mark.parametrize(
    ("total", "copies"),
    [
        (6, lambda _image, _times: 6),  # one image's tokens, whatever is given
        (30, lambda _image, times: 17 * times),  # 17 + 17 are not 30
        (33, lambda _image, times: 16 * times + 1),  # 33 tokens are not two equal halves
    ],
)
def test_tokens_that_cannot_be_told_apart_are_refused(total: int, copies: Any):
    with pytest.raises(ImageTokenMismatch, match=rf"{total} image tokens for 2 images, which alone have 20 \+ 20 = 40"):
        share_out([20, 20], total, copies)


def test_padding_at_the_right_and_bottom_leaves_a_picture_where_it_is():
    alone = [frame(64, 44, 1.5), frame(32, 32, 3.0, (8.0, 0.0))]
    assert as_alone(alone, alone)
    assert as_alone(alone, [frame(64, 64, 1.5), frame(48, 32, 3.0, (8.0, 0.0))])
    assert not as_alone(alone, alone[:1])
    assert not as_alone(alone, [frame(64, 44, 1.6), alone[1]])
    assert not as_alone(alone, [alone[0], frame(32, 32, 3.0, (0.0, 0.0))])
    assert not as_alone(alone, [frame(60, 44, 1.5), alone[1]])


def test_pictures_of_a_size_that_occurs_alone_are_not_padded():
    require_unpadded([frame(32, 32), frame(16, 32)], [frame(16, 32, 2.0)])
    with pytest.raises(ImageTokenMismatch, match=r"a picture of 48 x 32 px of an image of size \(640, 480\)"):
        require_unpadded([frame(32, 32)], [frame(32, 32), frame(48, 32)])
    with pytest.raises(ImageTokenMismatch, match="no picture of an image"):
        require_unpadded([frame(32, 32)], [])


def test_the_tokens_of_a_row_are_those_of_its_images_one_after_another():
    """2 x 3 tokens of 10 px, then 4 x 1: worked out by hand."""
    row = ImageTokens.together([grid(2, 3), grid(4, 1)], np.array([3, 4, 5, 6, 7, 8, 11, 12, 13, 14]))
    assert (row.images, row.count, row.counts) == (2, 10, (6, 4))
    assert [tile.image for tile in row.tiles] == [0, 1]
    assert [tile.tokens.tolist() for tile in row.tiles] == [[[0, 1, 2], [3, 4, 5]], [[6], [7], [8], [9]]]
    assert row.footprint(5) == (20, 10, 10, 10)
    assert row.footprint(9) == (0, 30, 10, 10)  # in pixels of the second image
    second = row.of(1)
    assert second.positions.tolist() == [11, 12, 13, 14]
    assert second.tiles[0].tokens.tolist() == [[0], [1], [2], [3]]
    assert (second.images, second.tiles[0].image, second.at(5, 35)) == (1, 0, 3)
    assert row.part(1) == slice(6, 10)
    assert row.layout == "10 in 2 images: 6 = 2 x 3; 4 = 4 x 1"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=2, max_size=4))
def test_parts_are_found_again(grids: list[tuple[int, int]]):
    parts = [grid(*shape) for shape in grids]
    total = sum(part.count for part in parts)
    row = ImageTokens.together(parts, np.arange(total) + 5)
    for image, part in enumerate(parts):
        own = row.of(image)
        np.testing.assert_array_equal(own.positions, np.arange(total)[row.part(image)] + 5)
        np.testing.assert_array_equal(own.tiles[0].tokens, part.tiles[0].tokens)
    assert sorted(np.concatenate([tile.tokens.ravel() for tile in row.tiles])) == list(range(total))


def test_one_image_is_the_only_one():
    alone = grid(2, 2)
    assert alone.of(0) is alone
    assert (alone.images, alone.part(0), alone.tiles[0].image) == (1, slice(0, 4), 0)
    for ask in (alone.of, alone.part):
        for image in (1, -1):
            with pytest.raises(InvalidOption, match=rf"image={image} does not exist; the prompt holds 1"):
                ask(image)


def test_pixels_belong_to_one_image():
    row = ImageTokens.together([grid(2, 2), grid(2, 2)], np.arange(8))
    with pytest.raises(InvalidOption, match=r"holds 2 images: .* of\(image\)\.at\(x, y\)"):
        row.at(1, 1)
    with pytest.raises(InvalidOption, match=r"of\(image\)\.coverage\(region\)"):
        row.coverage(np.ones((20, 20), dtype=bool))


def test_images_without_a_grid_are_told_apart_too():
    row = ImageTokens(np.arange(12), no_grid="queries", counts=(6, 6))
    assert row.layout == "12 = 6 + 6 without a grid: queries"
    assert row.of(1).positions.tolist() == [6, 7, 8, 9, 10, 11]
    with pytest.raises(NoGrid, match="queries"):
        row.of(1).mapped()


def test_counts_that_are_not_the_number_of_tokens_are_refused():
    with pytest.raises(ImageTokenMismatch, match=r"holds 12 image tokens, but its 2 images have 6 \+ 5 = 11"):
        ImageTokens(np.arange(12), no_grid="queries", counts=(6, 5))


class Packer(nn.Module):
    """One tile per image, then a newline, as models do where a prompt holds several images."""

    def __init__(self, packs: int = 2) -> None:
        super().__init__()
        self.image_newline = torch.full((7,), 9.0)
        self.packs = packs

    def get_image_features(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        return self.pack_image_features([torch.zeros(1, 4, 7)] * self.packs, image_newline=self.image_newline)

    def pack_image_features(self, image_features: Any, image_newline: torch.Tensor) -> Any:
        return [torch.cat([features[0], image_newline[None]]) for features in image_features], [5, 5]


def test_the_models_own_packing_of_several_images():
    pixels = {"pixel_values": torch.zeros(1)}
    frames = [[frame(8, 8, 8.0)], [frame(8, 8, 4.0, (2.0, 0.0))]]
    (first,), (second,) = packed_cells(Packer(), pixels, frames, [5, 5])
    assert first.tokens.tolist() == second.tokens.tolist() == [[0, 1], [2, 3]]
    assert first.box(1, 1) == pytest.approx((32, 32, 32, 32))
    assert second.box(0, 1) == pytest.approx((18, 0, 16, 16))
    with pytest.raises(ImageTokenMismatch, match="holds 6 image tokens, the model packs 5"):
        packed_cells(Packer(), pixels, frames, [5, 6])
    with pytest.raises(ImageTokenMismatch, match="holds 2 images, the model packs 3"):
        packed_cells(Packer(3), pixels, frames, [5, 5])

"""Grids from the number of tokens, separators, patches, and the model's own packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuronscope.errors import ImageTokenMismatch, NoGrid
from neuronscope.tokens import (
    Frame,
    ImageTokens,
    Separators,
    equal_cells,
    packed_cells,
    packing_module,
    pictures,
    two_grids,
)


def frame(width: int, height: int, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> Frame:
    return Frame((640, 480), (width, height), (scale, scale), offset)


def shapes(tiles: Any) -> list[tuple[int, int]]:
    return [tile.tokens.shape for tile in tiles]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 14, 28]))
def test_one_picture_of_any_shape(rows: int, columns: int, side: int):
    (tile,) = equal_cells([frame(columns * side, rows * side)], rows * columns)
    np.testing.assert_array_equal(tile.tokens, np.arange(rows * columns).reshape(rows, columns))
    assert tile.box(rows - 1, 0) == pytest.approx((0, (rows - 1) * side, side, side))


def test_cells_are_whole_pixels():
    """SigLIP at 384 px with patches of 14 px: 27 x 27 patches cover 378 px."""
    (tile,) = equal_cells([frame(384, 384)], 27 * 27)
    assert tile.box(26, 26) == pytest.approx((364, 364, 14, 14))


def test_tiles_and_a_thumbnail_of_another_size():
    tiles = equal_cells([frame(32, 32), frame(32, 32), frame(48, 32)], 4 + 4 + 6)
    assert shapes(tiles) == [(2, 2), (2, 2), (2, 3)]
    assert tiles[2].tokens[0, 0] == 8


def test_cells_four_times_as_wide_as_high():
    (tile,) = equal_cells([frame(224, 224)], 64, cell=(1, 4))
    assert tile.tokens.shape == (16, 4)
    assert tile.box(0, 1) == pytest.approx((56, 0, 56, 14))  # METHODS m, oracle 10


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2), st.integers(0, 2))
def test_row_ends_and_edges_cover_nothing(rows: int, columns: int, before: int, after: int):
    marks = Separators(row=1, before=before, after=after)
    count = before + rows * (columns + 1) + after
    (tile,) = equal_cells([frame(columns * 16, rows * 16)], count, separators=marks)
    assert tile.tokens.shape == (rows, columns)
    expected = before + np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)
    np.testing.assert_array_equal(tile.tokens, expected)
    tokens = ImageTokens(np.arange(count), (tile,))
    assert tokens.footprint(before + columns) is None
    assert f"+ {count - rows * columns} that show nothing" in tokens.layout


def test_a_strip_that_merging_leaves_out():
    (tile,) = equal_cells([frame(64, 44)], 40)
    assert tile.tokens.shape == (5, 8)
    assert tile.box(4, 7) == pytest.approx((56, 32, 8, 8))


@pytest.mark.parametrize("count", [7, 13])
def test_numbers_that_fit_no_grid_are_refused(count: int):
    with pytest.raises(ImageTokenMismatch, match=rf"{count} image tokens do not divide .* \(32 x 32, 32 x 32\)"):
        equal_cells([frame(32, 32), frame(32, 32)], count)


def outside(width: int, height: int) -> Frame:
    return Frame.outside((640, 480), (width, height))


def test_tiles_of_padding_have_no_tokens_or_tokens_that_show_nothing():
    """Three tiles of 2 x 2, of which the middle one is padding: 8 tokens are two tiles', 12 are three tiles'."""
    measured = [frame(32, 32), outside(32, 32), frame(32, 32, 2.0)]
    for count, starts in ((8, [0, 4]), (12, [0, 8])):
        tiles = equal_cells(measured, count)
        assert [tile.tokens[0, 0] for tile in tiles] == starts
        assert [tile.frame for tile in tiles] == [measured[0], measured[2]]
    tokens = ImageTokens(np.arange(12), equal_cells(measured, 12))
    assert tokens.layout == "12 = 2 of 2 x 2 + 4 that show nothing"
    assert [tokens.footprint(token) for token in range(4, 8)] == [None] * 4
    assert not tokens.coverage(np.ones((480, 640), dtype=bool))[4:8].any()
    assert tokens.at(700, 500) is None


def test_padding_with_separators_is_stepped_over():
    """Each picture is one mark and two rows of two cells with a row end: 7 tokens."""
    marks = Separators(row=1, before=1)
    tiles = equal_cells([outside(32, 32), frame(32, 32)], 14, separators=marks)
    assert [tile.tokens.tolist() for tile in tiles] == [[[8, 9], [11, 12]]]


def test_a_number_of_tokens_that_fits_with_and_without_padding_is_refused():
    """4 tokens: one tile of 2 x 2, or four tiles of one token each, three of which are padding."""
    with pytest.raises(ImageTokenMismatch, match=r"with and without the 3 of them that are padding: which token shows"):
        equal_cells([frame(32, 32), *[outside(32, 32)] * 3], 4)


def test_a_number_that_fits_neither_is_refused():
    with pytest.raises(ImageTokenMismatch, match=r"7 image tokens do not divide .* \(32 x 32, 32 x 32\)"):
        equal_cells([frame(32, 32), outside(32, 32)], 7)


def test_patches_of_padding_are_left_out():
    patches = [frame(4, 4, 2.0, (8.0 * c, 8.0 * r)) for r in range(4) for c in range(6)]
    assert pictures([*patches, *[outside(4, 4)] * 6], 6, {}) == pictures(patches, 6, {})
    slices = {"target_sizes": torch.tensor([[4, 6]])}
    assert pictures([*patches, outside(4, 4)], 6, slices) == pictures(patches, 6, slices)


def test_patches_that_were_processed_as_pictures_are_joined():
    patches = [frame(4, 4, 2.0, (8.0 * c, 8.0 * r)) for r in range(4) for c in range(6)]
    (joined,) = pictures(patches, 6, {})
    assert joined.processed == (6, 4)
    assert joined.to_source((5, 3, 1, 1)) == pytest.approx((40, 24, 8, 8))
    assert shapes(equal_cells([joined], 6)) == [(2, 3)]
    assert pictures(patches[:3], 12, {}) == patches[:3]


def test_padding_counts_where_the_processor_says_how_large_the_grid_is():
    patches = [frame(4, 4, 2.0, (8.0 * c, 8.0 * r)) for r in range(3) for c in range(5)]
    (joined,) = pictures(patches, 6, {"image_grid_thw": torch.tensor([[1, 4, 6]])})
    assert joined.processed == (6, 4)
    assert joined.to_source((0, 0, 1, 1)) == pytest.approx((0, 0, 8, 8))


def test_padding_counts_where_patches_were_processed_as_one_picture():
    """Glm5-Next pads at the right and below: 23 x 18 patches show the picture, 24 x 18 are merged into 12 x 9."""
    (padded,) = pictures([frame(23, 18, 4.0)], 108, {"image_grid_thw": torch.tensor([[1, 18, 24]])})
    assert padded == frame(24, 18, 4.0)
    (tile,) = equal_cells([padded], 108)
    assert tile.tokens.shape == (9, 12)
    assert tile.box(8, 11) == pytest.approx((88, 64, 8, 8))
    in_pixels = [frame(96, 64)]
    assert pictures(in_pixels, 24, {"image_grid_thw": torch.tensor([[1, 8, 12]])}) == in_pixels


def test_a_number_of_slices_that_is_not_the_patches_is_refused():
    patches = [frame(4, 4, 1.0, (4.0 * c, 0.0)) for c in range(3)]
    with pytest.raises(ImageTokenMismatch, match="the processor counts 4 patches, of which 3 were found"):
        pictures(patches, 3, {"target_sizes": torch.tensor([[2, 2]])})


def test_slices_are_told_apart_by_their_sizes():
    patches = [frame(4, 4, 1.0, (4.0 * c, 4.0 * r)) for r in range(2) for c in range(2)]
    finer = [frame(4, 4, 0.5, (2.0 * c, 2.0 * r)) for r in range(2) for c in range(4)]
    first, second = pictures([*patches, *finer], 3, {"target_sizes": torch.tensor([[2, 2], [2, 4]])})
    assert (first.processed, second.processed) == ((2, 2), (4, 2))


def test_an_overview_and_a_stitched_picture():
    crops = [frame(16, 16, 2.0, (32.0 * c, 0.0)) for c in range(2)]
    overview, detail = two_grids([frame(16, 16, 4.0), *crops], (2, 2, 2, 4))
    assert detail.tokens[0, 0] == 4
    assert detail.box(1, 3) == pytest.approx((48, 16, 16, 16))
    assert overview.box(1, 1) == pytest.approx((32, 32, 32, 32))


class Packer(nn.Module):
    """Stitches two tiles side by side below a thumbnail, drops the last row (padding) and ends rows with a newline."""

    def __init__(self) -> None:
        super().__init__()
        self.image_newline = torch.full((7,), 9.0)

    def get_image_features(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        return self.pack_image_features([torch.zeros(3, 4, 7)], image_newline=self.image_newline)

    def pack_image_features(self, image_features: Any, image_newline: torch.Tensor) -> Any:
        base, left, right = image_features[0]
        fine = torch.cat([left.view(2, 2, -1), right.view(2, 2, -1)], 1)[:1]
        rows = torch.cat([fine, image_newline.expand(1, 1, -1)], 1).flatten(0, 1)
        return [torch.cat([base, rows])], [9]


def test_the_models_own_packing_says_where_tokens_lie():
    packer = Packer()
    model = nn.ModuleDict({"inner": packer})
    assert packing_module(model) is packer
    frames = [frame(8, 8, 8.0), frame(8, 8, 4.0), frame(8, 8, 4.0, (32.0, 0.0))]
    ((base, fine),) = packed_cells(packer, {"pixel_values": torch.zeros(1)}, [frames], [9])
    assert (base.tokens.tolist(), fine.tokens.tolist()) == ([[0, 1], [2, 3]], [[4, 5, 6, 7]])
    assert fine.box(0, 3)[0] == pytest.approx(48)
    assert "pack_image_features" not in vars(packer)
    with pytest.raises(ImageTokenMismatch, match="holds 12 image tokens, the model packs 9"):
        packed_cells(packer, {"pixel_values": torch.zeros(1)}, [frames], [12])
    assert packing_module(nn.Linear(2, 2)) is None


class NeverPacks(Packer):
    def get_image_features(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        return pixel_values


def test_a_model_that_does_not_call_its_packing_is_refused():
    with pytest.raises(ImageTokenMismatch, match="NeverPacks does not pack image features while it computes them"):
        packed_cells(NeverPacks(), {"pixel_values": torch.zeros(1)}, [[frame(8, 8, 8.0)]], [9])


def test_tokens_without_a_place_say_why():
    tokens = ImageTokens(np.arange(32), no_grid="32 queries look at the whole image")
    assert tokens.layout == "32 without a grid: 32 queries look at the whole image"
    for act in (lambda: tokens.footprint(0), lambda: tokens.at(1, 1), lambda: tokens.coverage(np.ones((2, 2), bool))):
        with pytest.raises(NoGrid, match="no place on the image: 32 queries"):
            act()


def test_the_finest_tile_is_asked_first():
    thumbnail, left = equal_cells([frame(2, 2, 32.0), frame(2, 2, 16.0)], 8)
    tokens = ImageTokens(np.arange(8), (thumbnail, left))
    assert tokens.at(5, 5) == 4
    assert tokens.at(60, 60) == 3
    assert tokens.layout == "8 = 2 of 2 x 2"

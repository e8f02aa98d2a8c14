import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.intervene import activations
from neuronscope.tokens import Frame, ImageTokens, Tile
from neuronscope.view.heatmap import Heatmap, heatmap, paint, resample, to_pixels


def tokens_of(rows, columns, size, scale=1.0, offset=(0.0, 0.0)):
    processed = (round(size[0] / scale), round(size[1] / scale))
    return ImageTokens.single(
        np.arange(rows * columns), (rows, columns), Frame(size, processed, (scale, scale), offset)
    )


def test_half_pixel_oracle():
    """METHODS (m) oracle 11: 16 x 4 to 224 x 224."""
    grid = np.zeros((16, 4))
    grid[0, 0] = 1
    up = to_pixels(grid, tokens_of(16, 4, (224, 224)).tiles[0].frame)
    found = [up[0, 0], up[7, 28], up[13, 55], up[14, 56]]
    assert found == pytest.approx([1, 0.955676, 0.272640, 0.227997], abs=1e-6)


@pytest.mark.parametrize(("rule", "expected"), [("half_pixel", [0, 0.25, 0.75, 1]), ("pan", [0, 0.5, 1, 1.5])])
def test_one_dimensional_oracle(rule, expected):
    up = resample(np.array([[0.0, 1.0]]), (np.arange(4) + 0.5) / 2, 1, rule)
    assert up[0].tolist() == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(8, 70), st.integers(8, 70))
def test_footprint_equals_the_token_under_each_pixel(rows, columns, width, height):
    tokens = tokens_of(rows, columns, (width, height))
    grid = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    up = to_pixels(grid, tokens.tiles[0].frame, "footprint")
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        assert up[y, x] == tokens.at(x + 0.5, y + 0.5)


def test_a_constant_grid_stays_constant_and_normalises_to_zero():
    up = to_pixels(np.full((3, 5), 2.5), tokens_of(3, 5, (50, 30)).tiles[0].frame)
    assert np.allclose(up, 2.5)
    heat = Heatmap(up, (np.full((3, 5), 2.5),), Image.new("RGB", (50, 30)), ns.Neurons.of([(0, 0)]))
    assert not heat.normalised().any()


def test_cropped_pixels_have_no_value(vlm):
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 100, 3), dtype=np.uint8))
    heat = heatmap(vlm, wide, ns.Neurons.of([(1, 2), (0, 7)]))
    assert heat.values.shape == (40, 100)
    assert np.isnan(heat.values[:, :25]).all()
    assert not np.isnan(heat.values[:, 35:65]).any()
    assert heat.mask().sum() <= 0.05 * (~np.isnan(heat.values)).sum() + 1


def test_percentile_mask_oracle():
    """METHODS (m) oracle 12: values 1..20, q = 0.95 keeps one pixel."""
    values = np.arange(1, 21, dtype=float).reshape(4, 5)
    heat = Heatmap(values, (values,), Image.new("RGB", (5, 4)), ns.Neurons.of([(0, 0)]))
    assert np.argwhere(heat.mask(0.95)).tolist() == [[3, 4]]
    with pytest.raises(InvalidOption):
        heat.mask(1.5)


def test_the_five_largest_differences_are_averaged(vlm, picture):
    members = [(0, u) for u in range(8)]
    scored = ns.Neurons(tuple(ns.Neuron(*m) for m in members), {"activation": tuple(float(u) for u in range(8))})
    heat = heatmap(vlm, picture, scored)
    assert [n.unit for n in heat.neurons] == [7, 6, 5, 4, 3]
    expected = activations(vlm, picture, ns.Neurons.of(members[3:])).mean(1)
    np.testing.assert_allclose(heat.grids[0].ravel(), expected, rtol=1e-5)


def test_overlay_draws_the_box_and_save_writes_a_picture(vlm, picture, tmp_path):
    heat = heatmap(vlm, picture, ns.Neurons.of([(1, 2)]))
    plain, boxed = np.asarray(heat.overlay()), np.asarray(heat.overlay([(10, 8, 20, 16)]))
    changed = np.argwhere((plain != boxed).any(-1))
    assert changed.min(0).tolist() == [8, 10]
    assert changed.max(0).tolist() == [23, 29]
    heat.save(tmp_path / "map.png")
    assert Image.open(tmp_path / "map.png").size == picture.size


def test_bad_requests(vlm, picture):
    with pytest.raises(InvalidOption, match="empty set"):
        heatmap(vlm, picture, ns.Neurons(()))
    with pytest.raises(InvalidOption, match="half_pixel, pan, footprint"):
        heatmap(vlm, picture, ns.Neurons.of([(0, 0)]), resize="nearest")


def test_a_map_of_many_tiles_and_its_overlay_take_no_more_memory_than_one():
    width, height, tiles = 800, 600, 24
    frame = Frame((width, height), (24, 18), (width / 24, height / 18), (0.0, 0.0))
    peaks = []
    for count in (1, tiles):
        shown = [Tile(np.arange(4).reshape(2, 2) + 4 * k, frame) for k in range(count)]
        tokens = ImageTokens(np.arange(4 * count), tuple(shown))
        tracemalloc.start()
        found = paint(np.arange(4.0 * count), tokens, Image.new("RGB", (width, height)), ns.Neurons.of([(0, 0)]))
        assert found.overlay().size == (width, height)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert max(peaks) < 50 * width * height


def test_the_overlay_mixes_picture_and_colour():
    values = np.linspace(0, 1, 48).reshape(6, 8)
    picture = Image.fromarray(np.full((6, 8, 3), 200, np.uint8))
    import matplotlib

    expected = matplotlib.colormaps["viridis"](values)[..., :3] * 255
    for alpha in (0.0, 0.5, 1.0):
        mixed = np.asarray(Heatmap(values, (values,), picture, ns.Neurons.of([(0, 0)])).overlay(alpha=alpha))
        assert np.abs(mixed - ((1 - alpha) * 200 + alpha * expected)).max() <= 1.5

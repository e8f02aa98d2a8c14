"""Pictures that leave whole tiles of the processor's canvas empty, where those tiles have tokens all the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.check import scores
from neuronscope.intervene import activations
from neuronscope.loading.checks import common as parts
from neuronscope.loading.checks import image as checks
from neuronscope.view.heatmap import paint
from zoo import ZOO

#: (width, height) -> rows and columns of tiles of 24 px, and how many of them show the picture.
SIZES = {
    (64, 64): ((2, 3), 4),
    (60, 90): ((2, 3), 4),
    (64, 80): ((2, 3), 4),
    (33, 100): ((3, 2), 3),
    (150, 40): ((2, 3), 3),
    (96, 64): ((2, 3), 6),
    (29, 83): ((3, 2), 6),  # the right column of tiles shows one column of pixels
}


@pytest.fixture(scope="module")
def llama4() -> ns.VLM:
    return ns.load(ZOO["llama4"].build(), check=False)


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_positions_are_the_models_own_and_tokens_of_padding_show_nothing(llama4: ns.VLM, size: tuple[int, int]):
    """By hand: the picture is scaled to fit the canvas, so tile (r, c) begins at source pixel (24 c, 24 r) / scale."""
    (rows, columns), filled = SIZES[size]
    inputs = llama4.prepare([noise(size)])
    tokens = inputs.images[0]
    assert tokens.count == 9 * (rows * columns + 1) == 9 * inputs.tensors["pixel_values"].shape[0]
    scale = min(24 * rows / size[1], 24 * columns / size[0])
    *details, whole = tokens.tiles
    assert len(details) == filled
    for tile in details:
        number = int(tile.tokens[0, 0]) // 9
        assert tile.tokens.ravel().tolist() == list(range(9 * number, 9 * number + 9))
        corner = (24 * (number % columns) / scale, 24 * (number // columns) / scale)
        assert corner[0] < size[0]
        assert corner[1] < size[1]
        assert tile.frame.offset == pytest.approx(corner, abs=1.5 / scale)
    assert whole.box(0, 0) == pytest.approx((0, 0, size[0] / 3, size[1] / 3), abs=0.5)
    placed = {int(token) for tile in tokens.tiles for token in tile.tokens.ravel()}
    for token in set(range(tokens.count)) - placed:
        assert tokens.footprint(token) is None
    shares = tokens.coverage(np.ones(size[::-1], dtype=bool))
    assert set(np.nonzero(shares)[0]) <= placed


@pytest.mark.parametrize("size", SIZES)
def test_a_heat_map_gives_padding_no_weight(llama4: ns.VLM, size: tuple[int, int]):
    tokens = llama4.prepare([noise(size)]).images[0]
    placed = np.zeros(tokens.count, dtype=bool)
    for tile in tokens.tiles:
        placed[tile.tokens] = True
    neurons = parts.some_neurons(llama4)[:3]
    heat = ns.heatmap(llama4, noise(size), neurons)
    assert heat.values.shape == size[::-1]
    assert np.isfinite(heat.values).all()
    values = activations(llama4, noise(size), neurons).mean(1).astype(np.float64)
    changed = paint(np.where(placed, values, 1e6), tokens, noise(size), neurons)
    np.testing.assert_allclose(changed.values, heat.values)


@pytest.mark.parametrize("size", [(64, 64), (60, 90), (33, 100), (150, 40)])
def test_a_coloured_square_moves_the_token_that_it_covers(llama4: ns.VLM, size: tuple[int, int]):
    plain = np.asarray(noise(size)) // 4 + 96
    assert checks._squares(llama4, [plain])[0].above >= 0.85


def test_among_several_images_each_keeps_its_map(llama4: ns.VLM):
    alone = [llama4.prepare([noise(size)]).images[0] for size in ((64, 64), (150, 40))]
    tokens = llama4.prepare([[noise((64, 64)), noise((150, 40))]]).images[0]
    assert tokens.counts == (63, 63)
    for image, own in enumerate(alone):
        found = tokens.of(image)
        assert [tile.tokens.tolist() for tile in found.tiles] == [tile.tokens.tolist() for tile in own.tiles]
        assert [tile.frame for tile in found.tiles] == [tile.frame for tile in own.tiles]


@pytest.mark.parametrize("size", [(64, 64), (60, 90)])
def test_the_checks_hold_on_such_pictures(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    vlm = ns.load(ZOO["llama4"].build(), check=False)
    vlm.family = dataclasses.replace(vlm.family, listed=False)
    usual = checks.noise_picture
    monkeypatch.setattr(checks, "noise_picture", lambda _size=(96, 64), seed=0: usual(size, seed))
    monkeypatch.setattr(scores, "noise_picture", checks.noise_picture)
    monkeypatch.setattr(checks, "_faint", lambda _size=(96, 64), seed=0: np.asarray(usual(size, seed)) // 4 + 96)
    for check in (checks.check_coloured_patch, checks.check_several_images, scores.check_heatmap):
        outcome = check(vlm)
        assert not isinstance(outcome, parts.NotApplicable)
        assert outcome[1], outcome[0]

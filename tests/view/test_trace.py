"""Tracing neurons back to the vision tower's patches, where image tokens have no place on the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import ImageTokenMismatch, NoGrid, NoImagePositions
from neuronscope.evaluate import planted
from neuronscope.held import hooked
from neuronscope.samples.scenes import render, sample_scene
from neuronscope.view.trace import (
    _activations,
    gradient_from_grey,
    input_times_gradient,
    occlusion,
    patch_places,
    traced,
    vision_layers,
)
from zoo import ZOO

NEURONS = ns.Neurons.of([(0, 3), (1, 7), (1, 20)])
QUERIED = ["blip-2", "instructblip", "idefics2", "kosmos-2", "kosmos-2.5", "minigpt4-2"]


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", QUERIED)
def test_input_times_gradient_is_the_effect_of_making_a_patch_a_little_stronger(queried, noise, name: str):
    vlm = queried[name]
    values, patches = input_times_gradient(vlm, noise, NEURONS)
    assert patches.tiles
    assert np.abs(values).max() > 0
    inputs = vlm.prepare([noise])
    clean = _activations(vlm, inputs, NEURONS)

    def y(patch: int, factor: float) -> float:
        def stronger(_module, args, kwargs):
            features = (args[0] if args else kwargs["hidden_states"]).clone()
            per_picture = len(values) // features.shape[0]
            picture, place = divmod(patch, per_picture)
            features[picture, place + features.shape[1] - per_picture] *= factor  # after CLS, if there is one
            return ((features, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": features})

        handle = vision_layers(vlm)[0].register_forward_pre_hook(stronger, with_kwargs=True)
        try:
            return float((clean * _activations(vlm, inputs, NEURONS)).double().sum()) / len(NEURONS)
        finally:
            handle.remove()

    largest = float(np.abs(values).max())
    for patch in np.argsort(-np.abs(values))[:3].tolist():
        measured = (y(patch, 1.01) - y(patch, 0.99)) / 0.02
        assert measured == pytest.approx(float(values[patch]), rel=0.05, abs=0.01 * largest)


def test_the_heat_map_of_a_model_with_queries_is_traced(queried, noise):
    vlm = queried["blip-2"]
    with pytest.raises(NoGrid, match="no place on the image: a fixed number of learned queries"):
        ns.heatmap(vlm, noise, NEURONS, trace="tokens")
    heat = ns.heatmap(vlm, noise, NEURONS)
    assert heat.values.shape == (64, 64)
    values, _ = gradient_from_grey(vlm, noise, NEURONS)
    np.testing.assert_allclose(heat.grids[0].ravel(), values, rtol=1e-5)
    plain = ns.heatmap(vlm, noise, NEURONS, trace="gradient").grids[0].ravel()
    np.testing.assert_allclose(plain, input_times_gradient(vlm, noise, NEURONS)[0], rtol=1e-5)
    assert not np.allclose(plain, values)


@pytest.mark.parametrize("name", QUERIED)
def test_the_way_to_grey_is_what_the_gradient_says_it_changes(queried, noise, name: str):
    """A small step of one patch from its features towards those of a grey picture, by finite differences."""
    vlm = queried[name]
    values, _ = gradient_from_grey(vlm, noise, NEURONS)
    inputs, grey = vlm.prepare([noise]), vlm.prepare([Image.new("RGB", noise.size, (128,) * 3)])
    clean, layer = _activations(vlm, inputs, NEURONS), vision_layers(vlm)[0]
    held: list[torch.Tensor] = []
    with hooked(layer, "before", lambda _m, a, k: held.append((a[0] if a else k["hidden_states"]).detach())):
        _activations(vlm, grey, NEURONS)

    def y(patch: int, step: float) -> float:
        def moved(_module, args, kwargs):
            features = (args[0] if args else kwargs["hidden_states"]).clone()
            per_picture = len(values) // features.shape[0]
            picture, place = divmod(patch, per_picture)
            at = picture, place + features.shape[1] - per_picture
            features[at] += step * (features[at] - held[0][at])
            return ((features, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": features})

        with hooked(layer, "before", moved):
            return float((clean * _activations(vlm, inputs, NEURONS)).double().sum()) / len(NEURONS)

    largest = float(np.abs(values).max())
    for patch in np.argsort(-np.abs(values))[:3].tolist():
        measured = (y(patch, 0.01) - y(patch, -0.01)) / 0.02
        assert measured == pytest.approx(float(values[patch]), rel=0.05, abs=0.01 * largest)


def test_occlusion_is_the_drop_when_a_patch_turns_grey(queried, noise):
    vlm = queried["idefics2"]
    _, patches = input_times_gradient(vlm, noise, NEURONS)
    drops = occlusion(vlm, noise, NEURONS, patches, batch_size=5)
    np.testing.assert_allclose(drops, occlusion(vlm, noise, NEURONS, patches, batch_size=32), rtol=1e-3, atol=1e-5)
    x, y, w, h = (round(v) for v in patches.footprint(1))
    pixels = np.asarray(noise).copy()
    pixels[y : y + h, x : x + w] = 128
    with torch.no_grad():
        full = traced(vlm, vlm.prepare([noise]), NEURONS)
    assert drops[1] != 0
    assert abs(drops[1]) < 10 * abs(float(full))
    assert ns.heatmap(vlm, noise, NEURONS, trace="occlusion").grids[0].shape == patches.tiles[0].tokens.shape


def test_occlusion_finds_the_object_that_planted_neurons_answer_to(demo: ns.VLM):
    scene = sample_scene(10_000_123, count=1)
    picture, concept = render(scene), scene.concepts[0]
    neurons = planted(demo)[concept]
    _, patches = input_times_gradient(demo, picture.image, neurons)
    drops = occlusion(demo, picture.image, neurons, patches)
    cover = patches.coverage(picture.masks[concept])
    assert cover[drops.argmax()] > 0.25
    assert drops[cover > 0.5].mean() > 2 * np.abs(drops[cover == 0]).mean()


def test_patches_that_begin_with_their_row_and_column_lie_where_their_pixels_are(queried):
    """30 patches of 8 px at most: a picture of 80 x 40 px is stretched to 3 rows of 7, and 9 are padding."""
    vlm = queried["kosmos-2.5"]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    before, where = patch_places(vlm, Image.fromarray(pixels), (1, 30))
    assert (before, where.count, where.tiles[0].tokens.shape) == (0, 30, (3, 7))
    assert where.tiles[0].tokens.ravel().tolist() == list(range(21))
    with pytest.raises(ImageTokenMismatch, match="image token 30 does not exist; there are 30"):
        where.footprint(30)

    def patches(values: np.ndarray) -> torch.Tensor:
        return vlm.prepare([Image.fromarray(values)]).tensors["flattened_patches"][0]

    clean = patches(pixels)
    for patch in (0, 6, 9, 20):
        x, y, w, h = (round(v) for v in where.footprint(patch))
        changed = pixels.copy()
        changed[y + 2 : y + h - 2, x + 2 : x + w - 2] ^= 255
        assert (patches(changed) - clean).abs().sum(1).argmax() == patch
    assert where.footprint(21) is None


def test_a_model_without_image_positions_is_refused(noise):
    with pytest.raises(NoImagePositions):
        ns.heatmap(ns.load(ZOO["git"].build()), noise, NEURONS)

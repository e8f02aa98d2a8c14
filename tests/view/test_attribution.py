"""Tracing neurons back to the vision tower's patches, where image tokens have no place on the image."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import NoGrid, NoImagePositions
from neuronscope.view.attribution import _last_vision_layer, input_times_gradient, occlusion, traced

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from zoo import ZOO

NEURONS = ns.Neurons.of([(0, 3), (1, 7), (1, 20)])


@pytest.fixture(scope="module")
def queried() -> dict[str, ns.VLM]:
    return {
        name: ns.load(ZOO[name].build()) for name in ("blip-2", "instructblip", "idefics2", "kosmos-2", "minigpt4-2")
    }


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["blip-2", "instructblip", "idefics2", "kosmos-2", "minigpt4-2"])
def test_input_times_gradient_is_the_effect_of_making_a_patch_a_little_stronger(queried, noise, name: str):
    vlm = queried[name]
    values, patches = input_times_gradient(vlm, noise, NEURONS)
    assert patches.tiles
    assert np.abs(values).max() > 0
    inputs = vlm.prepare([noise])
    skipped = None
    for patch in np.argsort(-np.abs(values))[:3]:
        pair = []
        for factor in (1.003, 0.997):

            def stronger(_module, _args, output, patch=int(patch), factor=factor):
                nonlocal skipped
                features = (output[0] if isinstance(output, tuple) else output).clone()
                skipped = features.numel() // features.shape[-1] - len(values)
                tile, place = divmod(patch, len(values) // features.shape[0])
                features[tile, place + skipped // features.shape[0]] *= factor
                return (features, *output[1:]) if isinstance(output, tuple) else features

            handle = _last_vision_layer(vlm).register_forward_hook(stronger)
            with torch.no_grad():
                pair.append(_y(vlm, inputs, noise))
            handle.remove()
        assert (pair[0] - pair[1]) / 0.006 == pytest.approx(values[patch], rel=0.05, abs=1e-3 * np.abs(values).max())


def _y(vlm: ns.VLM, inputs, noise: Image.Image) -> float:
    """sum_q a_q(clean) a_q(now) / n, the factor of weights from a clean run held fixed."""
    from neuronscope.view import attribution

    now = attribution._activations(vlm, inputs, NEURONS)
    if not hasattr(_y, "clean") or _y.clean[0] is not vlm:  # type: ignore[attr-defined]
        hooks = dict(_last_vision_layer(vlm)._forward_hooks)
        _last_vision_layer(vlm)._forward_hooks.clear()
        _y.clean = (vlm, attribution._activations(vlm, inputs, NEURONS))  # type: ignore[attr-defined]
        _last_vision_layer(vlm)._forward_hooks.update(hooks)
    return float((_y.clean[1] * now).sum().double()) / len(NEURONS)  # type: ignore[attr-defined]


def test_the_heat_map_of_a_model_with_queries_is_traced(queried, noise):
    vlm = queried["blip-2"]
    with pytest.raises(NoGrid, match="no place on the image: a fixed number of learned queries"):
        ns.heatmap(vlm, noise, NEURONS, trace="tokens")
    heat = ns.heatmap(vlm, noise, NEURONS)
    assert heat.values.shape == (64, 64)
    values, _ = input_times_gradient(vlm, noise, NEURONS)
    np.testing.assert_allclose(heat.grids[0].ravel(), values, rtol=1e-5)


def test_occlusion_is_the_drop_when_a_patch_turns_grey(queried, noise):
    vlm = queried["idefics2"]
    _, patches = input_times_gradient(vlm, noise, NEURONS)
    drops = occlusion(vlm, noise, NEURONS, patches, batch_size=5)
    np.testing.assert_allclose(drops, occlusion(vlm, noise, NEURONS, patches, batch_size=1), rtol=1e-3, atol=1e-5)
    x, y, w, h = (round(v) for v in patches.footprint(1))
    pixels = np.asarray(noise).copy()
    pixels[y : y + h, x : x + w] = 128
    with torch.no_grad():
        full = traced(vlm, vlm.prepare([noise]), NEURONS)
    assert drops[1] != 0
    assert abs(drops[1]) < 10 * abs(float(full))
    assert ns.heatmap(vlm, noise, NEURONS, trace="occlusion").grids[0].shape == patches.tiles[0].tokens.shape


def test_on_a_model_with_a_grid_gradient_and_occlusion_agree_about_the_patches(demo: ns.VLM):
    """The bundled model's planted neurons answer to the object's patches, whichever way they are traced."""
    from neuronscope.evaluate import planted
    from neuronscope.samples.scenes import render, sample_scene

    scene = sample_scene(10_000_123, count=1)
    picture, concept = render(scene), scene.concepts[0]
    neurons = planted(demo)[concept]
    values, patches = input_times_gradient(demo, picture.image, neurons)
    drops = occlusion(demo, picture.image, neurons, patches)
    cover = patches.coverage(picture.masks[concept])
    assert values[cover > 0.5].mean() > 3 * np.abs(values[cover == 0]).mean()
    assert drops[cover > 0.5].mean() > 3 * np.abs(drops[cover == 0]).mean()
    ranks = [np.argsort(np.argsort(v)) for v in (values, drops)]
    assert np.corrcoef(*ranks)[0, 1] > 0.3


def test_a_model_without_image_positions_is_refused(noise):
    with pytest.raises(NoImagePositions):
        ns.heatmap(ns.load(ZOO["mllama"].build()), noise, NEURONS)

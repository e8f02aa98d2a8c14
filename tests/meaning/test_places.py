"""A heat map is compared with the object beside the maps of random neurons."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate import planted
from neuronscope.meaning import MapPlace, localise, place, random_control
from neuronscope.samples.scenes import render, sample_scene
from neuronscope.view.heatmap import heatmap, heatmaps


def box_mask(size: tuple[int, int] = (60, 44)) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[5:25, 10:40] = True
    return mask


def test_it_is_the_random_control_with_the_same_seed(vlm, picture):
    neurons = ns.Neurons.of([(0, 1), (2, 7), (2, 9), (3, 3), (1, 8), (1, 1), (0, 40)])
    heat = heatmap(vlm, picture, neurons)
    found = place(vlm, picture, neurons, heat, box_mask(), draws=5, seed=3)
    control = random_control(vlm, picture, neurons, box_mask(), 5, 3)
    own = localise(heat, box_mask())
    assert found.found["energy"] == own.energy
    assert found.random == {name: control.mean[name] for name in found.random}
    assert found.p["iou_area"] == control.p_value(own, "iou_area")
    assert (found.draws, found.neurons, found.object_share) == (5, 5, own.object_share)
    assert MapPlace.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("trace", ["auto", "tokens"])
@pytest.mark.parametrize("site", ["neuron", "act"])
def test_maps_of_many_sets_are_those_of_each(vlm, picture, trace, site):
    sets = [ns.Neurons.of([(0, 1), (2, 7)], site=site), ns.Neurons.of([(2, 7)]), ns.Neurons.of([(3, 3), (0, 1)])]
    together = heatmaps(vlm, picture, sets, trace=trace)
    for one, neurons in zip(together, sets, strict=True):
        np.testing.assert_allclose(one.values, heatmap(vlm, picture, neurons, trace=trace).values, rtol=1e-5, atol=1e-7)
        assert one.neurons == neurons


@pytest.mark.parametrize("concept", ["bear", "bus", "pizza", "horse", "clock"])
def test_planted_neurons_see_their_object(demo, concept):
    rendered = render(sample_scene(71_000_003, concepts=(concept,)))
    truth = planted(demo)[concept]
    heat = heatmap(demo, rendered.image, truth, top=len(truth))
    found = place(demo, rendered.image, truth, heat, rendered.masks[concept], draws=20)
    assert found.found["iou_area"] > 2 * found.random["iou_area"]
    assert found.p["iou_area"] < 0.12


def test_what_cannot_be_compared(make_vlm, picture):
    vlm = make_vlm(layers=2, d_ff=8)
    neurons = ns.Neurons.of((0, unit) for unit in range(6))
    heat = heatmap(vlm, picture, neurons)
    with pytest.raises(InvalidOption, match="layer 0 has only 2 neurons"):
        place(vlm, picture, neurons, heat, box_mask())
    with pytest.raises(InvalidOption, match="draws=0"):
        place(vlm, picture, neurons[:2], heatmap(vlm, picture, neurons[:2]), box_mask(), draws=0)
    with pytest.raises(InvalidSample, match="mask is empty"):
        place(vlm, picture, neurons[:2], heat, np.zeros_like(box_mask()))


def test_chance_is_called_chance():
    at = dict.fromkeys(("iou_area", "pointing", "energy"), 0.2)
    worse = MapPlace(at, at, dict.fromkeys(at, 0.5), 20, 0.2, 5)
    assert not worse.better
    assert "is not told apart from 20 maps of random neurons" in worse.sentence
    better = dataclasses.replace(worse, p=dict.fromkeys(at, 0.01))
    assert better.better
    assert "is better than 20 maps of random neurons" in better.sentence


@pytest.mark.parametrize("side", [1, 2, 3, 40])
def test_small_objects_in_large_pictures_are_not_missed(vlm, side):
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (900, 1100, 3), dtype=np.uint8))
    mask = np.zeros((900, 1100), dtype=bool)
    mask[301 : 301 + side, 701 : 701 + side] = True
    neurons = ns.Neurons.of([(0, 1), (2, 7)])
    found = place(vlm, picture, neurons, heatmap(vlm, picture, neurons), mask, draws=3)
    assert found.object_share == pytest.approx(mask.mean(), rel=1.0)

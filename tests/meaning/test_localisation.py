import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate import planted
from neuronscope.meaning.localisation import (
    Localisation,
    RandomControl,
    dataset_cut,
    energy,
    iou,
    largest,
    localise,
    points_at,
    random_control,
)
from neuronscope.samples.scenes import render, sample_scene
from neuronscope.view.heatmap import Heatmap, heatmap

FOUR = np.arange(16, dtype=float).reshape(4, 4)
CORNER = np.zeros((4, 4), dtype=bool)
CORNER[2:, 2:] = True  # values 10, 11, 14, 15


def heat(values):
    height, width = values.shape
    return Heatmap(values, (values,), Image.new("RGB", (width, height)), ns.Neurons.of([(0, 0)]))


def box(shape, rows, columns):
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_percentile_oracle():
    """METHODS (m) oracle 12: values 1..20, q = 0.95, linear: the cut is 19.05 and one pixel is kept, by both rules."""
    values = np.arange(1, 21, dtype=float).reshape(4, 5)
    last = box((4, 5), (3, 4), (4, 5))
    cut = dataset_cut([heat(values)], 0.95)
    assert cut == pytest.approx(19.05)
    found = localise(heat(values), last, quantile=0.95, dataset_cut=cut)
    assert (found.iou_per_image, found.iou_dataset, found.iou_area) == (1, 1, 1)
    wide = localise(heat(values), np.ones((4, 5), dtype=bool), dataset_cut=cut)
    assert wide.iou_per_image == wide.iou_dataset == pytest.approx(1 / 20)


def test_four_by_four_by_hand():
    """Object {10, 11, 14, 15}. q = 0.75: cut 11.25, M = {12..15}. Data set cut 9.5: M = {10..15}."""
    found = localise(heat(FOUR), CORNER, quantile=0.75, dataset_cut=9.5)
    assert found.iou_per_image == pytest.approx(2 / 6)
    assert found.iou_dataset == pytest.approx(4 / 6)
    assert found.iou_area == pytest.approx(2 / 6)  # the four largest are 12..15 as well
    assert found.pointing is True
    assert found.energy == pytest.approx(50 / 120)
    assert found.object_share == 0.25
    assert found.object_seen == 1
    assert (found.quantile, found.dataset_cut, found.tolerance) == (0.75, 9.5, 0)
    assert localise(heat(FOUR), CORNER).iou_dataset is None


def test_cuts_are_strict():
    """A pixel that equals the cut is not above it."""
    assert localise(heat(FOUR), CORNER, quantile=1.0).iou_per_image == 0
    assert localise(heat(FOUR), CORNER, dataset_cut=14.0).iou_dataset == pytest.approx(1 / 4)


def test_a_perfect_map_is_perfect_by_area_only():
    """Half the picture: the per-image rule cannot pass 0.05 / 0.5, which is why it must not stand alone."""
    mask = box((20, 20), (0, 10), (0, 20))
    rng = np.random.default_rng(0)
    found = localise(heat(mask + 0.5 * rng.random((20, 20))), mask)
    assert found.iou_area == 1
    assert found.iou_per_image == pytest.approx(0.05 / 0.5)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 399))
def test_the_bound_of_the_per_image_rule(seed, size):
    """IoU <= min(a, .05) / max(a, .05), with distinct values and a number of pixels that 0.05 divides."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(400).astype(float).reshape(20, 20)
    order = rng.permutation(400) if seed % 2 else np.argsort(-values, axis=None)  # any object, or the best possible
    mask = np.zeros(400, dtype=bool)
    mask[order[:size]] = True
    found = localise(heat(values), mask.reshape(20, 20))
    bound = min(size / 400, 0.05) / max(size / 400, 0.05)
    assert found.iou_per_image <= bound + 1e-12
    if not seed % 2:
        assert found.iou_per_image == pytest.approx(bound)
        assert found.iou_area == 1


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_masks_agree_with_sets_of_pixels(seed):
    """Everything once more with plain Python sets, ties and pixels without value included."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, (5, 6)).astype(float)
    values[rng.random((5, 6)) < 0.2] = np.nan
    mask = rng.random((5, 6)) < 0.4
    seen = {(y, x): values[y, x] for y in range(5) for x in range(6) if not np.isnan(values[y, x])}
    target = {p for p in seen if mask[p]}
    if not target or len(set(seen.values())) < 2:
        return
    found = localise(heat(values), mask, quantile=0.6, dataset_cut=0.5)
    jaccard = lambda m: len(m & target) / len(m | target)  # noqa: E731
    cut = np.quantile(list(seen.values()), 0.6)
    ranked = sorted(seen, key=lambda p: (-seen[p], p))
    assert found.iou_per_image == pytest.approx(jaccard({p for p in seen if seen[p] > cut}))
    assert found.iou_dataset == pytest.approx(jaccard({p for p in seen if seen[p] > 0.5}))
    assert found.iou_area == pytest.approx(jaccard(set(ranked[: len(target)])))
    assert found.pointing == (ranked[0] in target)
    total = sum(max(v, 0) for v in seen.values())
    assert found.energy == pytest.approx(sum(max(seen[p], 0) for p in target) / total if total else 0)
    assert found.object_share == pytest.approx(len(target) / len(seen))
    assert found.object_seen == pytest.approx(len(target) / mask.sum())


def test_ties_go_to_the_first_pixel():
    values = np.array([[0.0, 2.0], [2.0, 2.0]])
    assert largest(values, 2).tolist() == [[False, True], [True, False]]
    assert points_at(values, box((2, 2), (0, 1), (1, 2)))
    assert not points_at(values, box((2, 2), (1, 2), (0, 2)))


def test_pointing_game_with_tolerance():
    """The largest pixel is at (0, 0); the nearest of the object's at (3, 4), which is 5 away."""
    values = np.zeros((6, 6))
    values[0, 0] = 1
    mask = box((6, 6), (3, 6), (4, 6))
    assert [localise(heat(values), mask, tolerance=t).pointing for t in (0, 4.9, 5)] == [False, False, True]


def test_energy_counts_positive_mass_only():
    values = np.array([[3.0, -100.0], [1.0, np.nan]])
    assert energy(values, box((2, 2), (0, 1), (0, 2))) == pytest.approx(3 / 4)
    assert energy(-np.abs(np.nan_to_num(values)), box((2, 2), (0, 1), (0, 2))) == 0


def test_cropped_pixels_count_for_neither():
    """The object lies half in what was cropped: the other half is all of it, and the quantile knows only that side."""
    values = np.where(np.arange(8) < 4, np.nan, np.arange(8.0))[None].repeat(8, 0)
    values[2, 5] = 9.0
    mask = box((8, 8), (2, 3), (2, 6))  # seen: (2, 4) and (2, 5)
    found = localise(heat(values), mask, quantile=0.5, dataset_cut=8.0)
    assert (found.object_share, found.object_seen) == (2 / 32, 0.5)
    assert found.iou_dataset == 1 / 2
    assert found.pointing
    visible = localise(heat(values[:, 4:].copy()), mask[:, 4:].copy(), quantile=0.5, dataset_cut=8.0)
    assert dataclasses.replace(found, object_seen=1.0) == visible
    assert dataset_cut([heat(values)], 0.5) == dataset_cut([heat(values[:, 4:].copy())], 0.5)


def test_a_constant_map_points_nowhere():
    found = localise(heat(np.full((4, 4), 2.0)), box((4, 4), (0, 1), (0, 4)), dataset_cut=1.0)
    assert (found.iou_per_image, found.iou_dataset, found.iou_area, found.pointing) == (0, 0, 0, False)
    assert found.energy == found.object_share == 0.25


def test_the_data_set_cut_pools_pixels():
    maps = [heat(FOUR), heat(np.full((2, 4), 100.0))]
    assert dataset_cut(maps, 0.5) == np.quantile([*range(16), *[100] * 8], 0.5)
    assert dataset_cut(maps[::-1], 0.9) == 100


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((4, 5), dtype=bool), "mask is 4 x 5, the heat map 4 x 4"),
        (np.zeros((4, 4), dtype=bool), "mask is empty"),
        (box((4, 4), (0, 1), (0, 4)), "cropped the whole object away"),
    ],
)
def test_unusable_masks(mask, message):
    values = FOUR.copy()
    values[0] = np.nan
    with pytest.raises(InvalidSample, match=message):
        localise(heat(values), mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 1.5}, "quantile=1.5"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"dataset_cut": float("inf")}, "dataset_cut=inf"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises(InvalidOption, match=message):
        localise(heat(FOUR), CORNER, **options)


def test_a_cut_needs_maps():
    with pytest.raises(InvalidOption, match="at least one"):
        dataset_cut([])
    with pytest.raises(InvalidOption, match="quantile=2"):
        dataset_cut([heat(FOUR)], 2)


def test_iou_of_nothing():
    nothing = np.zeros((2, 2), dtype=bool)
    assert iou(nothing, nothing) == 0


@pytest.fixture
def located():
    """Six neurons, of which the five with the largest differences lie in layers 1, 2, 2, 3, 3."""
    members = [ns.Neuron(0, 5), ns.Neuron(1, 3), ns.Neuron(2, 0), ns.Neuron(2, 9), ns.Neuron(3, 1), ns.Neuron(3, 2)]
    return ns.Neurons(tuple(members), {"activation": (0.1, 5.0, 4.0, 3.0, 2.0, 1.0)})


def test_random_control_is_matched_to_what_is_shown_and_repeats(vlm, picture, located):
    mask = box((44, 60), (10, 30), (10, 40))
    control = random_control(vlm, picture, located, mask, draws=4, seed=3)
    assert [len(c) for c in (control.draws, control.neurons)] == [4, 4]
    for random in control.neurons:
        assert {layer: len(units) for layer, units in random.by_layer().items()} == {1: 1, 2: 2, 3: 2}
        assert not set(random) & set(located)
    assert len({random.members for random in control.neurons}) == 4
    assert control == random_control(vlm, picture, located, mask, draws=4, seed=3)
    assert control.neurons != random_control(vlm, picture, located, mask, draws=4, seed=4).neurons
    assert control.draws[0] == localise(heatmap(vlm, picture, control.neurons[0]), mask)


def test_random_control_passes_the_settings_on(vlm, picture, located):
    mask = box((44, 60), (10, 30), (10, 40))
    control = random_control(
        vlm, picture, located, mask, 1, top=2, resize="footprint", quantile=0.8, dataset_cut=0.0, tolerance=3.0
    )
    assert {layer: len(units) for layer, units in control.neurons[0].by_layer().items()} == {1: 1, 2: 1}
    expected = heatmap(vlm, picture, control.neurons[0], resize="footprint")
    assert control.draws == (localise(expected, mask, quantile=0.8, dataset_cut=0.0, tolerance=3.0),)


def test_means_and_p_values():
    """Three draws 0.1, 0.3, 0.5: two do at least as well as 0.3, so p = (1 + 2) / (1 + 3)."""
    made = [Localisation(v, None, v, v > 0.2, v, 0.2, 1.0, 0.95, None, 0.0) for v in (0.1, 0.3, 0.5)]
    control = RandomControl(tuple(made), (ns.Neurons.of([(0, 0)]),) * 3)
    assert control.mean == pytest.approx({"iou_per_image": 0.3, "iou_area": 0.3, "pointing": 2 / 3, "energy": 0.3})
    assert control.p_value(made[1], "iou_area") == pytest.approx(3 / 4)
    assert control.p_value(dataclasses.replace(made[1], iou_area=0.9), "iou_area") == pytest.approx(1 / 4)
    for figure in ("iou_dataset", "area"):
        with pytest.raises(
            InvalidOption, match=f"figure='{figure}' was not measured. Choices: iou_per_image, iou_area"
        ):
            control.p_value(made[0], figure)


def test_random_control_refuses(vlm, picture, located):
    mask = box((44, 60), (10, 30), (10, 40))
    with pytest.raises(InvalidOption, match="draws=0"):
        random_control(vlm, picture, located, mask, draws=0)
    with pytest.raises(InvalidOption, match="empty set"):
        random_control(vlm, picture, ns.Neurons(()), mask)


def test_planted_neurons_lie_on_their_object_and_random_ones_do_not(demo):
    """On the bundled model, whose true neurons are known."""
    scene = sample_scene(31, concepts=("bear",), count=1)
    rendered = render(scene)
    mask, truth = rendered.masks["bear"], planted(demo)["bear"]
    found = localise(heatmap(demo, rendered.image, truth, top=len(truth)), mask)
    control = random_control(demo, rendered.image, truth, mask, draws=19, top=len(truth))
    assert found.pointing
    assert found.iou_area > control.mean["iou_area"] + 0.2
    assert control.p_value(found, "iou_area") == pytest.approx(1 / 20)

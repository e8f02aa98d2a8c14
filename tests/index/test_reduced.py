"""Histograms by bits, and summaries: the whole is what its parts join to, and ties go to the earlier picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuronscope.errors import NotFinite
from neuronscope.index.bins import BINS, EDGES, SIDE, bins_of, counts_of, lower_edge, threshold_bins
from neuronscope.index.profile import layer_figures
from neuronscope.index.summary import ARRAYS, Reducer, Summary


def test_a_bin_is_read_off_the_bits():
    rng = np.random.default_rng(0)
    ends = [0, -0.0, 2.0**-16, -(2.0**-16), 1, 1.5, -1.5, 3, 4, 2.0**40, -(2.0**40), 1e-40]
    values = np.concatenate([rng.standard_normal(2000) * 10 ** rng.uniform(-7, 7, 2000), ends, EDGES, -EDGES])
    values = values.astype(np.float32)
    distance = np.searchsorted(EDGES, np.abs(values), side="right")
    expected = np.where(np.signbit(values), SIDE - distance, SIDE + distance)
    assert (bins_of(torch.from_numpy(values)).numpy() == expected).all()
    assert [lower_edge(SIDE + 1 + k) for k in range(3)] == [2.0**-16, 1.5 * 2.0**-16, 2.0**-15]


def test_a_threshold_leaves_at_most_the_share():
    values = torch.linspace(-4, 4, 1001)[:, None]
    counts = counts_of(bins_of(values)).numpy()
    (place,) = threshold_bins(counts, 0.9)
    assert (values >= lower_edge(place)).float().mean() <= 0.1 < (values >= lower_edge(place - 1)).float().mean()
    never = counts_of(bins_of(-values.abs() - 1)).numpy()
    assert threshold_bins(never, 0.9).tolist() == [SIDE + 1]  # nothing lies above zero


def summary(pictures, kept):
    made = Reducer(len(pictures), kept)
    for number, values in enumerate(pictures):
        made.see(number, 0, values)
    return made.finish(len(pictures))[0]


def test_parts_join_to_the_whole():
    draw = torch.Generator().manual_seed(1)
    pictures = [torch.randn(5 + k % 2, 7, generator=draw).round(decimals=0) for k in range(11)]  # full of ties
    whole = summary(pictures, 4)
    joined = summary(pictures[:3], 4).joined(summary(pictures[3:8], 4), 3, 4).joined(summary(pictures[8:], 4), 8, 4)
    for name in ARRAYS:
        assert np.array_equal(getattr(whole, name), getattr(joined, name)), name
    peaks = torch.stack([p.amax(0) for p in pictures]).numpy()
    lows = torch.stack([p.amin(0) for p in pictures]).numpy()
    for unit in range(7):
        assert whole.top_picture[unit].tolist() == sorted(range(11), key=lambda k: (-peaks[k, unit], k))[:4]
        assert whole.bottom_picture[unit].tolist() == sorted(range(11), key=lambda k: (lows[k, unit], k))[:4]
    assert whole.tokens.sum(1).tolist() == [sum(len(p) for p in pictures)] * 7
    assert whole.pictures.shape == (7, BINS)
    assert whole.pictures.sum(1).tolist() == [11] * 7


def test_a_neuron_of_few_pictures_is_told_from_one_that_is_scattered():
    still = torch.zeros(64, 10, 3)
    still[3, :, 0] = 5  # ten tokens of one picture
    still[torch.arange(10) * 6, torch.arange(10), 1] = 5  # ten tokens of ten pictures
    figures = layer_figures(summary(list(still), 4), 0.98, 64)
    assert figures.tokens.tolist() == pytest.approx([10 / 640, 10 / 640, 0])
    assert figures.pictures.tolist() == pytest.approx([1 / 64, 10 / 64, 0])
    assert figures.spread[0] < 0.2 < 0.9 < figures.spread[1]
    by_hand = [(5 / 4 - 5 / 64) / (5 * np.sqrt(63) / 64), (5 - 50 / 64) / (5 * np.sqrt(540) / 64), 0]
    assert figures.standing.tolist() == pytest.approx(by_hand)


def test_numbers_that_are_none_are_refused():
    for bad in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(NotFinite, match="layer 0"):
            summary([torch.full((2, 2), bad)], 1)


@pytest.mark.parametrize("most", [0, 255, 256, 70_000])
def test_a_part_holds_the_same_in_fewer_bytes(most: int):
    reducer = Reducer(2, 1)
    for picture in range(2):
        reducer.see(picture, 0, torch.randn(3, 4, generator=torch.Generator().manual_seed(picture)))
    whole = replace(reducer.finish(2)[0], tokens=np.full((4, BINS), most))
    part = whole.narrow()
    assert part["tokens"].itemsize == {0: 1, 255: 1, 256: 2, 70_000: 4}[most]
    for arrays in (part, whole.arrays()):  # those of an earlier version are wide
        again = Summary.wide(arrays).joined(Summary.wide(arrays), 2, 2)
        once = whole.joined(whole, 2, 2)
        for name, array in once.arrays().items():
            np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.tokens.max() == 2 * most

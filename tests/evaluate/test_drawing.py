"""evaluate/drawing.py: chances by hand and by counting, and figures of samples beside those of all neurons."""

from __future__ import annotations

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate import Sampled, figures
from neuronscope.evaluate.drawing import Drawing
from neuronscope.evaluate.ordering import FIGURES
from neuronscope.locate.scores import best_first


def test_chances_by_hand() -> None:
    drawing = Drawing(np.arange(5), np.array([8.0, 1.0, 1.0]))
    assert drawing.sure == 2
    assert drawing.chances(2).tolist() == [1, 1, 0, 0, 0]
    assert drawing.chances(3).tolist() == pytest.approx([1, 1, 0.8, 0.1, 0.1])
    # Two of 8 : 1 : 1 would be 1.6 : .2 : .2: the first is sure, and the others share what is left.
    assert drawing.chances(4).tolist() == pytest.approx([1, 1, 1, 0.5, 0.5])
    assert drawing.chances(5).tolist() == drawing.chances(9).tolist() == [1] * 5
    with pytest.raises(InvalidOption, match="fewer than the 2"):
        drawing.chances(1)


def scores(seed: int, total: int = 600) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"one": rng.standard_t(2, total), "other": rng.standard_t(3, total)}


def test_the_best_are_sure_and_every_neuron_is_there_once() -> None:
    of = scores(0)
    drawing = Drawing.of(of, total=600, best=20, seed=1)
    assert sorted(drawing.flat) == list(range(600))
    sure = {*best_first(of["one"])[:20].tolist(), *best_first(of["other"])[:20].tolist()}
    assert set(drawing.flat[: drawing.sure].tolist()) == sure
    assert drawing.flat.tolist() == Drawing.of(of, total=600, best=20, seed=1).flat.tolist()


def test_without_methods_all_have_the_same_chance() -> None:
    drawing = Drawing.of({}, total=50, best=20, seed=0)
    assert drawing.chances(10) == pytest.approx(np.full(50, 0.2))


def test_how_often_a_neuron_is_asked_is_its_chance() -> None:
    of, times, counted = scores(0), 400, np.zeros(600)
    expected = np.zeros(600)
    for seed in range(times):
        drawing = Drawing.of(of, total=600, best=20, seed=seed)
        counted[drawing.flat[:150]] += 1 / times
        expected[drawing.flat] = drawing.chances(150)
    assert expected.sum() == pytest.approx(150)
    # Four standard errors of a share of 400, for 600 of them; sequential sampling is nearly, not quite, exact.
    assert np.abs(counted - expected).max() < 4.5 * np.sqrt(0.25 / times)
    assert np.corrcoef(counted, expected)[0, 1] > 0.98


def test_figures_of_samples_are_those_of_all_neurons_within_their_intervals() -> None:
    """Effects with long tails, a good and a poor method, and 800 of 6,000 neurons asked."""
    rng = np.random.default_rng(3)
    effects = rng.standard_t(2, 6000)
    of = {"good": effects + rng.normal(size=6000), "poor": 0.1 * effects + rng.normal(size=6000)}
    ranks = {name: np.argsort(best_first(values)) for name, values in of.items()}
    whole = Sampled.of(effects, np.ones(6000), 6000)
    inside = {name: list[bool]() for name in FIGURES}
    for seed in range(20):
        drawing = Drawing.of(of, total=6000, best=100, seed=seed)
        flat, chances = drawing.flat[:800], drawing.chances(800)[:800]
        sampled = Sampled.of(effects[flat], chances, 6000)
        assert sampled.weights.sum() == pytest.approx(6000)
        for name, values in of.items():
            found = figures(values[flat], ranks[name][flat], sampled, replicates=60, seed=seed)
            for figure, estimate in found.items():
                true = FIGURES[figure](values, ranks[name], whole)
                inside[figure].append(estimate.low - 0.011 <= true <= estimate.high + 0.011)
    assert all(np.mean(held) >= 0.8 for held in inside.values()), {n: np.mean(held) for n, held in inside.items()}

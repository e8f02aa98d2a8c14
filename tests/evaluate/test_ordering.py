"""Figures of orders from all neurons, by hand, and from samples, beside those of all."""

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate import Sampled, figures
from neuronscope.evaluate.ordering import FIGURES, kth_effect, mean_figures, pearson, precision, recall, spearman


def whole(values):
    return Sampled.of(np.array(values, float), np.ones(len(values)), len(values))


def chances(sure, drawn, others):
    """Of neurons asked for sure, and of some drawn evenly of others."""
    return np.concatenate([np.ones(sure), np.full(drawn, drawn / others)])


def places(score):
    ranks = np.empty(len(score), int)
    ranks[np.argsort(-np.asarray(score), kind="stable")] = np.arange(len(score))
    return ranks


def test_by_hand():
    """Effects 9 7 5 3 1; a score that puts the neurons with 9, 3, 7 first."""
    effects, score = whole([9, 7, 5, 3, 1]), np.array([5.0, 3.0, 2.0, 4.0, 1.0])
    ranks = places(score)
    assert [kth_effect(effects, k) for k in (1, 2, 5, 9)] == [9, 7, 1, 1]
    assert precision(ranks, effects, 2) == 0.5  # 9 and 3 for 9 and 7
    assert precision(ranks, effects, 3) == pytest.approx(2 / 3)
    assert recall(ranks, effects, 2, within=3) == 1.0
    assert recall(ranks, effects, 3, within=2) == pytest.approx(1 / 3)
    # Ranks 5 4 3 2 1 and 5 3 2 4 1: 1 - 6 (0 + 1 + 1 + 4 + 0) / (5 * 24).
    assert spearman(score, effects) == pytest.approx(0.7)
    assert pearson(score, effects) == pytest.approx(np.corrcoef(score, effects.values)[0, 1])


def test_all_asked_has_no_width():
    rng = np.random.default_rng(0)
    values, score = rng.normal(size=200), rng.normal(size=200)
    found = figures(score, places(score), whole(values))
    assert set(found) == set(FIGURES)
    assert all(one.low == one.value == one.high for one in found.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_speaks_for_all(seed):
    """A noisy score of 2,000 neurons, its best 100 for sure and 500 others: what all give is inside the interval."""
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 2000)
    score = values + rng.normal(size=2000)
    ranks = places(score)
    sure = np.argsort(-score)[:100]
    drawn = rng.choice(np.setdiff1d(np.arange(2000), sure), 500, replace=False)
    flat = np.concatenate([sure, drawn])
    sampled = Sampled.of(values[flat], chances(100, 500, 1900), 2000)
    assert sampled.weights.sum() == pytest.approx(2000)
    found = figures(score[flat], ranks[flat], sampled, replicates=400)
    for name, figure in FIGURES.items():
        true = figure(score, ranks, whole(values))
        slack = 0.08 if "precision" in name or "recall" in name else 0.03
        assert found[name].low - slack <= true <= found[name].high + slack, name


def test_the_estimate_is_right_on_average():
    """Over many draws the weighted recall is that of all neurons; that of the sample as it is is not."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=1000)
    score = values + 2 * rng.normal(size=1000)
    ranks, sure = places(score), np.argsort(-score)[:200]
    others = np.setdiff1d(np.arange(1000), sure)
    found, plain = [], []
    for _ in range(60):
        flat = np.concatenate([sure, rng.choice(others, 100, replace=False)])
        found.append(recall(ranks[flat], Sampled.of(values[flat], chances(200, 100, 800), 1000), 100, within=200))
        plain.append(recall(ranks[flat], whole(values[flat]), 100, within=200))
    true = recall(ranks, whole(values), 100, within=200)
    assert np.mean(found) == pytest.approx(true, abs=0.04)
    assert abs(np.mean(plain) - true) > 0.1


def test_pictures_are_pooled_by_their_mean():
    rng = np.random.default_rng(1)
    of = []
    for _ in range(4):
        values, score = rng.normal(size=150), rng.normal(size=150)
        of.append(figures(score, places(score), whole(values)))
    mean = mean_figures(of)
    assert mean["Spearman"].value == pytest.approx(np.mean([one["Spearman"].value for one in of]))
    assert mean["Spearman"].low < mean["Spearman"].value < mean["Spearman"].high


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InvalidOption, match="2 scores, 2 ranks and 3 effects"):
        figures(np.ones(2), np.arange(2), whole([1, 2, 3]))
    with pytest.raises(InvalidOption, match="1 scores"):
        figures(np.ones(1), np.arange(1), whole([1]))

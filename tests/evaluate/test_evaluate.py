import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate import Effect, Labelled, agreement, bootstrap_effects, bootstrap_mean, measure, named
from neuronscope.evaluate import effect as effect_module


def shares(own, others):
    """An effect with given shares of hits out of 30."""
    make = lambda share: (np.arange(30) < round(30 * share)).reshape(3, 10)  # noqa: E731
    return Effect("bed", make(own), make(others))


def test_aggregation_oracle():
    """METHODS (m) oracle 7: group hit shares 10/30, 7/30, 6/30 give S_se = 0.744444."""
    groups = [shares(hits / 30, 1.0) for hits in (10, 7, 6)]
    assert np.mean([g.s_se for g in groups]) == pytest.approx(0.7444444)
    rounded = np.mean([1 - round(1 - g.s_se, 3) for g in groups])
    assert f"{rounded:.4f}" == "0.7447"


@pytest.mark.parametrize(("own", "others", "j"), [(1, 1, 0), (0, 0, 0), (0, 1, 1), (1, 0, -1)])
def test_j_is_zero_for_no_effect_and_for_total_destruction(own, others, j):
    assert shares(own, others).j == pytest.approx(j)


def test_measure_counts_own_and_other_images(vlm, monkeypatch):
    said = {1: "a bear", 2: "a dog and a bear", 3: "grass"}

    def fake(_vlm, images, change, **_):
        return [[Caption(said[im.width], "", ()), Caption("grass", "", ())] for im in images]

    monkeypatch.setattr(effect_module, "generate_captions", fake)
    image = {k: Image.new("RGB", (k, 1)) for k in said}
    items = [
        Labelled(image[1], "bear", ("bear",)),
        Labelled(image[2], "dog", ("dog",)),
        Labelled(image[3], "cat", ("cat",)),
        Labelled(image[2], "dog", ("dog", "bear")),  # shows the concept without standing for it: left out
    ]
    result = measure(vlm, "bear", items, ns.Zero(ns.Neurons.of([(0, 0)])))
    assert result.own.tolist() == [[True, False]]
    assert result.others.tolist() == [[True, False], [False, False]]
    with pytest.raises(InvalidSample, match="0 with and"):
        measure(vlm, "zebra", items, ns.Zero(ns.Neurons.of([(0, 0)])))


def test_named_uses_the_lexicon():
    assert named("a plane flying", "airplane")
    assert not named("a plane flying", "airplane", "strict")


def test_bootstrap_brackets_the_mean_and_shrinks_with_data():
    rng = np.random.default_rng(0)
    few, many = rng.random(10), rng.random(1000)
    for values in (few, many):
        estimate = bootstrap_mean(values.tolist(), replicates=500)
        assert estimate.low < estimate.value < estimate.high
    wide, narrow = bootstrap_mean(few.tolist()), bootstrap_mean(many.tolist())
    assert narrow.high - narrow.low < wide.high - wide.low
    with pytest.raises(InvalidOption):
        bootstrap_mean([])


def test_hierarchical_bootstrap():
    table = bootstrap_effects([shares(0.2, 0.9), shares(0.4, 0.8)], replicates=300)
    assert table["S_se"].value == pytest.approx(0.7)
    assert table["S_re"].value == pytest.approx(0.85)
    assert table["J"].value == pytest.approx(0.55)
    assert table["J"].low < 0.55 < table["J"].high
    certain = bootstrap_effects([shares(0, 1)] * 3, replicates=50)
    assert (certain["J"].low, certain["J"].high) == (1, 1)
    with pytest.raises(InvalidOption):
        bootstrap_effects([])


def test_agreement():
    truth = ns.Neurons.of([(0, 1), (0, 2), (1, 3), (1, 4)])
    result = agreement(ns.Neurons.of([(0, 1), (1, 3), (2, 2)]), truth)
    assert (result.precision, result.recall) == (pytest.approx(2 / 3), 0.5)
    assert agreement(ns.Neurons(()), truth).precision == 0

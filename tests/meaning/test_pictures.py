"""Top pictures of a set, beside those of random neurons, with an AUC where it is known what they show."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate import planted
from neuronscope.intervene import activations
from neuronscope.meaning import top_pictures
from neuronscope.meaning.pictures import auc, set_scores
from neuronscope.samples import CocoFolder


def test_auc_by_hand():
    assert auc(np.array([3.0, 1.0, 2.0]), np.array([True, False, True])) == 1
    assert auc(np.array([0.0, 1.0, 2.0, 0.0]), np.array([True, False, True, False])) == 2.5 / 4
    for labels in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(InvalidOption, match="with the concept and pictures without"):
            auc(np.arange(3.0), labels)


def test_no_neuron_is_louder_than_another():
    values = np.array([[1.0, 0.0, 5.0], [2.0, 1000.0, 5.0], [3.0, 500.0, 5.0]])
    expected = (np.array([-1, 0, 1]) + np.array([-1, 1, 0])) / 3 * np.sqrt(1.5)
    np.testing.assert_allclose(set_scores(values), expected, rtol=1e-12)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_the_top_is_where_the_activation_is_largest(vlm, pictures, pool):
    neurons = ns.Neurons.of([(1, 5)])
    found = top_pictures(vlm, pictures, neurons, pool=pool, count=2, draws=3)
    each = [getattr(activations(vlm, picture, neurons)[:, 0], pool)() for picture in pictures]
    assert [one.number for one in found.top] == np.argsort(each)[::-1][:2].tolist()
    assert len(found.random) == 2
    assert found.auc is None
    assert "not known" in found.sentence
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("concept", ["bear", "bus", "pizza", "horse", "clock", "vase"])
def test_planted_neurons_pick_their_concept_out_of_a_folder(demo, scenes, concept):
    without = iter(range(8))  # of the pictures that do not show it the first eight
    shown = [one for one in CocoFolder.open(scenes).showing(concept) if one[1] or next(without, None) is not None]
    labels = [shows for _, shows in shown]
    if sum(labels) < 2:
        pytest.skip(f"fewer than two of these scenes show a {concept}")
    told: list[int] = []
    neurons = replace(planted(demo)[concept], concept=concept)
    found = top_pictures(demo, [path for path, _ in shown], neurons, showing=labels, step=told.append)
    assert told == list(range(len(shown)))
    assert found.auc > 0.9 > np.mean(found.random_auc)
    assert labels[found.top[0].number]
    assert f"top pictures {'read' if found.p < 0.05 else 'do not read'} the concept" in found.sentence
    assert found.shown == sum(labels)


def test_random_neurons_are_called_random(vlm):
    rng = np.random.default_rng(5)
    noisy = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(6)]
    found = top_pictures(vlm, noisy, ns.Neurons.of([(0, 3), (2, 2)]), showing=[True, False] * 3, draws=19)
    assert len(found.random_auc) == 19
    assert found.p == (1 + sum(other >= found.auc for other in found.random_auc)) / 20
    nothing = top_pictures(vlm, noisy, ns.Neurons.of([(0, 3)]), showing=[False] * 6, draws=1)
    assert nothing.auc is None
    assert "none shows" in nothing.sentence


def test_bad_requests(vlm, pictures, tmp_path):
    one = ns.Neurons.of([(0, 1)])
    for options, words in (
        ({"count": 0}, "count=0"),
        ({"draws": 0}, "draws=0"),
        ({"pool": "sum"}, "pool='sum'"),
        ({"showing": [True]}, "1 labels for 3"),
    ):
        with pytest.raises(InvalidOption, match=words):
            top_pictures(vlm, pictures, one, **options)
    with pytest.raises(InvalidOption, match="0 neurons"):
        top_pictures(vlm, pictures, one[:0])
    with pytest.raises(InvalidOption, match="1 pictures"):
        top_pictures(vlm, pictures[:1], one)
    with pytest.raises(InvalidSample):
        top_pictures(vlm, [tmp_path / "none.png", pictures[0]], one)

"""The single scores as rankings, and that the planted neurons of the bundled model are among the first."""

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.evaluate import agreement, planted
from neuronscope.locate import Activation, ActivationDifference, GradTimesActivation, Random
from neuronscope.studies.demo.scenes import scenes_of


def test_difference_and_gradient_are_the_stages_of_two_stage(vlm, pair, speaks):
    speaks(vlm, "brown bear", "grass")
    both = ns.TwoStage(activation=ns.Budget(80), gradient=ns.Budget(20)).locate(vlm, pair)
    for method, name in ((ActivationDifference(), "activation"), (GradTimesActivation(), "gradient")):
        found = method.locate(vlm, pair)
        assert found.ranked_by == name
        pooled, expected = found.scores.arrays[name], both.scores.arrays[name]
        np.testing.assert_allclose(pooled.values, expected.values, rtol=1e-3, atol=1e-5)
        assert (pooled.patch == expected.patch).mean() > 0.99


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_activation_is_that_of_the_original(vlm, pair, speaks, naive_activations, pool):
    speaks(vlm, "bear", "grass")
    found = Activation(pool=pool, count=5).locate(vlm, pair)
    clean = torch.cat(naive_activations(vlm, pair.original), dim=1)
    expected = clean.mean(0) if pool == "mean" else clean.amax(0)
    np.testing.assert_allclose(found.scores.arrays["original"].values, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert [48 * n.layer + n.unit for n in found.neurons] == expected.argsort(descending=True)[:5].tolist()


def test_planted_neurons_are_found_more_often_than_by_chance(demo):
    truth = planted(demo)["bear"]
    pair = ns.counterfactual(next(iter(scenes_of("bear", 1))))
    found = GradTimesActivation(count=12).locate(demo, pair)
    random = Random(count=12).locate(demo, pair, validity=found.validity)
    precision = agreement(found.neurons, truth).precision
    assert precision > 0.5
    assert precision > agreement(random.neurons, truth).precision

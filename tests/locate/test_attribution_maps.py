"""Difference x gradient at every image token: its sum is the score, and it is where the product is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange
from neuronscope.locate import DifferenceTimesGradient
from neuronscope.locate.difference_x_gradient import attribution_at_tokens
from neuronscope.locate.validity import check_validity

CHOSEN = ns.Neurons.of([(2, 5), (0, 1), (3, 40), (2, 3)])


@pytest.mark.parametrize("site", ["neuron", "act", "pre"])
@pytest.mark.parametrize("target", ["logprob", "logit", "logodds"])
def test_the_sum_over_tokens_is_the_score(vlm, pair, speaks, site, target):
    speaks(vlm, "brown bear on grass", "grass")
    validity = check_validity(vlm, pair)
    options = DifferenceTimesGradient(site=site, target=target)
    values = attribution_at_tokens(vlm, pair, validity, CHOSEN, options)
    assert values.shape == (len(vlm.prepare([pair.original]).images[0].positions), 4)
    for pool in ("sum", "max", "mean"):
        score = dataclasses.replace(options, pool=pool).score(vlm, pair, validity).arrays["attribution"].values
        expected = [score[48 * neuron.layer + neuron.unit] for neuron in CHOSEN]
        np.testing.assert_allclose(getattr(values, pool)(axis=0), expected, rtol=1e-4, atol=1e-8)


def test_other_points_do_not_change_it(vlm, pair, speaks):
    """The map is that of the gradient at the original, whatever the ranking that chose the neurons."""
    speaks(vlm, "brown bear on grass", "grass")
    validity = check_validity(vlm, pair)
    refined = dataclasses.replace(DifferenceTimesGradient.refined(), target="logprob")
    np.testing.assert_array_equal(
        attribution_at_tokens(vlm, pair, validity, CHOSEN, refined), attribution_at_tokens(vlm, pair, validity, CHOSEN)
    )


def test_bad_requests(vlm, pair, speaks):
    speaks(vlm, "brown bear on grass", "grass")
    validity = check_validity(vlm, pair)
    with pytest.raises(InvalidOption, match="an empty set"):
        attribution_at_tokens(vlm, pair, validity, CHOSEN[:0])
    with pytest.raises(NeuronOutOfRange):
        attribution_at_tokens(vlm, pair, validity, ns.Neurons.of([(0, 48)]))

import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Ablate, Amplify, RowNoise
from neuronscope.errors import InvalidOption, NotFinite
from neuronscope.intervene import activations


def test_ablating_a_value_vector_is_zeroing_its_neuron_everywhere(own, some, pictures):
    wanted = own.captions(pictures, ns.Zero(some, span="all", phase="both"))
    with Ablate().edit(own, some) as edit:
        assert not any(columns.any() for columns in edit.new.values())
        assert own.captions(pictures) == wanted


def test_amplifying_is_scaling(own, some, pictures):
    inputs = own.prepare(pictures[:1])
    with torch.no_grad(), own.intervene(ns.Scale(some, span="all", phase="both", factor=3.0)):
        wanted = own.logits(inputs)
    plain = own.logits(inputs)
    with Amplify(factor=3.0).edit(own, some), torch.no_grad():
        torch.testing.assert_close(own.logits(inputs), wanted, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(plain, wanted, atol=1e-4, rtol=1e-4)


def test_noise_does_not_depend_on_the_other_neurons(own):
    pair, alone = ns.Neurons.of([(1, 3), (2, 7)]), ns.Neurons.of([(2, 7)])
    both = RowNoise(sigma=0.5, seed=4).edit(own, pair)
    one = RowNoise(sigma=0.5, seed=4).edit(own, alone)
    other = RowNoise(sigma=0.5, seed=5).edit(own, alone)
    assert torch.equal(both.new[2], one.new[2])
    assert not torch.equal(one.new[2], other.new[2])


def test_noise_is_normal():
    editor = RowNoise()
    noise = torch.tensor(editor.noise(3, 4, 20_000))
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03


def test_activations_of_the_first_edited_layer_stay(own, picture):
    neurons = ns.Neurons.of([(1, 3)])
    before = activations(own, picture, neurons)
    with Ablate().edit(own, neurons):
        assert (activations(own, picture, neurons) == before).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Amplify(factor=float("inf")), "factor=inf"),
        (lambda: RowNoise(sigma=-1), "sigma=-1"),
        (lambda: RowNoise(seed=-1), "seed=-1"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(InvalidOption, match=message):
        make()


def test_overflow_is_an_error_before_anything_changes(own, some, weights, changed):
    before = weights(own)
    with pytest.raises(NotFinite, match="not finite"):
        Amplify(factor=1e300).edit(own, some)
    assert not changed(before, weights(own))

import dataclasses

import pytest

import neuronscope as ns
from neuronscope.edit import transfer
from neuronscope.errors import ConceptNotNamed, InvalidOption
from neuronscope.evaluate.truth import planted
from neuronscope.samples.scenes.scene import render, sample_scene


@pytest.fixture(scope="module")
def aligned():
    """The same scene with a suitcase, and with a microwave at the suitcase's place."""
    scene = sample_scene(24_000_003, concepts=["suitcase"], count=1)
    items = tuple(dataclasses.replace(item, concept="microwave") for item in scene.items)
    return render(scene).image, render(dataclasses.replace(scene, items=items)).image


def test_the_planted_sets_carry_the_concept_and_random_neurons_do_not(demo, aligned):
    image, donor = aligned
    truth = planted(demo)
    both = ns.Neurons.of((n.layer, n.unit) for n in (*truth["suitcase"], *truth["microwave"]))
    (carried,) = transfer(demo, both, [image], [donor], source="suitcase", target="microwave")
    assert carried.carried
    assert carried.donor_named
    assert carried.before == demo.caption(image)
    assert carried.target_logprob > 2
    assert carried.source_logprob < -2
    (control,) = transfer(demo, ns.layer_matched(demo, both), [image], [donor], source="suitcase", target="microwave")
    assert not control.carried
    assert control.after == control.before
    assert abs(control.target_logprob) < 1


def test_an_image_patched_into_itself_stays(demo, aligned):
    neurons = planted(demo)["suitcase"]
    (same,) = transfer(demo, neurons, [aligned[0]], [aligned[0]], source="suitcase", target="microwave")
    assert same.after == same.before
    assert same.source_named
    assert not same.donor_named
    assert same.source_logprob == pytest.approx(0, abs=1e-4)


def test_bad_input(demo, aligned):
    image, donor = aligned
    neurons = planted(demo)["suitcase"]
    with pytest.raises(InvalidOption, match="1 images and 2 donors"):
        transfer(demo, neurons, [image], [donor, donor], source="suitcase", target="microwave")
    with pytest.raises(InvalidOption, match="0 images"):
        transfer(demo, neurons, [], [], source="suitcase", target="microwave")
    with pytest.raises(ConceptNotNamed, match="names source='umbrella'"):
        transfer(demo, neurons, [image], [donor], source="umbrella", target="microwave")

"""Captions that go on from the pass of the sets are those of the plain path."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.caption import clean_captions, ties
from neuronscope.evaluate import named
from neuronscope.intervene import Patch
from neuronscope.locate import Exchange
from neuronscope.locate.picture_row import picture_rows
from neuronscope.locate.saying import Saying
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.types import Neurons

PLAIN = Decoding()


@pytest.fixture(scope="module")
def scene():
    return ns.counterfactual(scenes_of("bear", 2)[1])


@pytest.fixture(scope="module")
def validity(demo, scene):
    return check_validity(demo, scene)


@pytest.fixture(scope="module")
def sets(demo):
    """From none to all: captions that stay, that turn after the word, and that lose it."""
    rng = np.random.default_rng(0)
    return [rng.random(Layout(demo.widths).total) < share for share in (0.0, 0.02, 0.1, 0.3, 0.6, 1.0)]


@pytest.fixture(scope="module")
def plainly(demo, scene, sets):
    """The captions of the plain path, of all sets but the first."""
    layout, found = Layout(demo.widths), []
    every = [layout.split(flat) for flat in range(layout.total)]
    for mask in sets[1:]:
        neurons = Neurons.of(every[flat] for flat in np.nonzero(mask)[0])
        with demo.intervene(Patch.take(demo, neurons, scene.edited)):
            found.append(clean_captions(demo, [scene.original])[0])
    return found


def reading(vlm, scene, validity, token="first", ahead=True, decoding=PLAIN):
    rows = picture_rows(vlm, scene, concept_word(validity, token), decoding, "neuron")
    told = Saying.of(vlm, validity, "bear", "lexicon", decoding) if ahead else None
    return Exchange.between(vlm, *rows, ahead=told)


@pytest.mark.parametrize("token", ["first", "sum"])
def test_effects_are_the_same_and_captions_those_of_the_plain_path(demo, scene, validity, sets, plainly, token):
    plain, ours = (reading(demo, scene, validity, token, ahead) for ahead in (False, True))
    effects, said = ours.read(sets)
    assert np.allclose(effects, plain.effects(sets), rtol=0, atol=1e-5)
    assert plain.read(sets)[1] == [None] * len(sets)
    assert said[0] is None  # changes nothing: nothing was read
    for ours_, theirs in zip(said[1:], plainly, strict=True):
        assert theirs.ids[: len(ours_.ids)] == ours_.ids
        assert named(ours_.text, "bear") is named(theirs.text, "bear")
        assert len(ours_.ids) == len(theirs.ids) or named(ours_.text, "bear")
    assert {named(text.text, "bear") for text in plainly} == {True, False}
    assert any(len(a.ids) < len(b.ids) for a, b in zip(said[1:], plainly, strict=True))  # stopped at the word


def test_captions_are_of_sets_that_do_enough(demo, scene, validity, sets):
    effects, said = reading(demo, scene, validity).read(sets, 1.0)
    assert [each is not None for each in said] == [bool(effect >= 1.0) for effect in effects]
    assert 0 < np.count_nonzero(effects >= 1.0) < len(sets) - 1


def test_near_ties_are_left_to_the_plain_path(demo, scene, validity, sets, monkeypatch):
    monkeypatch.setattr(ties.NearTies, "bound", 1e6)
    assert reading(demo, scene, validity).read(sets)[1] == [None] * len(sets)


@pytest.mark.parametrize(
    ("text", "certain"),
    [("a bear on", True), ("a bear", False), ("a beard", False), ("a bear.", False), ("two bears in", True)],
)
def test_a_word_that_may_go_on_is_not_named_yet(demo, validity, text, certain):
    assert Saying.of(demo, validity, "bear", "lexicon", PLAIN).names(text) is certain


def test_nothing_is_read_ahead_where_captions_hang_on_more_than_the_largest_logit(demo, make_vlm, validity):
    def of(vlm=demo, **settings):
        return Saying.of(vlm, validity, "bear", "lexicon", dataclasses.replace(PLAIN, **settings))

    assert of() is not None
    assert of(generation={"repetition_penalty": 1.5}) is None
    assert of(use_cache=False) is None
    assert of(max_new_tokens=2) is None  # nothing is written behind the word
    other = make_vlm()
    other.model.bfloat16()
    assert of(other) is None
    unspelled = SimpleNamespace(original=validity.original, tokens=())
    assert Saying.of(demo, unspelled, "bear", "lexicon", PLAIN) is None

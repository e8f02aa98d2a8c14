"""Corners of a photograph: cut out of both pictures alike, counted with their photograph, recorded where unused."""

import dataclasses

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate import ScoredConcept
from neuronscope.locate.concept import LEAST_EFFECT
from neuronscope.locate.scores import Layout
from neuronscope.locate.views import CORNERS, corner, is_view, photograph_of
from neuronscope.studies.demo.scenes import scenes_of


@pytest.mark.parametrize("name", CORNERS)
def test_a_corner_is_the_same_part_of_both_pictures(pair, name):
    seen = corner(pair, name, margin=0.25)
    x, y = 12 * ("right" in name), 12 * ("bottom" in name)
    part = np.s_[y : y + 36, x : x + 36]
    for found, whole in ((seen.original, pair.original), (seen.edited, pair.edited)):
        assert np.array_equal(np.asarray(found), np.asarray(whole)[part])
    assert np.array_equal(seen.mask, pair.mask[part])
    assert np.array_equal(seen.sample.mask, seen.mask)
    assert seen.sample.concept == pair.sample.concept
    assert (is_view(seen), is_view(pair)) == (True, False)
    assert photograph_of(seen) == photograph_of(pair) == photograph_of(corner(seen, name))
    assert seen.options["view"] == name


def test_a_corner_without_the_object_is_none(pair):
    mask = np.zeros_like(pair.mask)
    mask[0, 0] = True
    small = dataclasses.replace(pair, mask=mask)
    assert corner(small, "top left").mask.sum() == 1
    with pytest.raises(InvalidSample, match=r"the bottom right of .* shows nothing of it"):
        corner(small, "bottom right")
    with pytest.raises(InvalidSample, match="shows all of it"):
        corner(dataclasses.replace(pair, mask=~mask), "bottom right")


def test_views_count_with_their_photograph(demo):
    """By hand: the mean of a photograph's scaled scores, and then the mean of photographs."""
    pairs = [ns.counterfactual(sample) for sample in scenes_of("bear", 2)]
    method = ns.method("difference-x-gradient", target="logit", points=1)
    scored = ScoredConcept.of(demo, pairs, method, views=2)
    seen = [k for k, pair in enumerate(scored.pairs) if is_view(pair)]
    assert len(seen) + len(scored.unseen) == 4
    assert seen
    assert len(set(scored.photographs)) == 2
    for k in seen:
        assert scored.effects[k] >= LEAST_EFFECT
        again = method.locate(demo, scored.pairs[k], validity=scored.located[k].validity)
        assert np.array_equal(again.scores.arrays["attribution"].values, values(scored, k))
    names = scored.photographs
    # One view fewer of one photograph: else the mean of all edits would be the same.
    fewer = dataclasses.replace(
        scored, pairs=scored.pairs[:-1], located=scored.located[:-1], effects=scored.effects[:-1]
    )
    each = [np.mean([values(fewer, k) / values(fewer, k).max() for k in own], 0) for own in groups(names[:-1])]
    found = fewer.neurons(ns.Pooling(count=30))
    order = np.argsort(-np.mean(each, 0), kind="stable")[:30]
    assert found.members == ns.Neurons.of(Layout(demo.widths).split(int(flat)) for flat in order).members
    assert np.allclose(found.scores["pooled"], np.mean(each, 0)[order], rtol=1e-5)
    whole = [k for k in range(len(names)) if k not in seen]
    assert [one.image for one in scored.left_out(ns.Pooling(count=5))] == [
        scored.pairs[k].sample.image_id for k in whole
    ]


def groups(names):
    return [[k for k, own in enumerate(names) if own == name] for name in dict.fromkeys(names)]


def values(scored, k):
    return scored.located[k].scores.arrays["attribution"].values


@pytest.mark.parametrize("views", [-1, 5, 1.5, True])
def test_numbers_of_views_that_are_none(demo, pair, views):
    with pytest.raises(InvalidOption, match="views"):
        ScoredConcept.of(demo, [pair], views=views)

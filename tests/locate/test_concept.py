"""Pooling over photographs: by hand on written scores, one pair is the ranking itself, and on planted neurons."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import ConceptNotNamed, InvalidOption, InvalidSample
from neuronscope.evaluate import average_precision, planted
from neuronscope.locate import Exchange, Ranked, Ranking, edit_effect
from neuronscope.locate.pooling import JOINS, SCALES, held, pooled, scaled
from neuronscope.locate.scores import Layout, Pooled, best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.models import Decoding
from neuronscope.samples import Counterfactual, counterfactual
from neuronscope.samples.scenes import scene_sample
from neuronscope.studies.demo.scenes import scene_stream

NEURONS = 4 * 48  # of the tiny model
RANK = ns.Pooling(count=10, scale="rank")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness(Ranking):
    """Scores that a picture decides: a seeded draw for its first pixel."""

    name: str = "brightness"

    def score(self, vlm, pair, validity):
        draw = np.random.default_rng(np.asarray(pair.original)[0, 0].tolist())
        return Ranked("brightness", {"brightness": Pooled(draw.normal(size=NEURONS))})


@pytest.fixture
def pairs(vlm, pair, speaks):
    """Three photographs of one concept: two with one edit each, one with two."""
    speaks(vlm, "a brown bear", "green grass")

    def shifted(by: int) -> Counterfactual:
        pictures = [(np.asarray(image) // 2 + by).astype(np.uint8) for image in (pair.original, pair.edited)]
        original, edited = map(Image.fromarray, pictures)
        return dataclasses.replace(pair, original=original, edited=edited)

    other = dataclasses.replace(shifted(9), edited=shifted(60).edited)
    return [shifted(0), shifted(9), other, shifted(20)]


# ---- by hand


def test_scales_by_hand():
    values = np.array([4.0, -2.0, 0.0, 1.0, 2.0])
    assert scaled(values, "none").tolist() == values.tolist()
    assert scaled(values, "effect", 2.0).tolist() == [2, -1, 0, 0.5, 1]
    assert scaled(values, "largest").tolist() == [1, -0.5, 0, 0.25, 0.5]
    assert scaled(values, "rank").tolist() == [1, 0, 0.25, 0.5, 0.75]
    assert np.allclose(np.exp(-scaled(values, "log_rank")), [1, 5, 4, 3, 2])
    # Of 4, -2, 1 and 2 the median is 1.5, the distances 2.5, 3.5, .5 and .5: their median is 1.5.
    assert np.allclose(scaled(values, "spread"), values / (1.4826 * 1.5))


def test_joins_by_hand():
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 2.0, 1.0, 3.0], [0.0, 5.0, 1.0, -6.0]])
    assert pooled(scores, "mean").tolist() == [1, 3, 1, -1]
    assert pooled(scores, "median").tolist() == [0, 2, 1, 0]
    assert pooled(scores, "least").tolist() == [0, 2, 1, -6]
    assert held(scores, 2).sum(0).tolist() == [1, 3, 1, 1]
    # Mean ranks (3 is best, then 2, 1, 0): (3 + 0 + 1) / 9, (2 + 2 + 3) / 9, (1 + 1 + 2) / 9, (0 + 3 + 0) / 9.
    assert np.allclose(pooled(scores, "votes", 2), [1 + 0.444, 3 + 0.777, 1 + 0.444, 1 + 0.333], atol=1e-3)


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(5))
def test_one_photograph_is_ordered_as_it_was(scale, join, seed):
    values = np.random.default_rng(seed).normal(size=50)
    found = pooled(scaled(values, scale, 3.0)[None], join, 7)
    assert best_first(found).tolist() == best_first(values).tolist()


@pytest.mark.parametrize("scale", [one for one in SCALES if one != "none"])
@pytest.mark.parametrize("factor", [0.01, 3, 2000])
def test_a_photograph_with_larger_scores_counts_as_much(scale, factor):
    values = np.random.default_rng(1).normal(size=50)
    assert np.allclose(scaled(values, scale, 2.0), scaled(values * factor, scale, 2.0 * factor))


@pytest.mark.parametrize(("scale", "values", "effect"), [("effect", [1, 2], 0), ("effect", [1, 2], -1.5)])
def test_no_effect_cannot_be_divided_by(scale, values, effect):
    with pytest.raises(InvalidSample, match="'rank' divides by nothing"):
        scaled(np.array(values, float), scale, effect)


@pytest.mark.parametrize("scale", ["largest", "spread"])
def test_no_scores_cannot_be_divided_by(scale):
    with pytest.raises(InvalidSample, match=f"scale='{scale}' divides by 0"):
        scaled(np.zeros(9), scale)


# ---- on pairs


def test_one_pair_is_the_ranking_itself(vlm, pairs):
    own = Brightness(count=30).locate(vlm, pairs[0]).neurons
    for join in JOINS:
        found = ns.locate_concept(
            vlm, pairs[:1], Brightness(), ns.Pooling(count=30, scale="rank", join=join, within=40)
        )
        assert found.members == own.members
    assert found.concept == "bear"
    assert set(found.scores["held"]) == {1.0}


def test_pooled_scores_and_members_by_hand(vlm, pairs):
    each = [Brightness().locate(vlm, pair).scores.arrays["brightness"].values for pair in pairs]
    # The second and third pair are edits of one photograph.
    photographs = np.stack([each[0], (each[1] + each[2]) / 2, each[3]])
    found = ns.locate_concept(vlm, pairs, Brightness(), ns.Pooling(count=25, scale="none", within=50))
    layout = Layout(vlm.widths)
    assert [layout.starts[n.layer] + n.unit for n in found] == best_first(photographs.mean(0))[:25].tolist()
    assert found.scores["pooled"] == pytest.approx(np.sort(photographs.mean(0))[::-1][:25])
    flat = [layout.starts[n.layer] + n.unit for n in found]
    assert found.scores["held"] == pytest.approx(held(photographs, 50).sum(0)[flat])
    assert found.scores["held_edits"] == pytest.approx(held(np.stack(each), 50).sum(0)[flat])


def test_members_are_held_by_as_many_photographs_as_asked(vlm, pairs):
    for least in (1, 2, 3):
        found = ns.locate_concept(vlm, pairs, Brightness(), ns.Pooling(scale="rank", within=80, least_held=least))
        assert min(found.scores["held"]) >= least
    assert len(found) < 100  # of 192 neurons few are among the best 80 of each of three photographs


def test_where_it_came_from_is_kept(vlm, pairs, tmp_path):
    found = ns.locate_concept(vlm, pairs, Brightness(), RANK)
    found.save(tmp_path / "neurons.json")
    assert ns.Neurons.load(tmp_path / "neurons.json") == found
    sources = found.provenance["pairs"]
    assert found.provenance["photographs"] == 3
    assert sources[1]["photograph"] == sources[2]["photograph"] != sources[0]["photograph"]
    assert sources[0]["caption"] == "a brown bear"
    word = concept_word(check_validity(vlm, pairs[3]))
    assert sources[3]["effect"] == pytest.approx(edit_effect(vlm, pairs[3], word, Decoding()))
    assert found.options["method"]["name"] == "brightness"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "ranks"}, "scale='ranks'"),
        ({"join": "product"}, "join='product'"),
        ({"count": -1}, "count=-1"),
        ({"within": 0}, "within=0"),
        ({"within": 2.5}, "within=2.5"),
        ({"least_held": 0}, "least_held=0"),
        ({"weight": float("nan")}, "weight=nan"),
        ({"weight": -0.5}, "weight=-0.5 must be at least 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidOption, match=message):
        ns.Pooling(**options)


def test_numbers_that_do_not_fit_the_pairs(vlm, pairs):
    with pytest.raises(InvalidOption, match="least_held=4 is more than the 3 photographs"):
        ns.locate_concept(vlm, pairs, Brightness(), ns.Pooling(scale="rank", least_held=4))
    with pytest.raises(InvalidOption, match="0 validities for 4 pairs"):
        ns.locate_concept(vlm, pairs, Brightness(), RANK, validities=[])


def test_pairs_of_one_concept_are_needed(vlm, pairs, speaks):
    with pytest.raises(InvalidOption, match="no pairs"):
        ns.locate_concept(vlm, [], Brightness())
    cat = dataclasses.replace(pairs[0], sample=dataclasses.replace(pairs[0].sample, concept="cat"))
    with pytest.raises(InvalidSample, match="several concepts: bear, cat"):
        ns.locate_concept(vlm, [*pairs, cat], Brightness())
    speaks(vlm, "green grass", "green grass")
    with pytest.raises(ConceptNotNamed):
        ns.locate_concept(vlm, pairs, Brightness())


def test_other_concepts_are_subtracted(vlm, pairs):
    own, other = (ns.ScoredConcept.of(vlm, some, Brightness()) for some in (pairs[:3], pairs[3:]))
    each = [one.scores.arrays["brightness"].values for one in (*own.located, *other.located)]
    expected = (each[0] + (each[1] + each[2]) / 2) / 2 - each[3]
    found = own.neurons(ns.Pooling(count=NEURONS, within=NEURONS, scale="none"), against=[other])
    assert found.scores["pooled"] == pytest.approx(np.sort(expected)[::-1])
    assert found.options["against"] == ["bear"]
    twice = own.neurons(
        ns.Pooling(count=NEURONS, within=NEURONS, scale="none", weight=0.25),
        against=[other, ns.ScoredConcept.of(vlm, pairs[:1], Brightness())],
    )
    expected = (each[0] + (each[1] + each[2]) / 2) / 2 - 0.25 * (each[3] + each[0]) / 2
    assert twice.scores["pooled"] == pytest.approx(np.sort(expected)[::-1])


def test_photographs_are_left_out_with_all_their_edits(vlm, pairs):
    scored = ns.ScoredConcept.of(vlm, pairs, Brightness())
    names = scored.photographs
    assert scored.without(names[1]).pairs == (pairs[0], pairs[3])
    found = scored.left_out(RANK)
    assert len(found) == 3
    layout = Layout(vlm.widths)
    others = ns.locate_concept(vlm, [pairs[0], pairs[3]], Brightness(), RANK)
    mask = np.isin(np.arange(layout.total), [layout.starts[n.layer] + n.unit for n in others])
    shares = []
    for pair in pairs[1:3]:
        word = concept_word(check_validity(vlm, pair))
        exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
        shares.append(exchange.effects([mask])[0] / edit_effect(vlm, pair, word, Decoding()))
    assert found[1].share == pytest.approx(np.mean(shares), abs=1e-3)
    assert all(np.isfinite(one.random) for one in found)
    with pytest.raises(InvalidOption, match="a single photograph"):
        ns.ScoredConcept.of(vlm, pairs[:1], Brightness()).left_out(RANK)


@pytest.mark.parametrize("concept", ["bear", "pizza"])
def test_three_scenes_find_planted_neurons_at_least_as_well_as_one(demo, concept):
    truth, layout = planted(demo)[concept], Layout(demo.widths)
    method = ns.method("difference-x-gradient")  # which misses them on one of the scenes
    some: list[Counterfactual] = []
    known: list[Validity] = []
    for scene in scene_stream(concept, 7):
        pair = counterfactual(scene_sample(scene, concept))
        try:
            known.append(check_validity(demo, pair))
        except InvalidSample:
            continue
        some.append(pair)
        if len(some) == 3:
            break
    scored = ns.ScoredConcept.of(demo, some, method, validities=known)
    alone = [average_precision(one.scores.arrays[one.ranked_by].values, layout, truth) for one in scored.located]
    pooling = ns.Pooling(count=layout.total, scale="effect", within=layout.total)
    found = scored.neurons(pooling)
    values = np.empty(layout.total)
    values[[layout.starts[n.layer] + n.unit for n in found]] = found.scores["pooled"]
    assert average_precision(values, layout, truth) >= max(alone) > min(alone) + 0.5

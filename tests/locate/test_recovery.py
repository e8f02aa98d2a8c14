"""The cut is the smallest set that does what it says, seen by interventions one at a time."""

import dataclasses
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Caption, clean_captions
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate import named
from neuronscope.intervene import Patch
from neuronscope.locate import Exchange, Recovery, ScoredConcept, edit_effect, equal_size, method, recovery, saying
from neuronscope.locate.picture_row import picture_rows
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.target import CONCEPT_TOKENS, concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.types import Neurons


@pytest.fixture(scope="module")
def pair():
    return ns.counterfactual(scenes_of("bear", 2)[1])


@pytest.fixture(scope="module")
def validity(demo, pair):
    return check_validity(demo, pair)


@pytest.fixture(scope="module")
def values(demo, pair, validity):
    return (
        method("difference-x-gradient-refined")
        .locate(demo, pair, validity=validity)
        .scores.arrays["attribution"]
        .values
    )


@pytest.fixture(scope="module")
def rows(demo, pair, validity):
    """Both pictures, read once."""
    return picture_rows(demo, pair, concept_word(validity), Decoding(), "neuron")


@pytest.fixture(scope="module")
def choose(demo, pair, validity, values, rows):
    """Cuts the ranking of `values`, by a cut without random sets beside it."""

    def cut(**options):
        return Recovery(**options, draws=0).choose(demo, pair, validity, values, rows=rows)

    return cut


def best(values, size) -> list[int]:
    return best_first(values)[:size].tolist()


@pytest.fixture(scope="module")
def naive(demo, pair, validity):
    """Share of the edit's effect, or whether the word is gone, by one intervention."""
    word = concept_word(validity)
    inputs, (position, token) = word.inputs(demo, pair.original, Decoding()), word.entries[0]

    def score() -> float:
        with torch.no_grad():
            return float(demo.logits(inputs, last=position)[0, -position].log_softmax(-1)[token])

    clean, effect = score(), edit_effect(demo, pair, word, Decoding())
    every = Neurons.of((layer, unit) for layer, width in enumerate(demo.widths) for unit in range(width))
    source, places = Patch.take(demo, every, pair.edited).source, every.members

    def patched(flat):
        return demo.intervene(Patch(Neurons(tuple(places[at] for at in flat)), source=source[:, flat]))

    def share(flat) -> float:
        with patched(flat):
            return (clean - score()) / effect

    def gone(flat) -> bool:
        with patched(flat):
            return not named(clean_captions(demo, [pair.original])[0].text, pair.sample.concept)

    return SimpleNamespace(share=share, gone=gone)


@pytest.mark.parametrize(("share", "word"), [(0.3, True), (0.5, False), (0.7, True)])
def test_it_is_the_fewest_that_do_it(choose, values, naive, share, word):
    found = choose(share=share, word=word, rest=None, gap=None)
    least = share * min(1, found.ceiling)
    recovered = naive.share(best(values, found.count))
    assert found.share == pytest.approx(recovered, abs=1e-4)
    assert recovered >= least
    assert not word or naive.gone(best(values, found.count))
    fewer = best(values, found.count - 1)
    assert naive.share(fewer) < least or (word and not naive.gone(fewer))


def test_few_sizes_are_asked(choose):
    """One is doubled until it holds and halved down to the last that fails; each costs a row."""
    found = choose(rest=None)
    assert 0 < found.fewest < 20
    assert len(found.tried) <= 8  # 40, five halvings down to one neuron, the group's end
    assert len(choose(share=5.0, rest=None).tried) == 7  # 40, 80 ... 1280, 2000


@pytest.mark.parametrize("share", [0.9, 5.0])
def test_in_place_of_a_large_set_a_small_one_without_which_little_is_recovered(choose, values, naive, share):
    """However much of a saturating score is asked for: also of shares that no set reaches."""
    alone = choose(share=share, rest=None, gap=None)
    assert bool(alone.count) is (share < 1)
    found = choose(share=share, reach=(alone.count or 41) - 1, gap=None)
    assert 0 < found.count < (alone.count or len(values))
    order = best_first(values)
    for size, whole in ((found.count, True), (found.count - 1, False)):
        outside = np.where(np.isin(np.arange(len(values)), order[:size]), -1.0, values)
        left = naive.share(best(outside, len(values) - size))
        gone = naive.gone(best(values, size))
        assert (left <= 0.1 * min(1, found.ceiling) and gone) is whole
    if share < 1:  # where it is within reach, or the small one is not, the set that recovers the share stays
        for reach in (alone.count, found.count - 1):
            assert choose(share=share, reach=reach, gap=None).count == alone.count


def test_controls_stand_beside_it(demo, pair, validity, values, naive):
    found = Recovery().choose(demo, pair, validity, values)
    assert len(found.random) == 3
    assert max(np.abs(found.random)) < 0.05
    assert found.ceiling == pytest.approx(naive.share(best(values, len(values))), abs=1e-4)
    rest = np.where(np.isin(np.arange(len(values)), best_first(values)[: found.count]), -1.0, values)
    assert found.others == pytest.approx(naive.share(best(rest, len(values) - found.count)), abs=1e-4)


def test_a_group_is_kept_whole():
    """Hand-worked: scores 8 7 6 2 1, the fewest two, and the fall by three between 6 and 2 ends their group."""
    order = np.array([0, 1, 2, 3, 4])
    scores = np.array([8.0, 7.0, 6.0, 2.0, 1.0])
    assert Recovery()._group(order, scores, 2) == 3
    assert Recovery(gap=None)._group(order, scores, 2) == 2
    assert Recovery(gap=4.0)._group(order, scores, 2) == 2
    assert Recovery(reach=2)._group(order, scores, 2) == 2
    assert Recovery()._group(order, scores, 5) == 5


def test_rankings_are_cut_by_it(demo, pair, validity):
    found = method("grad-x-activation", cut=Recovery(share=0.3, word=False)).locate(demo, pair, validity=validity)
    document = found.neurons.provenance["recovery"]
    assert len(found.neurons) == document["count"] > 0
    assert f"exchanging the {len(found.neurons)} neurons" in " ".join(found.notes)
    assert equal_size(method("pan", cut=Recovery()), found.neurons).cut is None


def test_nothing_is_kept_where_no_set_does_it(demo, pair, validity, values, choose):
    found = choose(most=1)
    assert found.count == 0
    assert "no set of the best neurons" in found.notes()[0]
    assert not Recovery().choose(demo, pair, validity, np.zeros_like(values)).count


def test_an_edit_without_an_effect_is_refused(demo, pair, validity, values):
    same = dataclasses.replace(pair, edited=pair.original)
    with pytest.raises(InvalidSample, match="no effect that neurons could recover"):
        Recovery().choose(demo, same, validity, values)


@pytest.mark.parametrize(
    "wrong",
    [{"share": 0.0}, {"share": float("nan")}, {"gap": 1.0}, {"most": 0}, {"draws": 1.5}, {"reach": -1}, {"rest": 1.0}],
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        Recovery(**wrong)


@pytest.fixture
def surfboard(vlm, speaks):
    """A word of two tokens, and an edit that makes both less likely."""
    speaks(vlm, "surfboard on grass", "grass")
    for seed in range(1, 41):  # the one before does not
        image = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        pair = ns.counterfactual(ns.Sample(image, "surfboard", boxes=[(3, 3, 20, 12)]))
        known = check_validity(vlm, pair)
        effects = {t: edit_effect(vlm, pair, concept_word(known, t), Decoding()) for t in CONCEPT_TOKENS}
        if min(effects.values()) > 1e-3 and abs(effects["first"] - effects["last"]) > 1e-3:
            return pair, known, effects
    raise AssertionError("no edit of forty makes both tokens less likely")


@pytest.mark.parametrize("token", CONCEPT_TOKENS)
def test_the_cut_recovers_the_sub_tokens_that_the_ranking_scores(vlm, surfboard, token):
    pair, known, effects = surfboard
    cut = Recovery(share=0.3, word=False, gap=None)
    asked = {"cut": cut, "concept_token": token, "decoding": Decoding(max_new_tokens=3)}
    methods = {
        "ranking": method("difference-x-gradient", target="logprob", **asked),
        "pan": method("pan", **asked),
        "product": ns.TwoStage(**asked, points=1, rounds=0),
    }
    for chosen in methods.values():
        located = chosen.locate(vlm, pair, validity=known)
        told = located.neurons.provenance["recovery"]
        assert told["effect"] == pytest.approx(effects[token], rel=1e-4, abs=1e-6)
        if told["count"]:
            word = concept_word(known, token)
            exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
            share = exchange.effects([Layout(vlm.widths).mask(located.neurons)])[0] / effects[token]
            assert told["share"] == pytest.approx(share, rel=1e-3)
    top = ns.ceiling(vlm, pair, validity=known, concept_token=token, changes=(), layers=False)
    assert top.effect == pytest.approx(effects[token], rel=1e-4, abs=1e-6)
    scored = ScoredConcept.of(vlm, [pair], methods["pan"], validities=[known])
    assert scored.effects == pytest.approx([effects[token]], rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def by_captions(demo, pair, validity, values):
    """Cuts where the share says little and captions decide; also the sizes of which the plain path was asked."""
    said = recovery._Asked._said

    def cut():
        sizes = list[int]()

        def watched(self, image, exchange, size):
            if image is pair.original:
                sizes.append(size)
            return said(self, image, exchange, size)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recovery._Asked, "_said", watched)
            chosen = Recovery(share=1e-9, rest=None, most=20, draws=0).choose(demo, pair, validity, values)
        return chosen, sizes

    return cut


@pytest.fixture(scope="module")
def by_the_plain_path(by_captions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saying.Saying, "of", lambda *_: None)
        return by_captions()


@pytest.mark.parametrize("trusted", [True, False])
def test_captions_are_written_on_from_the_pass_that_gives_the_share(
    demo, by_captions, by_the_plain_path, monkeypatch, trusted
):
    """They say what the plain path says, which is asked beside them once, and always where it said something else."""
    monkeypatch.setattr(saying, "_TRIED", WeakKeyDictionary())
    if not trusted:
        monkeypatch.setattr(
            saying.Saying, "captions", lambda self, *a: [Caption("green", "green", (1,)) for _ in a[-1]]
        )
    found, asked = by_captions()
    assert saying._TRIED[demo] is trusted
    again, plainly = by_the_plain_path
    assert (again.count, again.fewest, sorted(again.tried)) == (found.count, found.fewest, sorted(found.tried))
    assert len(plainly) > 3
    assert len(asked) == (1 if trusted else len(plainly))

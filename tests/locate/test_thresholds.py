import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate import Budget, Fixed, Knee, TargetDecoy

TARGET = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
DECOY = np.array([[2.5, 0.5, 0.4, 0.3, 0.2]])


def kept(cut, scores=TARGET):
    return scores[scores > cut.threshold].tolist()


def test_target_decoy_hand_oracle():
    """METHODS (m) oracle 14."""
    cut = TargetDecoy(0.35).choose(TARGET, DECOY)
    assert cut.threshold == 2.5
    assert kept(cut) == [5.0, 4.0, 3.0]
    assert cut.achieved == pytest.approx(1 / 3)


def test_without_any_decoy_exceedance_the_estimate_is_one_over_accepted():
    cut = TargetDecoy(0.25).choose(TARGET, np.zeros((3, 5)))
    assert kept(cut) == TARGET.tolist()
    assert cut.achieved == pytest.approx(1 / 5)


def test_target_decoy_keeps_nothing_when_q_is_out_of_reach():
    cut = TargetDecoy(0.1, fallback="none").choose(TARGET, DECOY)
    assert cut.threshold == np.inf
    assert kept(cut) == []
    assert cut.achieved == pytest.approx(1 / 3)
    assert cut.to_dict()["threshold"] is None


@pytest.mark.parametrize("seed", range(20))
def test_target_decoy_equals_the_formula_tried_at_every_candidate(seed):
    rng = np.random.default_rng(seed)
    target, decoys = rng.normal(size=40) + rng.random(40) * 3, rng.normal(size=(4, 40))
    cut = TargetDecoy(0.2, scan="lowest", fallback="none").choose(target, decoys)
    down = TargetDecoy(0.2, scan="down", fallback="none").choose(target, decoys)
    candidates = sorted({0.0, *target[target > 0], *decoys[decoys > 0]})
    good = [
        t
        for t in candidates
        if (target > t).any() and (1 + np.mean([(d > t).sum() for d in decoys])) / (target > t).sum() <= 0.2
    ]
    assert cut.threshold == (good[0] if good else np.inf)
    first = len(candidates)  # walk down from the top, through the first stretch that is good
    while first and candidates[first - 1] not in good:
        first -= 1
    while first and candidates[first - 1] in good:
        first -= 1
    assert down.threshold == (candidates[first] if good else np.inf)


def test_going_down_stops_where_false_finds_begin():
    """Ten true finds; then decoys as strong as what is left; then a crowd of tiny effects on the target's word only."""
    target = np.concatenate([np.full(10, 5.0), np.full(5, 1.0), np.full(200, 0.01)])
    decoys = np.concatenate([np.zeros(10), np.full(8, 1.5), np.zeros(197)])[None]
    down, lowest = (TargetDecoy(0.1, scan=scan).choose(target, decoys) for scan in ("down", "lowest"))
    assert (target > down.threshold).sum() == 10
    assert (target > lowest.threshold).sum() == 215
    assert down.rule == "target_decoy(0.1, down)"
    with pytest.raises(InvalidOption, match="scan='up'"):
        TargetDecoy(scan="up")  # type: ignore[arg-type]


def test_the_fallback_takes_the_lowest_estimate_and_says_so():
    cut = TargetDecoy(0.1).choose(TARGET, DECOY)
    assert kept(cut) == [5.0, 4.0, 3.0]
    assert cut.achieved == pytest.approx(1 / 3)
    assert "not reached" in cut.rule


def test_the_fallback_refuses_to_guess():
    assert TargetDecoy(0.1).choose(TARGET, np.stack([TARGET, TARGET])).threshold == np.inf


def test_target_decoy_needs_a_control():
    with pytest.raises(InvalidSample, match="at least one control"):
        TargetDecoy().choose(TARGET, np.zeros((0, 5)))


def test_fixed_is_strict():
    assert kept(Fixed(3.0).choose(TARGET, DECOY)) == [5.0, 4.0]


@pytest.mark.parametrize(("count", "left"), [(1, [5.0]), (3, [5.0, 4.0, 3.0]), (99, TARGET.tolist())])
def test_budget_keeps_the_largest(count, left):
    assert kept(Budget(count).choose(TARGET, DECOY)) == left


def test_budget_never_keeps_scores_that_are_not_positive():
    scores = np.array([1.0, 0.0, -1.0, -2.0, -3.0])
    assert kept(Budget(3).choose(scores, DECOY), scores) == [1.0]


def test_knee_cuts_where_a_few_stand_out():
    scores = np.array([10.0, 9.5, 9.0, *np.linspace(1, 0.5, 50)])
    assert 0.9 < Knee().choose(scores, np.zeros((0, len(scores)))).threshold < 9.0


@pytest.mark.parametrize("make", [lambda: Budget(0), lambda: TargetDecoy(0.0), lambda: TargetDecoy(1.0)])
def test_impossible_settings_are_refused(make):
    with pytest.raises(InvalidOption):
        make()


def test_a_laxer_share_keeps_as_many():
    """METHODS n7: 5 neurons with 10, 25 with 8, two decoys of 9: going down keeps 30 at 0.1 and 5 at 0.2."""
    target, decoys = np.array([10.0] * 5 + [8.0] * 25), np.array([[9.0] * 2 + [0.0] * 28])
    assert [len(kept(TargetDecoy(q).choose(target, decoys), target)) for q in (0.1, 0.2)] == [30, 30]
    assert [len(kept(TargetDecoy(q, scan="down").choose(target, decoys), target)) for q in (0.1, 0.2)] == [30, 5]


@given(st.integers(0, 10_000), st.sampled_from(["best", "none"]))
def test_kept_grows_with_the_accepted_share(seed, fallback):
    rng = np.random.default_rng(seed)
    target, decoys = rng.integers(0, 20, 60) / 4, rng.integers(0, 16, (3, 60)) / 4
    counts = [
        len(kept(TargetDecoy(q, fallback=fallback).choose(target, decoys), target)) for q in np.linspace(0.02, 0.98, 25)
    ]
    assert counts == sorted(counts)

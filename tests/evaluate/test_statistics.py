import itertools

import numpy as np
import pytest

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate.aggregate import Trials, aggregate
from neuronscope.evaluate.statistics import benjamini_hochberg, bootstrap_trials, empirical_p, sign_flip
from neuronscope.evaluate.statistics.bootstrap import draw_weights, weighted_shares


def simulate(seed, *, concepts=4, groups=3, levels=(1.0,), draws=3, own=3, p_own=0.3, p_other=0.8, spread=0.0):
    """Trials of random hits; `spread` moves the rate of hits from concept to concept."""
    rng = np.random.default_rng(seed)
    images = tuple(f"{k}-{i}" for k in range(concepts) for i in range(own))
    result = []
    for k in range(concepts):
        mine = np.zeros(concepts * own, dtype=bool)
        mine[own * k : own * (k + 1)] = True
        rate = np.where(mine, np.clip(p_own + spread * rng.standard_normal(), 0, 1), p_other)
        hits = rng.random((groups, len(levels), draws, len(images))) < rate
        result.append(Trials(f"c{k}", hits, mine, levels, images, images[own * k : own * k + groups]))
    return result


def units(weights):
    """Each unit as often as it was drawn."""
    return np.repeat(np.arange(len(weights)), weights)


@pytest.mark.parametrize("held_out", [False, True])
def test_weighted_shares_equal_a_loop_over_what_was_drawn(held_out):
    trials = simulate(1, concepts=2, groups=3, levels=(1.0, 2.0), draws=2)[1]
    weights = draw_weights(trials, 25, np.random.default_rng(5), held_out=held_out)
    own, others = weighted_shares(trials, weights, held_out=held_out)
    columns = {True: np.nonzero(trials.own)[0], False: np.nonzero(trials.others)[0]}
    for b in range(25):
        for mine, result, drawn in ((True, own, weights.own[b]), (False, others, weights.others[b])):
            by_level = []
            for level in range(2):
                seen = [
                    trials.hits[j, level, r, columns[mine][i]]
                    for j in units(weights.groups[b])
                    for i in units(drawn)
                    for r in units(weights.draws[b, level])
                    if not (held_out and mine and trials.images[columns[mine][i]] == trials.sources[j])
                ]
                by_level.append(np.mean(seen))
            assert result[b] == pytest.approx(np.mean(by_level))


def test_as_many_units_are_drawn_as_there_are():
    trials = simulate(0, levels=(1.0, 2.0), draws=5)[0]
    weights = draw_weights(trials, 200, np.random.default_rng(0))
    for drawn, size in ((weights.groups, 3), (weights.own, 3), (weights.others, 9), (weights.draws, 5)):
        assert (drawn.sum(-1) == size).all()
        assert drawn.mean((0, *range(1, drawn.ndim - 1))) == pytest.approx(np.ones(size), abs=0.2)
        assert drawn.max() > 1


def test_held_out_draws_always_leave_an_image():
    trials = simulate(0, concepts=2, groups=2, own=2)[0]
    weights = draw_weights(trials, 2000, np.random.default_rng(0), held_out=True)
    alone = (weights.groups == 2) & (weights.own == 2)  # one group, one image: the group's own
    assert not alone.any()
    assert ((weights.groups == 2).any(1) & (weights.own == 2).any(1)).any()  # the other group's image is fine


@pytest.mark.parametrize("held_out", [False, True])
def test_replicates_centre_on_the_tables_value(held_out):
    trials = simulate(2, concepts=6, levels=(1.0, 2.0))
    cell = aggregate(trials, held_out=held_out).overall
    found = bootstrap_trials({"ours": trials}, held_out=held_out, replicates=4000)
    for score, value in {"S_se": cell.s_se, "S_re": cell.s_re, "J": cell.j}.items():
        estimate = found.estimate("ours", score)
        assert estimate.value == value
        assert estimate.low < value < estimate.high
        assert found.replicates["ours"][score].mean() == pytest.approx(value, abs=0.01)
    narrow = found.estimate("ours", "J", confidence=0.5)
    assert narrow.high - narrow.low < found.estimate("ours", "J").high - found.estimate("ours", "J").low


def test_only_concepts_vary_when_everything_within_them_is_alike():
    """Hits without any variation inside a concept: the bootstrap of the concepts' means by hand."""
    trials = simulate(0, concepts=2)
    for one, hit in zip(trials, (True, False), strict=True):
        one.hits[..., one.own] = hit
        one.hits[..., one.others] = True
    found = bootstrap_trials({"ours": trials}, replicates=4000).replicates["ours"]
    values, counts = np.unique(found["S_se"], return_counts=True)
    assert values.tolist() == [0, 0.5, 1]  # both drawn concepts the first; one of each; both the second
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert (found["S_re"] == 1).all()


def test_the_seed_decides():
    trials = simulate(0)
    first, again, other = (bootstrap_trials({"x": trials}, replicates=200, seed=s) for s in (0, 0, 1))
    assert (first.replicates["x"]["J"] == again.replicates["x"]["J"]).all()
    assert (first.replicates["x"]["J"] != other.replicates["x"]["J"]).any()
    assert first.settings == {"replicates": 200, "seed": 0, "held_out": False}


def test_a_method_does_not_differ_from_itself():
    trials = simulate(0, levels=(1.0, 2.0))
    found = bootstrap_trials({"a": trials, "b": simulate(0, levels=(1.0, 2.0))}, replicates=500)
    for score in ("S_se", "S_re", "J"):
        estimate = found.difference("a", "b", score)
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_paired_differences_are_narrower_than_unpaired_ones():
    """The second method misses what the first misses and a little more: most of the variation is shared."""
    first = simulate(3, concepts=12, spread=0.25)
    rng = np.random.default_rng(0)
    second = [
        Trials(t.concept, t.hits | (rng.random(t.hits.shape) < 0.2), t.own, t.levels, t.images, t.sources)
        for t in first
    ]
    found = bootstrap_trials({"a": first, "b": second}, replicates=2000)
    paired = found.difference("a", "b", "S_se")
    a, b = (found.estimate(name, "S_se") for name in "ab")
    assert paired.value == pytest.approx(a.value - b.value)
    assert paired.low > 0
    assert paired.high - paired.low < 0.5 * (a.high - a.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """60 simulated studies with concepts of different rates; 95 % intervals of S_se with 15 concepts."""
    covered = 0
    for seed in range(60):
        trials = simulate(seed, concepts=15, groups=2, draws=2, own=2, p_own=0.5, spread=0.15)
        estimate = bootstrap_trials({"x": trials}, replicates=400, seed=seed).estimate("x", "S_se")
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered >= 51  # fewer happens once in 1400 times at a coverage of exactly 95 %


@pytest.mark.parametrize(
    ("methods", "options", "reason"),
    [
        ({}, {}, "no methods"),
        ({"a": []}, {}, "no trials"),
        ({"a": simulate(0)}, {"replicates": 0}, "replicates=0"),
        ({"a": simulate(0), "b": simulate(0)[:3]}, {}, "'a' has 4 concepts, 'b' has 3"),
        ({"a": simulate(0), "b": simulate(0, draws=4)}, {}, "'a' and 'b' do not correspond.*'c0' have shape"),
        ({"a": simulate(0), "b": simulate(0)[::-1]}, {}, "do not correspond"),
    ],
)
def test_trials_that_do_not_correspond_are_refused(methods, options, reason):
    with pytest.raises(InvalidOption, match=reason):
        bootstrap_trials(methods, **options)


def test_unknown_names_and_levels_of_confidence_are_refused():
    found = bootstrap_trials({"two-stage": simulate(0)}, replicates=10)
    with pytest.raises(InvalidOption, match="Did you mean 'two-stage'"):
        found.estimate("twostage", "J")
    with pytest.raises(InvalidOption, match="score='s_se'"):
        found.difference("two-stage", "two-stage", "s_se")
    with pytest.raises(InvalidOption, match="confidence=95"):
        found.estimate("two-stage", "J", confidence=95)


def test_held_out_needs_a_second_image():
    with pytest.raises(InvalidSample, match="its only image"):
        bootstrap_trials({"a": simulate(0, own=1, groups=1)}, held_out=True, replicates=10)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((1, 2, 3), 2 / 8),  # sums 6, 4, 2, 0 and their negatives: only 6 and -6 are as far out
        ((1, 2, -1), 6 / 8),  # the sum is 2; of 4, 2, 2, 0, 0, -2, -2, -4 all but the zeros
        ((0.5,), 1),
        ((0, 0, 0), 1),
        ((1, -1), 1),
        ((1e-9, 2e-9, 3e-9), 2 / 8),
    ],
)
def test_sign_flips_by_hand(differences, p):
    found = sign_flip(differences)
    assert found.p == pytest.approx(p)
    assert found.mean == pytest.approx(np.mean(differences))
    assert (found.exact, found.patterns) == (True, 2 ** len(differences))


@pytest.mark.parametrize("count", [2, 5, 9, 12])
def test_exact_sign_flips_equal_full_enumeration(count):
    """Multiples of 0.1, so that many patterns tie with the observed sum but for rounding."""
    differences = np.random.default_rng(count).integers(-4, 9, count) * 0.1
    sums = [sum(s * round(10 * d) for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product((1, -1), repeat=count)]  # fmt: skip
    expected = np.mean([abs(total) >= abs(sum(round(10 * d) for d in differences)) for total in sums])
    assert sign_flip(differences.tolist()).p == pytest.approx(expected)


def test_thirty_concepts_are_counted_in_full_and_random_patterns_agree():
    differences = (np.random.default_rng(0).standard_normal(30) + 0.3).tolist()
    exact, drawn = sign_flip(differences), sign_flip(differences, exact_up_to=0, patterns=20_000)
    assert (exact.exact, exact.patterns, drawn.exact, drawn.patterns) == (True, 2**30, False, 20_000)
    assert drawn.p == pytest.approx(exact.p, abs=0.01)


def test_random_patterns_never_give_zero():
    assert sign_flip([1.0] * 60, patterns=999).p == pytest.approx(1 / 1000)


def test_empirical_p():
    random = [0.1] * 15 + [0.3] * 3 + [0.1 + 0.2, 0.5]
    assert empirical_p(0.3, random) == pytest.approx((1 + 5) / 21)  # 0.1 + 0.2 ties with 0.3
    assert empirical_p(0.9, random) == pytest.approx(1 / 21)
    assert empirical_p(-1, random) == 1
    with pytest.raises(InvalidOption, match="19 scores of random sets; at least 20"):
        empirical_p(0.3, random[:19])
    with pytest.raises(InvalidOption, match="observed=nan"):
        empirical_p(float("nan"), random)


def test_benjamini_hochberg_by_hand():
    """p sorted: .01 .02 .03 .04 .5; p m / i: .05 .05 .05 .05 .5; all four fall at q = .05, none just below."""
    p = [0.04, 0.5, 0.01, 0.03, 0.02]
    found = benjamini_hochberg(p, 0.05)
    assert found.adjusted == pytest.approx((0.05, 0.5, 0.05, 0.05, 0.05))
    assert found.rejected == (True, False, True, True, True)
    assert not any(benjamini_hochberg(p, 0.049).rejected)
    # 1995's own example, m = 15: the four smallest are rejected at .05
    example = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    example += [0.7590, 1.0]
    assert sum(benjamini_hochberg(example).rejected) == 4
    assert max(benjamini_hochberg(example).adjusted) == 1


def test_rejection_is_the_step_up_rule():
    for seed in range(20):
        p = np.random.default_rng(seed).random(12) ** 3
        ordered = np.sort(p)
        passing = [i for i in range(1, 13) if ordered[i - 1] <= 0.1 * i / 12]
        cut = ordered[max(passing) - 1] if passing else -1
        assert benjamini_hochberg(p.tolist(), 0.1).rejected == tuple((p <= cut).tolist())


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: sign_flip([]), "differences must be a list of finite numbers"),
        (lambda: sign_flip([1, float("inf")]), "finite"),
        (lambda: sign_flip([1], exact_up_to=60), "exact_up_to=60"),
        (lambda: sign_flip([1], patterns=0), "patterns=0"),
        (lambda: benjamini_hochberg([]), "p must be a list"),
        (lambda: benjamini_hochberg([0.1, 1.2]), r"p holds 1\.2"),
        (lambda: benjamini_hochberg([0.1], q=1), "q=1"),
    ],
)
def test_bad_input_to_tests_is_refused(call, reason):
    with pytest.raises(InvalidOption, match=reason):
        call()

import itertools

import numpy as np
import pytest

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.evaluate.aggregate import Trials, aggregate, check_clean
from neuronscope.evaluate.published import METHODS, TABLE_II, TABLE_II_MEAN, TABLE_III

IMAGES = ("bed 1", "bed 2", "bed 3", "bus 1", "cat 1")
OWN = np.array([True, True, True, False, False])


def from_counts(own, others=0, *, concept="bed", level=40.0):
    """Groups with so many hits out of 30 (3 images x 10 draws) on the own images, out of 20 on the two others."""
    hits = np.zeros((len(own), 1, 10, 5), dtype=bool)
    for group, count in enumerate(own):
        hits[group, 0, :, :3] = (np.arange(30) < count).reshape(10, 3)
        hits[group, 0, :, 3:] = (np.arange(20) < others).reshape(10, 2)
    return Trials(concept, hits, OWN, (level,), IMAGES)


def random_trials(concept, seed, *, levels=(40.0, 80.0), sources=IMAGES[:3], **more):
    hits = np.random.default_rng(seed).random((3, len(levels), 4, 5)) < 0.5
    return Trials(concept, hits, OWN, levels, IMAGES, sources, **more)


def test_oracle_7_group_shares_of_thirtieths():
    """METHODS (m) 7: 10/30, 7/30, 6/30 give 0.744444, and 0.744667 when groups are rounded first."""
    trials = [from_counts([10, 7, 6], 20)]
    assert aggregate(trials).overall.s_se == pytest.approx(67 / 90, abs=1e-12)
    rounded = aggregate(trials, round_groups=3).overall
    assert rounded.s_se == pytest.approx(0.7446666666, abs=1e-9)
    assert f"{rounded.s_se:.4f}" == f"{TABLE_II['bed', 40]['two-stage'].s_se:.4f}" == "0.7447"
    assert (rounded.own_trials, rounded.other_trials) == (90, 60)


def test_every_published_erasure_is_a_count_of_ninety_when_groups_are_rounded():
    """The inference of METHODS (d): three groups of 30 trials, each share printed with three decimals."""
    shares = np.round(np.arange(31) / 30, 3)
    triples = list(itertools.combinations_with_replacement(range(31), 3))
    values = 1 - shares[np.array(triples)].mean(1)
    for scores in (scores for row in TABLE_II.values() for scores in row.values()):
        fitting = [triples[i] for i in np.nonzero(np.abs(values - scores.s_se) < 5.1e-5)[0]]
        assert len({sum(counts) for counts in fitting}) == 1
        cell = aggregate([from_counts(fitting[0])], round_groups=3).overall
        assert cell.s_se == pytest.approx(scores.s_se, abs=5.1e-5)


def test_oracle_8_published_means():
    """METHODS (m) 8."""
    for row in [*TABLE_II.values(), TABLE_II_MEAN]:
        assert tuple(row) == METHODS == tuple(TABLE_III)
        for scores in row.values():
            assert scores.s_mean == pytest.approx((scores.s_se + scores.s_re) / 2, abs=1e-4)
    assert [round(TABLE_II_MEAN[name].j, 3) for name in METHODS] == [0.120, 0.107, 0.467]
    assert len(TABLE_II) == 9


def test_cells_and_means_against_plain_loops():
    trials = [random_trials(name, seed) for seed, name in enumerate(("bed", "bus", "cat"))]
    table = aggregate(trials)
    erased, kept = {}, {}
    for one in trials:
        for n, level in enumerate(one.levels):
            own = [[one.hits[j, n, r, i] for r in range(4) for i in range(3)] for j in range(3)]
            others = [[one.hits[j, n, r, i] for r in range(4) for i in (3, 4)] for j in range(3)]
            erased[one.concept, level] = 1 - np.mean([np.mean(group) for group in own])
            kept[one.concept, level] = np.mean([np.mean(group) for group in others])
            cell = table.cell(one.concept, level)
            assert cell.s_se == pytest.approx(erased[one.concept, level])
            assert cell.s_re == pytest.approx(kept[one.concept, level])
            assert cell.s_mean == pytest.approx((cell.s_se + cell.s_re) / 2)
            assert cell.j == pytest.approx(2 * cell.s_mean - 1)
    assert table.concept("bus").s_se == pytest.approx((erased["bus", 40] + erased["bus", 80]) / 2)
    assert table.level(80).s_re == pytest.approx(np.mean([kept[name, 80] for name in ("bed", "bus", "cat")]))
    assert table.overall.s_se == pytest.approx(np.mean(list(erased.values())))
    assert table.overall.own_trials == 3 * 2 * 3 * 4 * 3
    assert [cell.concept for cell in table.concepts] == ["bed", "bus", "cat"]
    assert table.overall.concept is table.overall.level is table.concept("bed").level is None
    assert aggregate([trials[0].at(80.0)]).overall.s_se == pytest.approx(erased["bed", 80])


def test_concepts_weigh_the_same_however_many_groups_they_have():
    one, three = from_counts([0]), from_counts([30, 30, 30], concept="bus")
    assert aggregate([one, three]).overall.s_se == pytest.approx(0.5)


def test_held_out_scores_leave_out_the_image_a_group_came_from():
    hits = np.zeros((2, 1, 1, 5), dtype=bool)
    hits[0, 0, 0] = [False, True, True, True, True]  # located in bed 1, erases it, and nothing else
    hits[1, 0, 0] = [True, False, False, True, True]  # located in bed 2, erases bed 2 and 3
    trials = [Trials("bed", hits, OWN, (40.0,), IMAGES, ("bed 1", "bed 2"))]
    assert aggregate(trials).overall.s_se == pytest.approx((1 / 3 + 2 / 3) / 2)
    held_out = aggregate(trials, held_out=True).overall
    assert held_out.s_se == pytest.approx((0 + 1 / 2) / 2)
    assert (held_out.s_re, held_out.own_trials) == (1, 4)


def test_held_out_scores_without_sources_or_other_images_are_refused():
    with pytest.raises(InvalidSample, match="'bed' need to know the image each group came from"):
        aggregate([from_counts([1, 2, 3])], held_out=True)
    lonely = Trials("bed", np.ones((1, 1, 1, 2), bool), np.array([True, False]), (40.0,), ("a", "b"), ("a",))
    with pytest.raises(InvalidSample, match="its only image is 'a'"):
        aggregate([lonely], held_out=True)


def test_images_that_show_the_concept_without_standing_for_it_count_nowhere():
    shown = np.array([True, True, True, True, False])
    all_of_them = random_trials("bed", 0)
    fewer = random_trials("bed", 0, shown=shown)
    assert fewer.others.tolist() == [False, False, False, False, True]
    assert aggregate([fewer]).overall.s_re == pytest.approx(fewer.hits[..., 4].mean())
    assert aggregate([fewer]).overall.s_se == aggregate([all_of_them]).overall.s_se


@pytest.mark.parametrize(("hit", "s_se", "s_re"), [(True, 0, 1), (False, 1, 0)])
def test_no_effect_and_total_destruction_have_no_j(hit, s_se, s_re):
    cell = aggregate([Trials("bed", np.full((2, 1, 3, 5), hit), OWN, (1.0,), IMAGES)]).overall
    assert (cell.s_se, cell.s_re, cell.s_mean, cell.j) == (s_se, s_re, 0.5, 0)


def test_what_does_not_fit_together_is_refused():
    good = random_trials("bed", 0)
    with pytest.raises(InvalidOption, match="no trials"):
        aggregate([])
    with pytest.raises(InvalidOption, match="trials of 'bed' were given 2 times"):
        aggregate([good, good])
    with pytest.raises(InvalidOption, match=r"'bus' have levels \(40.0, 120.0\), those of 'bed' \(40.0, 80.0\)"):
        aggregate([good, random_trials("bus", 0, levels=(40.0, 120.0))])
    with pytest.raises(InvalidOption, match="round_groups=-1"):
        aggregate([good], round_groups=-1)
    with pytest.raises(InvalidOption, match="level=7 was not run; levels: 40, 80"):
        good.at(7)
    with pytest.raises(InvalidOption, match="no cell for concept='cat', level=40; it has bed at 40, bed at 80"):
        aggregate([good]).cell("cat", 40)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"hits": np.zeros((3, 2, 0, 5), bool)}, InvalidOption, "shape"),
        ({"levels": (40.0,)}, InvalidOption, "1 levels and 5 images"),
        ({"images": IMAGES[:4]}, InvalidOption, "2 levels and 4 images"),
        ({"sources": ("bed 1",)}, InvalidOption, "1 sources were given for 3 groups"),
        ({"sources": ("bed 1", "bed 2", "bus 1")}, InvalidOption, "'bus 1' is not among the images of the concept"),
        ({"own": np.zeros(5, bool)}, InvalidSample, "0 with and 5 without"),
        ({"own": np.ones(5, bool)}, InvalidSample, "5 with and 0 without"),
    ],
)
def test_bad_trials_are_refused(changes, error, reason):
    good = {"concept": "bed", "hits": np.zeros((3, 2, 4, 5), bool), "own": OWN, "levels": (40.0, 80.0)}
    with pytest.raises(error, match=reason):
        Trials(**{**good, "images": IMAGES, "sources": (), **changes})


def test_the_gate_names_every_sample_whose_clean_caption_misses_its_concept():
    check_clean(["1", "2"], ["bed", "bus"], [True, True])
    with pytest.raises(InvalidSample, match=r"1 of 2 images do not name their own concept.*2 of 'bus' \(\"a truck\"\)"):
        check_clean(["1", "2"], ["bed", "bus"], [True, False], ["a bed", "a truck"])
    for lists in (([], [], []), (["1"], ["bed", "bus"], [True])):
        with pytest.raises(InvalidOption, match="as many images, concepts, hits"):
            check_clean(*lists)

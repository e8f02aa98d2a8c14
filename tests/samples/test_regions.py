"""What is taken of what a finder finds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples import FoundRegion, counterfactual, regions_of
from neuronscope.samples.regions import distinct, marked_by


class Fake:
    """Finds what it is told to."""

    least = 0.3

    def __init__(self, *regions: FoundRegion) -> None:
        self.regions = regions

    def find(self, image: Image.Image, word: str) -> tuple[FoundRegion, ...]:
        return self.regions

    def outlined(self, image: Image.Image, region: FoundRegion) -> FoundRegion:
        x, y, w, h = (int(value) for value in region.box)
        mask = np.zeros((image.height, image.width), dtype=bool)
        mask[y + 1 : y + h, x + 1 : x + w] = True
        return FoundRegion(region.box, region.score, mask, 0.9)

    def told(self) -> dict[str, object]:
        return {"detector": {"model": "fake"}, "segmenter": {"model": "pen"}}


def region(x: float, score: float, width: float = 10) -> FoundRegion:
    return FoundRegion((x, 5, width, 10), score)


#: The same object twice, another one, and a weak one.
FOUND = (region(5, 0.6), region(6, 0.8), region(30, 0.5), region(45, 0.1))


def test_the_best_is_taken_and_the_rest_is_told(picture):
    found = regions_of(Fake(*FOUND), picture, "bear")
    assert [one.box[0] for one in found.taken] == [6]
    assert [one.box[0] for one in found.others] == [30]  # 5 overlaps 6, 45 is below 0.3
    assert found.sentence == (
        "'bear' was found by fake at 6,5,10,10 (score 0.80), outlined by pen; 1 more not taken, with scores 0.50"
    )


def test_all_are_taken_with_the_union_of_their_masks(picture):
    found = regions_of(Fake(*FOUND), picture, "bear", take="all")
    assert [one.score for one in found.taken] == [0.8, 0.5]
    assert found.mask is not None
    assert found.mask.sum() == 2 * 9 * 9


def test_the_record_is_in_the_counterfactual_with_masks_that_can_be_read(picture):
    found = regions_of(Fake(*FOUND), picture, "bear")
    sample = found.sample(image_id="a")
    assert marked_by(sample) == (found.sentence,)
    pair = counterfactual(sample, region="mask")
    told = pair.options["found_by"]
    assert told["detector"] == {"model": "fake"}
    assert np.array_equal(coco.decode(told["taken"][0]["mask"]).astype(bool), pair.mask)
    assert "found_by" not in counterfactual(type(sample)(picture, "bear", boxes=[(5, 5, 9, 9)])).options


@pytest.mark.parametrize("scores", [(), (0.0,), (0.29,), (0.1, 0.2), (0.05, 0.05, 0.05), (0.2999,)])
def test_nothing_good_enough_is_refused_with_the_best_score(picture, scores):
    finder = Fake(*(region(12.0 * k, score) for k, score in enumerate(scores)))
    with pytest.raises(InvalidSample, match="box x,y,w,h or a mask") as error:
        regions_of(finder, picture, "bear")
    if scores:
        assert f"has a score of {max(scores):.3g}" in str(error.value)
        assert regions_of(finder, picture, "bear", least_score=0.0).taken[0].score == max(scores)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"take": "some"}, InvalidOption),
        ({"take": "best"}, InvalidOption),
        ({"least_score": 1.5}, InvalidOption),
        ({"least_score": -0.1}, InvalidOption),
        ({"word": " "}, InvalidSample),
        ({"word": ""}, InvalidSample),
    ],
)
def test_values_out_of_range(picture, unchecked, options, error):
    with pytest.raises(error):
        regions_of(Fake(*FOUND), picture, **{"word": "bear", **options})


def test_distinct_keeps_the_better_of_two_that_are_one():
    rng = np.random.default_rng(0)
    found = [FoundRegion((*rng.uniform(0, 30, 2), *rng.uniform(5, 30, 2)), float(rng.uniform())) for _ in range(40)]
    kept = distinct(found)
    assert kept[0].score == max(one.score for one in found)
    assert 1 < len(kept) < 40
    assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)

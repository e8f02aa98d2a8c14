from types import SimpleNamespace

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.studies.reproduce.conditions import AreaOutOfRange, Limits, NoInstance, ObjectTooSmall, SizeCheck
from neuronscope.tokens import Frame

SIDE = 64  # the tiny model sees 32 x 32 pixels of it
BOX = (16, 16, 24, 24)
SMALL = Limits(min_side=8)


@pytest.mark.parametrize("limits", [{"min_area": 0.7}, {"max_area": 1.2}, {"min_side": -1}])
def test_impossible_limits_are_refused(limits):
    with pytest.raises(InvalidOption, match="need 0 <= min_area <= max_area <= 1"):
        Limits(**limits)


def test_size_is_measured_on_the_mask_where_there_is_one(vlm):
    check = SizeCheck(vlm, SMALL)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:26, 10:40] = True
    check.check(ns.Sample("a.png", "bear", mask=mask), (SIDE, SIDE))  # 30 x 16 px: 8 px high as the model sees it
    mask[10] = False
    with pytest.raises(ObjectTooSmall, match=r"7\.5 px.*at least 8"):
        check.check(ns.Sample("a.png", "bear", mask=mask), (SIDE, SIDE))
    with pytest.raises(AreaOutOfRange, match=r"fills 0\.00%"):
        check.check(ns.Sample("a.png", "bear", boxes=[BOX], mask=mask & False), (SIDE, SIDE))
    with pytest.raises(InvalidSample, match=r"mask of image  has shape \(64, 64\), the picture is 40 x 64"):
        check.check(ns.Sample("a.png", "bear", mask=mask), (SIDE, 40))
    with pytest.raises(NoInstance):
        check.check(ns.Sample("a.png", "bear"), (SIDE, SIDE))


class Patchy:
    """A model whose processor returns flattened patches: 72 x 48 px of a picture of 96 x 64, in patches of 4 px."""

    family = SimpleNamespace(pixels="pixel_values")
    processor = SimpleNamespace(image_processor=SimpleNamespace(temporal_patch_size=2))

    def __init__(self, values=2 * 3 * 4 * 4):
        self.values = values

    def frames(self, picture):
        return (Frame((96, 64), (18, 12), (96 / 18, 64 / 12), (0, 0)),)

    def prepare(self, images):
        row = SimpleNamespace(tensors={"pixel_values": np.zeros((18 * 12, self.values))})
        return SimpleNamespace(rows=(row,))


def test_where_frames_count_patches_sides_are_still_pixels():
    sample = ns.Sample("a.png", "bear", boxes=[(0, 0, 40, 40)])
    SizeCheck(Patchy(), Limits(min_side=30)).check(sample, (96, 64))  # 40 px of the picture are 30 px there
    with pytest.raises(ObjectTooSmall, match=r"is 30\.0 px"):
        SizeCheck(Patchy(), Limits(min_side=30.1)).check(sample, (96, 64))
    with pytest.raises(InvalidOption, match="min_side=32 cannot be checked for this model, give 0: 100 values"):
        SizeCheck(Patchy(100), Limits()).check(sample, (96, 64))
    SizeCheck(Patchy(100), Limits(min_side=0)).check(sample, (96, 64))

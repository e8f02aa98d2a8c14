"""Marks that models make: what a word means in a picture, and what lies under a click."""

from __future__ import annotations

from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..regions import Detector, DetectorFinder, Segmenter
from ..samples.boxes import mask_box
from ..samples.regions import FoundRegion, Regions, regions_of
from .annotations import Find


def by_word(image: Image.Image, word: str, detector: Detector | None, segmenter: Segmenter | None) -> Find:
    """The best region of a word, with its outline where there is a segmenter.

    Raises InvalidOption without a detector, and what :func:`neuronscope.samples.regions_of` raises.
    """
    if detector is None:
        raise InvalidOption("there is no detector: start the explorer with --detector")
    found = regions_of(DetectorFinder(detector, segmenter), image, word.strip())
    return Find(found.taken[0], found.to_dict())


def by_click(image: Image.Image, x: float, y: float, segmenter: Segmenter | None) -> Find:
    """The outline of what lies under a point in pixels.

    Raises InvalidOption without a segmenter, InvalidSample for a point outside the picture or with nothing under it.
    """
    if segmenter is None:
        raise InvalidOption("there is no segmenter: start the explorer with --segmenter")
    mask, score = segmenter.at(image, x, y)
    if not mask.any():
        raise InvalidSample(f"the segmenter outlines nothing at {x:g},{y:g}: click elsewhere, or draw a box")
    region = FoundRegion(mask_box(mask), 1.0, mask, score)
    finder = {"detector": None, "segmenter": segmenter.told()}
    word = f"what lies at {x:g},{y:g}"
    return Find(region, Regions(image, word, (region,), take="all", finder=finder).to_dict())

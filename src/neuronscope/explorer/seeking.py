"""Marks that models make: what a word means in a picture, and what lies under a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..regions import Finding
from ..samples.boxes import mask_box
from ..samples.regions import FoundRegion, Regions, regions_of
from .annotations import Find

if TYPE_CHECKING:
    from .session import Workshop


def by_word(shop: Workshop, image: Image.Image, word: str) -> Find:
    """The best region of a word, with its outline where there is a segmenter.

    Raises InvalidOption without a detector, and what :func:`neuronscope.samples.regions_of` raises.
    """
    if shop.detector is None:
        raise InvalidOption("there is no detector: start the explorer with --detector")
    found = regions_of(Finding(shop.detector, shop.segmenter), image, word.strip())
    return Find(found.taken[0], found.to_dict())


def by_click(shop: Workshop, image: Image.Image, x: float, y: float) -> Find:
    """The outline of what lies under a point in pixels.

    Raises InvalidOption without a segmenter, InvalidSample for a point outside the picture or with nothing under it.
    """
    if shop.segmenter is None:
        raise InvalidOption("there is no segmenter: start the explorer with --segmenter")
    mask, score = shop.segmenter.at(image, x, y)
    if not mask.any():
        raise InvalidSample(f"the segmenter outlines nothing at {x:g},{y:g}: click elsewhere, or draw a box")
    region = FoundRegion(mask_box(mask), 1.0, mask, score)
    finder = {"detector": None, "segmenter": shop.segmenter.told()}
    word = f"what lies at {x:g},{y:g}"
    return Find(region, Regions(image, word, (region,), take="all", finder=finder).to_dict())

"""A word's regions in a picture by a detector, with a segmenter's masks where there is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ..errors import InvalidSample
from ..given import checked
from ..samples.boxes import Box
from ..samples.image import ImageSource, read_image
from ..samples.regions import FoundRegion, Regions, Take, regions_of
from ..types import Json
from .detector import Detector
from .segmenter import Segmenter


@dataclass(frozen=True)
class DetectorFinder:
    """A detector and, if there is one, a segmenter: a :class:`~neuronscope.samples.regions.Finder`."""

    detector: Detector
    segmenter: Segmenter | None = None

    @property
    def least(self) -> float:
        """The detector's."""
        return self.detector.least

    def find(self, image: Image.Image, word: str) -> Sequence[FoundRegion]:
        """Boxes by falling score."""
        return self.detector.find(image, word)

    def outlined(self, image: Image.Image, region: FoundRegion) -> FoundRegion:
        """The region with the segmenter's mask; without one where it marks nothing."""
        if self.segmenter is None:
            return region
        mask, score = self.segmenter.in_box(image, region.box)
        return replace(region, mask=mask, mask_score=score) if mask.any() else region

    def told(self) -> dict[str, Json]:
        """Names, kinds and fingerprints of both."""
        return {
            "detector": self.detector.told(),
            "segmenter": None if self.segmenter is None else self.segmenter.told(),
        }


@checked
def find_regions(
    image: ImageSource,
    word: str,
    detector: str | os.PathLike[str] | Detector,
    *,
    segmenter: str | os.PathLike[str] | Segmenter | None = None,
    take: Take = "auto",
    least_score: float | None = None,
    device: str | None = None,
) -> Regions:
    """Find a word in a picture: `ns.find_regions("photo.jpg", "cat", "google/owlv2-base-patch16-ensemble").sample()`.

    Args:
        image: path, PIL image or uint8 array [height, width, 3].
        word: what is looked for, as the detector would name it.
        detector: OWL-ViT, OWLv2 or Grounding DINO: hub id, directory, "package:NAME", or one that is loaded.
        segmenter: of the SAM family, for masks of what is taken; likewise.
        take: "auto" for the best region, "all" for every one with the least score.
        least_score: from which a region counts, 0 to 1; the detector's own (0.1, Grounding DINO 0.25).
        device: of models that are loaded here; the GPU if there is one.

    Raises InvalidSample where nothing is found, with the best score that there is, InvalidOption for other kinds of
    models and values out of range, UnsupportedModel for models that cannot be loaded.
    """
    picture = read_image(image)
    found = detector if isinstance(detector, Detector) else Detector(detector, device)
    drawn = segmenter if isinstance(segmenter, Segmenter) or segmenter is None else Segmenter(segmenter, device)
    return regions_of(DetectorFinder(found, drawn), picture, word, take=take, least_score=least_score)


@checked
def outline_boxes(
    image: ImageSource,
    word: str,
    boxes: Sequence[Box],
    segmenter: str | os.PathLike[str] | Segmenter,
    *,
    device: str | None = None,
) -> Regions:
    """The outlines of what is in boxes that somebody gave: x, y, width, height in pixels, all of them taken.

    Arguments and errors are those of :func:`find_regions`; also InvalidSample for boxes outside the picture or without
    an object that the segmenter could outline.
    """
    picture = read_image(image)
    drawn = segmenter if isinstance(segmenter, Segmenter) else Segmenter(segmenter, device)
    taken: list[FoundRegion] = []
    for box in boxes:
        mask, score = drawn.in_box(picture, box)
        if not mask.any():
            raise InvalidSample(f"the segmenter outlines nothing in the box {box}: use the box without it")
        taken.append(FoundRegion(box, 1.0, mask, score))
    return Regions(picture, word, tuple(taken), take="all", finder={"detector": None, "segmenter": drawn.told()})

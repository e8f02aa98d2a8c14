"""Where the object is in a picture: boxes that somebody gives, or what a detector finds of the word."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import BOX, Sought, option

if TYPE_CHECKING:
    from PIL import Image

    from ...samples import Box, Regions

#: Environment variables: what finds objects where no option says it.
DETECTOR, SEGMENTER = "NEURONSCOPE_DETECTOR", "NEURONSCOPE_SEGMENTER"
#: What to do without a detector.
NO_DETECTOR = (
    "a detector finds it: --detector with a directory or hub id of OWLv2 or Grounding DINO, such as "
    f"google/owlv2-base-patch16-ensemble, or the environment variable {DETECTOR}"
)


def finder_names(detector: str | None = None, segmenter: str | None = None) -> tuple[str | None, str | None]:
    """Detector and segmenter as they were given, or else as the environment names them."""
    return detector or os.environ.get(DETECTOR) or None, segmenter or os.environ.get(SEGMENTER) or None


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """Boxes, or what finds them.

    With "auto" or "all" among the boxes, detector and segmenter are filled from the environment where they are not
    given, so that the object says what was used.
    """

    HEADING = "Where the object is"

    boxes: tuple[tuple[float, float, float, float] | Sought, ...] = option(
        (),
        "--box",
        help="Its box x,y,w,h in pixels, may be repeated; or what --detector finds: auto (the best) or all.",
        form=BOX,
        repeated=True,
        metavar="X,Y,W,H",
    )
    detector: str | None = option(
        None, "--detector", help=f"OWLv2 or Grounding DINO: directory or hub id; {DETECTOR}.", metavar="MODEL"
    )
    segmenter: str | None = option(
        None,
        "--segmenter",
        help=f"SAM family, for the object's outline in its box: directory or hub id; {SEGMENTER}.",
        metavar="MODEL",
    )
    least_score: float | None = option(
        None,
        "--least-score",
        least=0,
        most=1,
        help="A detector's region counts from this score on; its own.",
        metavar="S",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.sought:
            for name, value in {"--detector": self.detector, "--least-score": self.least_score}.items():
                if value is not None:
                    raise InvalidOption(
                        f"{name}: the boxes are given, so nothing is looked for; say --box auto instead"
                    )
            if self.segmenter is not None and not self.boxes:
                raise InvalidOption("--segmenter outlines the object in its box: give --box x,y,w,h, or --box auto")
            return
        if len(self.boxes) > 1:
            raise InvalidOption(f"--box {self.sought}: a detector finds the boxes; give no other --box beside")
        detector, segmenter = finder_names(self.detector, self.segmenter)
        if detector is None:
            raise InvalidOption(f"--box {self.sought}: {NO_DETECTOR}")
        object.__setattr__(self, "detector", detector)
        object.__setattr__(self, "segmenter", segmenter)

    @property
    def sought(self) -> Sought | None:
        """How much of what a detector finds is taken; None where the boxes are given."""
        return next((one for one in self.boxes if isinstance(one, str)), None)

    @property
    def given_boxes(self) -> tuple[Box, ...]:
        """The boxes that were given as numbers."""
        return tuple(one for one in self.boxes if not isinstance(one, str))

    def regions(self, image: Image.Image, word: str, device: str | None) -> Regions | None:
        """What marks the object where that is not only boxes: what was found of it, or boxes with their outlines.

        Raises InvalidSample where nothing is found, InvalidOption for models that are none of these kinds,
        UnsupportedModel for some that cannot be loaded.
        """
        from ...regions import find_regions, outline_boxes

        if self.sought is not None:
            assert self.detector is not None
            asked: dict[str, Any] = {"segmenter": self.segmenter, "least_score": self.least_score, "device": device}
            return find_regions(image, word, self.detector, take=self.sought, **asked)
        if self.segmenter is not None and self.given_boxes:
            return outline_boxes(image, word, self.given_boxes, self.segmenter, device=device)
        return None

    def expression(self, image: str, word: str) -> str | None:
        """What :meth:`regions` does, as a line of Python; None where boxes alone say it."""
        named = f", segmenter={self.segmenter!r}" if self.segmenter and self.sought else ""
        named += f", take={self.sought!r}" if self.sought == "all" else ""
        named += f", least_score={self.least_score!r}" if self.least_score is not None else ""
        if self.sought:
            return f"ns.find_regions({image!r}, {word!r}, {self.detector!r}{named})"
        if self.segmenter and self.boxes:
            return f"ns.outline_boxes({image!r}, {word!r}, {list(self.boxes)!r}, {self.segmenter!r})"
        return None

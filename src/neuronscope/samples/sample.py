"""A sample: an image, a concept in it, and where that concept is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields, shown, whole
from ..given import checked_methods
from ..reprs import short_repr
from ..types import Json, one_of
from .boxes import Box, boxes_mask, numbers
from .image import ImageSource, Upright, name_of, read_upright

RegionSource: TypeAlias = Literal["auto", "boxes", "mask"]
REGION_SOURCES: tuple[RegionSource, ...] = get_args(RegionSource)

_WHOLE = 0.98


@dataclass(frozen=True)
class Region:
    """An annotated object of another concept."""

    concept: str
    box: Box
    mask: Bool[np.ndarray, "height width"] | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self, but=("box",))
        object.__setattr__(self, "box", numbers(self.box))


@checked_methods
@dataclass(frozen=True)
class Sample:
    """One image with one concept.

    Attributes:
        image: path, PIL image or uint8 array.
        concept: the word(s) to find neurons for.
        boxes: all instances of the concept.
        mask: its exact pixels, instead of or beside the boxes.
        others: annotated objects of other concepts, which the edit must leave in the picture.
        captions: reference captions, if there are any.
        image_id: name in its data set.
        exact: the same picture without the concept, where it exists (rendered scenes).
        annotated: (width, height) of the picture that boxes and mask were drawn on, where that is known.
        found_by: what found boxes and mask, where no person marked them (:meth:`Regions.to_dict`).
    """

    image: ImageSource
    concept: str
    boxes: Sequence[Box] = ()
    mask: Bool[np.ndarray, "height width"] | None = None
    others: Sequence[Region] = ()
    captions: Sequence[str] = ()
    image_id: str = ""
    exact: ImageSource | None = None
    annotated: tuple[int, int] | None = None
    found_by: Mapping[str, Json] = field(default_factory=dict[str, Json])

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self, but=("boxes",))
        if isinstance(self.boxes, (str, bytes)) or not isinstance(self.boxes, Iterable):  # pyright: ignore
            raise InvalidSample(f"boxes={shown(self.boxes)} is not a sequence of boxes (x, y, width, height)")
        if not self.concept.strip():
            raise InvalidSample("the concept is empty; give the word to find neurons for")
        # Plain tuples, also where an array was given, which has no truth value.
        object.__setattr__(self, "boxes", tuple(numbers(box) for box in self.boxes))

    def load(self) -> Image.Image:
        """The picture as RGB. Raises InvalidSample when it cannot be read, or is not the one that was annotated."""
        read = read_upright(self.image)
        if self.annotated is not None:
            _require_frame(read, self.annotated, name_of(self.image))
        return read.picture

    def region(
        self, size: tuple[int, int], *, source: RegionSource = "auto", dilate: int = 0
    ) -> Bool[np.ndarray, "height width"]:
        """The pixels of the concept in an image of (width, height).

        Args:
            size: of the upright image.
            source: the union of all boxes, the mask, or the boxes if there are any ("auto"; METHODS b, step 1).
            dilate: grow the region by this many pixels.

        Raises InvalidSample for a region that is missing, malformed, outside the frame, or the whole image;
        InvalidOption for another source or a negative dilation.
        """
        one_of("source", source, REGION_SOURCES)
        if whole("dilate", dilate) < 0:
            raise InvalidOption(f"dilate={dilate} must not be negative")
        use_mask = source == "mask" or (source == "auto" and not self.boxes)
        if use_mask and self.mask is None:
            lacks = "no mask" if source == "mask" else "neither boxes nor a mask"
            cure = (
                "" if source == "mask" else ": give one of them, or let a detector find it (find_regions, --detector)"
            )
            raise InvalidSample(f"sample of {self.concept!r} has {lacks} to say where the concept is{cure}")
        if not use_mask and not self.boxes:
            raise InvalidSample(f"sample of {self.concept!r} has no boxes")
        if use_mask:
            assert self.mask is not None
            mask = np.asarray(self.mask)
            if mask.shape != (size[1], size[0]):
                raise InvalidSample(f"mask has shape {mask.shape}, the image is {size[1]} x {size[0]} (height x width)")
            region = mask.astype(bool)
        else:
            region = boxes_mask(self.boxes, size)
        if dilate:
            import cv2

            kernel = np.ones((2 * dilate + 1, 2 * dilate + 1), np.uint8)
            region = cv2.dilate(region.astype(np.uint8), kernel).astype(bool)
        if not region.any():
            raise InvalidSample(f"the region of {self.concept!r} is empty")
        if region.mean() >= _WHOLE:
            raise InvalidSample(
                f"the region of {self.concept!r} covers {region.mean():.0%} of the image: nothing would be left to "
                "inpaint from"
            )
        return region


def _require_frame(read: Upright, annotated: tuple[int, int], name: str) -> None:
    """Raise InvalidSample unless boxes drawn on a picture of the annotated size are boxes of this one."""
    told = f"image {name} is" if name else "the image is"
    size, drawn = (f"{width} x {height} px" for width, height in (read.picture.size, annotated))
    turned = f"its EXIF tag (orientation {read.turn}) turns it"
    if read.turn > 1 and annotated == read.stored:
        when = "before that" if read.picture.size != read.stored else "before or after that, which nothing tells"
        raise InvalidSample(
            f"{told} {size} and {turned}; boxes and masks for {drawn} were drawn {when}: write the picture upright "
            "without the tag, and annotate what is seen"
        )
    if annotated != read.picture.size:
        raise InvalidSample(
            f"{told} {size}, but its boxes and masks were drawn on {drawn}: take the picture that was annotated, or "
            "scale the annotation"
        )

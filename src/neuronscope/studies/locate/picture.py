"""What verbs on one picture and one concept are asked for: the picture, where the object is, and how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption, InvalidSample
from ...options import IMAGE, MISSING, Asking, Loading, Taking, option
from .pointing import NO_DETECTOR, Pointing, finder_names

if TYPE_CHECKING:
    from ...loading import VLM
    from ...locate.validity import Validity
    from ...models.decoding import Decoding
    from ...samples import Counterfactual, Sample


@dataclass(frozen=True, kw_only=True)
class OnePicture(Loading, Asking, Taking, Pointing):
    """One image, one concept, and the image without it; None stands for what was not given."""

    image: str = option(MISSING, help=IMAGE)
    concept: str = option(MISSING, help="The object to find neurons for, as a caption would name it.")
    mask: Path | None = option(None, "--mask", help="A picture of the same size, white on the object.")
    edited: Path | None = option(None, "--edited", help="A picture of the same size: your own edit, without it.")
    edit: str = option("telea", "--edit", help="telea, navier_stokes, mean_fill or diffusion:DIRECTORY.")

    def __post_init__(self) -> None:
        Asking.__post_init__(self)
        Taking.__post_init__(self)
        if not self.boxes and self.mask is None and self.edited is None and finder_names(self.detector)[0]:
            object.__setattr__(self, "boxes", ("auto",))
        if self.sought and self.mask is not None:
            raise InvalidOption(f"--box {self.sought}: --mask says already where the object is; give one of them")
        Pointing.__post_init__(self)

    @property
    def decoding(self) -> Decoding:
        """What is asked about the image."""
        from ...models.decoding import Decoding

        return Decoding.asked(self)

    def sample(self) -> Sample:
        """The image and where the object is. Raises InvalidSample for files that do not fit, InvalidOption for no edit.

        Nothing is captioned yet: what would be refused in any case is, before a model is loaded.
        """
        import numpy as np

        from ...samples import Sample, counterfactual
        from ...samples.image import read_image

        region = np.asarray(read_image(self.mask).convert("L")) > 127 if self.mask is not None else None
        image = read_image(self.image)
        if not self.boxes and region is None and self.edited is None:
            raise InvalidSample(
                f"there are neither boxes nor a mask to say where the {self.concept!r} is: give --box x,y,w,h, --mask "
                f"or --edited; or {NO_DETECTOR}"
            )
        found = self.regions(image, self.concept, self.device) if region is None else None
        sample = Sample(image, self.concept, boxes=self.given_boxes, mask=region, image_id=self.image)
        sample = sample if found is None else found.sample(image_id=self.image)
        reach: Any = "auto" if self.reach == "grown" else self.reach
        counterfactual(sample, self.how, edited=self.edited, region=reach)
        return sample

    def pair(self, vlm: VLM, sample: Sample | None = None) -> tuple[Counterfactual, Validity]:
        """The image with and without the object, and what the model says of both.

        Raises what :meth:`sample` and :func:`neuronscope.locate.validity.valid_pair` do, and InvalidSample for a word
        from which the removal takes nothing.
        """
        from ...locate.validity import valid_pair

        pair, validity = valid_pair(
            vlm,
            sample or self.sample(),
            self.how,
            reach=self.reach,
            decoding=self.decoding,
            max_other_share=self.max_other_share,
            edited=self.edited,
        )
        if validity.removal is not None:
            validity.removal.require()
        return pair, validity

    @property
    def how(self) -> Any:
        """How the object goes."""
        return "edited" if self.edited else self.edit

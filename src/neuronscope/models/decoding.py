"""What a model is asked about an image and how it answers, and the one place that writes the question as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from ..errors import InvalidOption
from ..fields import check_fields
from ..types import Json
from .families import Family
from .greedy import require_shaping


@dataclass(frozen=True)
class Decoding:
    """How captions are written (METHODS d; the published settings, Sato & Takagi III-B).

    Attributes:
        prompt: what the caption begins with; never matched against concepts.
        template: how images and prompt are joined, with {prompt} and either one {image}, which stands for all of them,
            or as many as there are; the family's own when None.
        max_new_tokens: length limit.
        generation: further settings of transformers' `generate` that shape a greedy caption, such as
            {"repetition_penalty": 1.2}; `vlm.generation` holds those of the checkpoint. Nothing else of the
            checkpoint's generation_config counts: all it sets is told the value that does nothing.
        use_cache: keep keys and values between steps; without, every step re-reads the whole sequence.
    """

    prompt: str = "The image shows a"
    template: str | None = None
    max_new_tokens: int = 32
    use_cache: bool = True
    generation: Mapping[str, Json] = field(default_factory=dict[str, Json], hash=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_new_tokens < 1:
            raise InvalidOption(f"max_new_tokens={self.max_new_tokens} must be at least 1")
        require_shaping(self.generation)
        object.__setattr__(self, "generation", dict(self.generation))  # the caller's own may change

    def to_dict(self) -> dict[str, Json]:
        """What decides a caption, as records keep it; the cache changes no word of it."""
        return {
            "prompt": self.prompt,
            "template": self.template,
            "max_new_tokens": self.max_new_tokens,
            "generation": dict(self.generation),
        }

    def text(self, family: Family, image: str, images: int = 1) -> str:
        """What the processor is given.

        Args:
            family: whose template stands where there is none, and what is repeated for each of several images.
            image: the placeholder of an image; empty where the processor puts the images in by itself.
            images: how many.

        Raises InvalidOption for a template without the prompt, for a template or prompt that holds another number of
        images, and for several images where the family takes one.
        """
        if images > 1 and family.one_image:
            raise InvalidOption(f"{family.title} takes one image per prompt, not {images}: {family.one_image}")
        template = family.template if self.template is None else self.template
        try:
            text = template.format(image=image, prompt=self.prompt)
            fields = [name for _, name, _, _ in Formatter().parse(template)]
        except (KeyError, IndexError, ValueError) as error:
            raise InvalidOption(
                f"template={template!r} cannot be filled in; it holds {{image}} and {{prompt}}"
            ) from error
        if self.prompt and "prompt" not in fields:
            raise InvalidOption(f"template={template!r} has no {{prompt}}, and prompt={self.prompt!r} is given")
        places = fields.count("image")
        if not image:
            return text.lstrip()
        held = text.count(image)
        if images > 1 and places == held == 1:
            repeated = family.each.format(image=image)
            repeated = repeated if text.count(repeated) == 1 else image
            text, held = text.replace(repeated, repeated * images), images
        if held != images:
            needed = "once is needed" if images == 1 else f"{images} times are needed"
            raise InvalidOption(
                f"template={template!r} with prompt={self.prompt!r} holds the image {held} times; {needed}"
            )
        return text

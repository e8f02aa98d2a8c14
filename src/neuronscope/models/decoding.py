"""What a model is asked about an image and how it answers, and where it has no chat template how that is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal, TypeAlias, get_args

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..options import Asking, as_python, options_in
from ..types import Json, one_of
from .families import Family
from .greedy import require_shaping

#: What a caption begins with where no question is asked (Sato & Takagi III-B).
CAPTION = "The image shows a"

#: The checkpoint's chat template: where it has one, or whatever it has, or not.
Chat: TypeAlias = Literal["auto", "always", "never"]
CHATS: tuple[Chat, ...] = get_args(Chat)


@checked_methods
@dataclass(frozen=True)
class Decoding:
    """What is asked, and how captions are written (METHODS d; the published settings, Sato & Takagi III-B).

    Where the checkpoint has a chat template, `system`, images and `question` are turns of a conversation, and `prefix`
    is the beginning of the answer (models/chat.py). Elsewhere they are one text behind the image that is gone on with,
    a line each.

    Attributes:
        prefix: the beginning of the answer, which captions continue; never matched against concepts. None is "The image
            shows a" where nothing is asked, and nothing where something is: see :attr:`beginning`.
        template: how images and texts are joined, instead of chat template and family's own: {prompt}, or {prefix},
            for the beginning of the answer, {question} and {system} for these (without them they stand on lines of
            their own before the beginning), and either one {image}, which stands for all of them, or as many as there
            are.
        max_new_tokens: length limit.
        generation: further settings of transformers' `generate` that shape a greedy caption, such as
            {"repetition_penalty": 1.2}; `vlm.generation` holds those of the checkpoint. Nothing else of the
            checkpoint's generation_config counts: all it sets is told the value that does nothing.
        use_cache: keep keys and values between steps; without, every step re-reads the whole sequence.
        question: what is asked about the images.
        system: what the model is told before.
        chat: whether the chat template is used; "auto" as :func:`neuronscope.load` was told.
    """

    prefix: str | None = None
    template: str | None = None
    max_new_tokens: int = 32
    use_cache: bool = True
    generation: Mapping[str, Json] = field(default_factory=dict[str, Json], hash=False)
    question: str = ""
    system: str = ""
    chat: Chat = "auto"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_new_tokens < 1:
            raise InvalidOption(f"max_new_tokens={self.max_new_tokens} must be at least 1")
        one_of("chat", self.chat, CHATS)
        if self.chat == "always" and self.template is not None:
            raise InvalidOption(f"template={self.template!r} takes the chat template's place: chat cannot be 'always'")
        for name in ("question", "system"):
            if self.template is not None and f"{{{name}}}" in self.template and not getattr(self, name):
                raise InvalidOption(f"template={self.template!r} has {{{name}}}, and no {name} is given")
        require_shaping(self.generation)
        object.__setattr__(self, "generation", dict(self.generation))  # the caller's own may change

    @property
    def beginning(self) -> str:
        """What the answer begins with; empty for an answer that is the model's own from the first word on."""
        return (CAPTION if not self.question else "") if self.prefix is None else self.prefix

    @property
    def context(self) -> str:
        """The text behind which words are spelled: some tokenizers begin a text with another token than a word."""
        return self.beginning or "a"

    def to_dict(self) -> dict[str, Json]:
        """What decides a caption, as records keep it; the cache changes no word of it."""
        return {
            "question": self.question,
            "prefix": self.beginning,
            "system": self.system,
            "template": self.template,
            "chat": self.chat,
            "max_new_tokens": self.max_new_tokens,
            "generation": dict(self.generation),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decoding:
        """The inverse of :meth:`to_dict`; other entries are left out. Raises InvalidOption for unfit values."""
        names = ("question", "prefix", "system", "template", "chat", "max_new_tokens", "generation")
        return cls(**{name: data[name] for name in names if name in data})

    @classmethod
    def asked(cls, asking: Asking) -> Decoding:
        """What a command line asked for. Raises InvalidOption for unfit values."""
        return cls(**{one.name: getattr(asking, one.name) for one, _ in options_in(Asking)})

    def text(self, family: Family, image: str, images: int = 1) -> str:
        """What the processor is given where there is no chat template.

        Args:
            family: whose template stands where there is none, and what is repeated for each of several images.
            image: the placeholder of an image; empty where the processor puts the images in by itself.
            images: how many.

        Raises InvalidOption for a template without a place for the prompt, for a template or texts that hold another
        number of images, and for several images where the family takes one.
        """
        family.require_images(images)
        template = self._of(family) if self.template is None else self.template
        try:
            names = [name for _, name, _, _ in Formatter().parse(template)]
            text = template.format(image=image, **self._texts(names))
        except (KeyError, IndexError, ValueError) as error:
            raise InvalidOption(
                f"template={template!r} cannot be filled in; it holds {{image}} and {{prompt}}"
            ) from error
        if not {"prompt", "prefix"} & set(names) and (given := self._texts(names)["prompt"]):
            raise InvalidOption(f"template={template!r} has no {{prompt}}, and {given!r} is given")
        places = names.count("image")
        if not image:
            return text.lstrip()
        count = text.count(image)
        if images > 1 and places == count == 1:
            repeated = family.each.format(image=image)
            repeated = repeated if text.count(repeated) == 1 else image
            text, count = text.replace(repeated, repeated * images), images
        if count != images:
            needed = "once is needed" if images == 1 else f"{images} times are needed"
            raise InvalidOption(f"template={template!r} with {self._said()} holds the image {count} times; {needed}")
        return text

    def _of(self, family: Family) -> str:
        """The family's template for what is asked."""
        if self.chat == "never":
            return family.continued or family.template
        return (family.asked if self.question or self.system else "") or family.template

    def _texts(self, names: Sequence[str | None]) -> dict[str, str]:
        """Field of a template -> what it is filled with; what has no field of its own stands before the beginning."""
        own = {"system": self.system, "question": self.question}
        lines = [text for name, text in own.items() if text and name not in names]
        whole = "\n".join([*lines, *([self.beginning] if self.beginning or not lines else [])])
        return {**own, "prompt": whole, "prefix": whole}

    def _said(self) -> str:
        texts = {"question": self.question, "system": self.system, "prefix": self.beginning}
        return ", ".join(f"{name}={text!r}" for name, text in texts.items() if text or name == "prefix")


def spelled(decoding: Decoding) -> str:
    """The argument `decoding` in a recipe, with the comma before it; empty for the usual."""
    return "" if decoding == Decoding() else f", decoding=ns.{as_python(decoding)}"

"""What a tiny model of a family is, and the tokenizer they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from neuronscope.models.families import FAMILIES, lacking
from neuronscope.models.processor import without_video
from neuronscope.testing import tiny_tokenizer

WORDS = [
    *("the", "image", "shows", "a", "an", "on", "in", "of", "and", "with", "to", "left", "right", "black", "white"),
    *("brown", "red", "green", "blue", "bear", "dog", "cat", "bus", "horse", "clock", "pizza", "grass", "snow"),
    *("street", "field", "kitchen", "surf", "##board", ".", ",", ":", "!", "?", "user", "assistant"),
]


@dataclass(frozen=True)
class Animal:
    """A tiny random model of one family, as data. Classes are named, so that a release without them skips tests only.

    A setting that is a function is given the tokenizer: the number of words, the id of a token.

    Attributes:
        model_type: as in config.json.
        stem: what the names of its classes begin with.
        special, more, bos, tokenizer: of the tokenizer, as in :func:`words_tokenizer`.
        words: makes another tokenizer.
        decoder, tower: settings of its text_config and vision_config.
        ids: config attribute -> token, whose id it is.
        config: other settings of the config class.
        model: name of the model class, or the class; `stem` and ForConditionalGeneration where not given.
        config_class: in place of `stem` and Config.
        drawn: what starts at one value everywhere (queries, position tables) is drawn, as training would.
        after: what is done to the model then.
        pixels: image processor: its class or the name of it, and its settings.
        processor: name or class in place of `stem` and Processor.
        options: of the processor, beside image processor and tokenizer.
        always: options of each call of the processor.
        attributes: set on the processor.
        video: the processor demands a video part.
        template: how image and prompt are joined, as in the family table.
        placeholder: what "{image}" stands for in the template.
        notes: what does not work and why.
        handmade: the processor is a stand-in, because transformers has none that works on PIL.
    """

    model_type: str
    stem: str
    special: Mapping[str, str] = field(default_factory=lambda: {"image_token": "<image>"})
    more: Sequence[str] = ()
    bos: bool = True
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    words: Callable[[], Any] | None = None
    decoder: Mapping[str, Any] | None = None
    tower: Mapping[str, Any] | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    model: str | type = ""
    config_class: type | None = None
    drawn: bool = True
    after: Callable[[Any], None] | None = None
    pixels: tuple[str | type, Mapping[str, Any]] | None = None
    processor: str | Callable[..., Any] = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    video: bool = False
    template: str = "{image}\n{prompt}"
    placeholder: str = "<image>"
    notes: str = ""
    handmade: bool = False

    def lacking(self) -> str:
        """Why the installed transformers is too old for the family; empty where it is not."""
        return lacking(FAMILIES[self.model_type])

    def build(self) -> tuple[nn.Module, Any]:
        """(model, processor), seeded, float32, in evaluation mode.

        Skips the test where the installed transformers is too old for the family.
        """
        if why := self.lacking():
            pytest.skip(why)
        tokenizer = (
            self.words() if self.words else words_tokenizer(self.special, self.more, bos=self.bos, **self.tokenizer)
        )
        processor = self._processor(tokenizer)  # first: some add tokens
        parts = {"text_config": self.decoder, "vision_config": self.tower}
        settings = {**{name: part for name, part in parts.items() if part is not None}, **self.config}
        ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in self.ids.items()}
        config = (self.config_class or _named(f"{self.stem}Config"))(**settled(settings, tokenizer), **ids)
        torch.manual_seed(0)
        model = _named(self.model or f"{self.stem}ForConditionalGeneration")(config).float()
        model.generation_config.update(pad_token_id=0, bos_token_id=1, eos_token_id=2)
        louder(model)
        with torch.no_grad():
            for parameter in model.parameters() if self.drawn else ():
                if parameter.ndim > 1 and bool((parameter == parameter.flatten()[0]).all()):
                    parameter.normal_(std=0.06)
        if self.after:
            self.after(model)
        return model, processor

    def _processor(self, tokenizer: Any) -> Any:
        kind = _named(self.processor or f"{self.stem}Processor")
        pixels = _named(self.pixels[0])(**self.pixels[1]) if self.pixels else None
        make = partial(without_video, kind) if self.video else kind
        processor: Any = make(pixels, tokenizer, **settled(self.options, tokenizer))
        for name, value in self.attributes.items():
            setattr(processor, name, value)
        return always(processor, **self.always) if self.always else processor

    @property
    def text(self) -> str:
        """The text of one prompt with one image."""
        return self.template.format(image=self.placeholder, prompt="The image shows a")


def _named(kind: Any) -> Any:
    """A class of transformers by name."""
    return getattr(hf, kind) if isinstance(kind, str) else kind


def settled(value: Any, tokenizer: Any) -> Any:
    """Settings whose functions have been asked, also inside other settings."""
    if isinstance(value, Mapping):
        return {key: settled(inner, tokenizer) for key, inner in value.items()}
    return value(tokenizer) if callable(value) else value


def words_tokenizer(special: Mapping[str, str] | None = None, more: Sequence[str] = (), **options: Any) -> Any:
    """:func:`tiny_tokenizer` of WORDS, padded on the left, without special tokens unless some are given."""
    return tiny_tokenizer(WORDS, special or {}, more, padding_side="left", **options)


def louder(model: nn.Module, factor: float = 3.0) -> nn.Module:
    """Scale all matrices up: at the default initialisation no output depends on anything. Evaluation mode."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return model.eval()


def always(processor: Any, **options: Any) -> Any:
    """The processor, given these options at each call: transformers before 5.23 does not heed them as attributes."""
    kind: Any = type(processor)

    def call(self: Any, *args: Any, **given: Any) -> Any:
        return kind.__call__(self, *args, **{**options, **given})

    processor.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return processor

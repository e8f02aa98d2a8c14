"""What a tiny model of a family is, and the tokenizer they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from neuronscope.models.families import FAMILIES, lacking
from neuronscope.testing import tiny_tokenizer

WORDS = [
    *("the", "image", "shows", "a", "an", "on", "in", "of", "and", "with", "to", "left", "right", "black", "white"),
    *("brown", "red", "green", "blue", "bear", "dog", "cat", "bus", "horse", "clock", "pizza", "grass", "snow"),
    *("street", "field", "kitchen", "surf", "##board", ".", ",", ":", "!", "?", "user", "assistant"),
]


@dataclass(frozen=True)
class Animal:
    """A tiny random model of one family.

    Attributes:
        model_type: as in config.json.
        make: makes (model, processor), seeded, float32, in evaluation mode; see `build`.
        template: how image and prompt are joined, as in the family table.
        placeholder: what "{image}" stands for in the template.
        notes: what does not work and why.
        handmade: the processor is a stand-in, because transformers has none that works on PIL.
    """

    model_type: str
    make: Callable[[], tuple[nn.Module, Any]]
    template: str = "{image}\n{prompt}"
    placeholder: str = "<image>"
    notes: str = ""
    handmade: bool = False

    def lacking(self) -> str:
        """Why the installed transformers is too old for the family; empty where it is not."""
        return lacking(FAMILIES[self.model_type])

    def build(self) -> tuple[nn.Module, Any]:
        """(model, processor). Skips the test where the installed transformers is too old for the family."""
        if why := self.lacking():
            pytest.skip(why)
        return self.make()

    @property
    def text(self) -> str:
        """The text of one prompt with one image."""
        return self.template.format(image=self.placeholder, prompt="The image shows a")


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

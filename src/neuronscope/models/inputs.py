"""Processed prompts: one row per image, or per several images, put together into batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from ..errors import InvalidOption
from ..samples.image import ImageSource
from ..tokens import ImageTokens

#: What one prompt shows: an image, or several in the order of the prompt.
ImageRow: TypeAlias = ImageSource | Sequence[ImageSource]

#: Value of padded positions, by tensor; 0 elsewhere.
_PADDING = {"image_patches_indices": -1}
#: Indices into the flattened first two axes of another tensor, which move when rows are put together.
_INDICES = {"image_token_pooling": "pixel_values"}
#: Value of positions that are added after the prompt, by tensor; 0 elsewhere. None repeats the last position.
_ADDED: dict[str, int | None] = {
    "attention_mask": 1,
    "image_patches_indices": -1,
    "cross_attention_mask": None,
    "image_attention_mask": None,
}


def sources_of(row: ImageRow) -> tuple[ImageSource, ...]:
    """The images of one prompt. Raises InvalidOption for none."""
    if not isinstance(row, Sequence) or isinstance(row, (str, bytes)):
        return (row,)
    if not len(row):
        raise InvalidOption("images holds an empty sequence; a prompt needs one image or more")
    return tuple(row)


@dataclass(frozen=True)
class Row:
    """One prompt with its image or images.

    Attributes:
        tensors: everything that the processor returned, batch size 1.
        image: where the image is, or all of several are, in it, in unpadded positions.
        pad: id for padding.
        strip: the pixels are patches side by side, so rows are joined along the last axis.
        pixels: name of the tensor that holds the pixels.
        unpadded: why rows share a batch only where their pixels have one shape; empty where pixels can be padded.
        alone: why a row is read differently in a batch; empty where it is not.
        closing: how many positions at the end `generate` takes away before it reads the prompt; see :attr:`read`.
        forced: how many positions at the end were added to the prompt.
    """

    tensors: dict[str, Tensor]
    image: ImageTokens
    pad: int
    strip: bool = False
    pixels: str = "pixel_values"
    unpadded: str = ""
    alone: str = ""
    closing: int = 0
    forced: int = 0

    @property
    def read(self) -> Row:
        """The row as `generate` reads it."""
        if not self.closing:
            return self
        kept = self.length - self.closing
        tensors = {name: v[:, :kept] if self.along_sequence(name) else v for name, v in self.tensors.items()}
        return replace(self, tensors=tensors, closing=0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pixels, without the axis along which rows are put together; all pixels of no shape are alike."""
        return tuple(self.tensors[self.pixels].shape[1:]) if self.unpadded else ()

    @property
    def length(self) -> int:
        """Number of positions."""
        return self.tensors["input_ids"].shape[1]

    @property
    def encoded(self) -> bool:
        """Whether an encoder reads the prompt, and a decoder writes into a sequence of its own."""
        return "decoder_input_ids" in self.tensors

    def along_sequence(self, name: str) -> bool:
        """Whether a tensor has one entry per position. Pixels and image sizes have not."""
        value = self.tensors[name]
        if name.startswith("decoder_"):
            return False
        fits = value.ndim >= 2 and value.shape[:2] == (1, self.length) and not value.is_floating_point()
        return fits and (value.ndim == 2 or name in _ADDED)

    def padded(self, length: int) -> dict[str, Tensor]:
        """The tensors with the sequence padded on the left; on the right where an encoder reads it."""
        missing = length - self.length
        result: dict[str, Tensor] = {}
        for name, value in self.tensors.items():
            if missing and self.along_sequence(name):
                fill = self.pad if name == "input_ids" else _PADDING.get(name, 0)
                front = value.new_full((1, missing, *value.shape[2:]), fill)
                value = torch.cat([value, front] if self.encoded else [front, value], 1)
            result[name] = value
        return result

    def extended(self, ids: Sequence[int]) -> Row:
        """The row with more token ids, or none, at the end."""
        if self.closing:
            return self.read.extended(ids)
        if not len(ids):
            return self
        tensors, forced = dict(self.tensors), self.forced + len(ids)
        more_ids = torch.tensor([list(ids)], dtype=torch.long, device=self.tensors["input_ids"].device)
        if self.encoded:
            tensors["decoder_input_ids"] = torch.cat([tensors["decoder_input_ids"], more_ids], 1)
            return replace(self, tensors=tensors, forced=forced)
        for name, value in self.tensors.items():
            if self.along_sequence(name):
                fill = _ADDED.get(name, 0)
                last = value[:, -1:].expand(-1, len(ids), *value.shape[2:])
                more = last if fill is None else torch.full_like(last, fill)
                tensors[name] = torch.cat([value, more], 1)
        tensors["input_ids"] = torch.cat([self.tensors["input_ids"], more_ids], 1)
        return replace(self, tensors=tensors, forced=forced)


@dataclass(frozen=True)
class Inputs:
    """One batch, ready for the model.

    Attributes:
        rows: one per prompt.
    """

    rows: tuple[Row, ...]

    @property
    def read(self) -> Inputs:
        """The rows as `generate` reads them."""
        return self._closed if any(row.closing for row in self.rows) else self  # kept, it would keep itself alive

    @cached_property
    def _closed(self) -> Inputs:
        return Inputs(tuple(row.read for row in self.rows))

    @property
    def length(self) -> int:
        """Number of prompt positions, padding included."""
        return max(row.length for row in self.rows)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """What the model is called with: sequences padded on the left, pixels one after another.

        Raises InvalidOption where the family's pixels cannot be padded and have several shapes; see :meth:`batches`.
        """
        shapes = list(dict.fromkeys(row.shape for row in self.rows))
        if len(shapes) > 1:
            raise InvalidOption(
                f"prompts with pixels of shapes {' and '.join(map(str, shapes[:2]))} cannot share a batch: "
                f"{self.rows[0].unpadded}"
            )
        padded = [row.padded(self.length) for row in self.rows]
        if len(padded) == 1:
            return padded[0]
        for name, target in _INDICES.items():
            if name in padded[0]:
                sizes = [row[target].shape[0] * row[target].shape[1] for row in padded]
                for row, moved in zip(padded, accumulate([0, *sizes[:-1]]), strict=True):
                    row[name] = torch.where(row[name] >= 0, row[name] + moved, row[name])
        if self.rows[0].strip:
            pixels = torch.cat([row.pop("pixel_values") for row in padded], -1)
            return {"pixel_values": pixels} | {name: _stack([row[name] for row in padded]) for name in padded[0]}
        return {name: _stack([row[name] for row in padded]) for name in padded[0]}

    @cached_property
    def images(self) -> tuple[ImageTokens, ...]:
        """Where each row's image is, or images are, in positions of the padded row."""
        shifts = [0 if row.encoded else self.length - row.length for row in self.rows]
        return tuple(
            replace(row.image, positions=row.image.positions + shift)
            for row, shift in zip(self.rows, shifts, strict=True)
        )

    def written(self, output: Int[Tensor, "batch positions"]) -> Int[Tensor, "batch new"]:
        """The new tokens of what `generate` returned, which repeats the prompt in most models."""
        tensors, encoded = self.read.tensors, self.rows[0].encoded
        prompt = tensors["decoder_input_ids" if encoded else "input_ids"]
        start = output[:, : prompt.shape[1]]
        mask = None if encoded else tensors.get("attention_mask")
        told = torch.ones_like(prompt, dtype=torch.bool) if mask is None else mask.bool()  # padding may be written over
        repeats = start.shape == prompt.shape and bool((start == prompt)[told].all())
        return output[:, prompt.shape[1] :] if repeats else output

    def batches(self) -> list[list[int]]:
        """The indices of the rows, in groups that can be put through the model together without changing a result."""
        groups: dict[object, list[int]] = {}
        for index, row in enumerate(self.rows):
            groups.setdefault(index if row.alone else row.shape, []).append(index)
        return list(groups.values())

    def select(self, rows: Iterable[int]) -> Inputs:
        """Some rows, in any order and any number of times."""
        return Inputs(tuple(self.rows[i] for i in rows))

    def repeat(self, times: int) -> Inputs:
        """Every row `times` times in a row."""
        return self.select(i for i in range(len(self.rows)) for _ in range(times))

    def extend(self, ids: Sequence[int]) -> Inputs:
        """The same rows with more token ids at the end."""
        return Inputs(tuple(row.extended(ids) for row in self.rows))


def _stack(values: Sequence[Tensor]) -> Tensor:
    """Along the first axis; where the others differ (tiles, padded pictures), zeros fill up at the end."""
    shape = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    return torch.cat([_fill(value, shape) for value in values])


def _fill(value: Tensor, shape: list[int]) -> Tensor:
    if list(value.shape[1:]) == shape:
        return value
    full = value.new_zeros((value.shape[0], *shape))
    full[tuple(slice(0, size) for size in value.shape)] = value
    return full

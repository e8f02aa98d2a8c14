"""What several checks need: outcomes, a picture, some neurons, and a few written tokens under a change."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...models.greedy import neutral
from ...models.inputs import Inputs
from ...models.rounding import relative, tolerance
from ...types import Neurons, Span
from ..vlm import VLM

#: A line and whether it holds; a check that does not apply says why.
Outcome: TypeAlias = "tuple[str, bool] | NotApplicable"
STEPS = 4  # tokens written in the checks that generate


@dataclass(frozen=True)
class NotApplicable:
    """Why a check says nothing about a model."""

    reason: str


def noise_picture(size: tuple[int, int] = (96, 64), seed: int = 0) -> Image.Image:
    """A noisy picture of a (width, height)."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def unmapped(vlm: VLM) -> str:
    """Why image tokens have no place on the image; empty where they have."""
    return vlm.family.no_image or vlm.family.no_grid or ""


def without_positions(vlm: VLM) -> str:
    """Why the decoder meets the image at no position of its sequence; empty where it does."""
    return "" if vlm.family.media is not None else vlm.family.no_image


def checked_span(vlm: VLM) -> Span:
    """Where there are neurons to disturb: where the decoder meets the image, if it does anywhere."""
    return "all" if vlm.family.no_image and vlm.family.media is None else vlm.picture_span


def some_neurons(vlm: VLM) -> Neurons:
    """Half of the units of the first two layers that have any: enough to move the logits."""
    layers = vlm.structure.studied[:2]
    return Neurons.of((layer, unit) for layer in layers for unit in range(0, vlm.widths[layer], 2))


def checked_positions(vlm: VLM, inputs: Inputs) -> np.ndarray:
    """The positions that the checks look at, counted from the end (the layers may see more than the ids)."""
    name = "decoder_input_ids" if "decoder_input_ids" in inputs.tensors else "input_ids"
    length = inputs.tensors[name].shape[1]
    if vlm.family.no_image:
        return np.arange(-min(length, 2), 0)
    return inputs.images[0].positions - length


@torch.no_grad()
def generate(
    vlm: VLM, inputs: Inputs, change: Any, *, use_cache: bool = True, draw: int = 0, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """(new ids, their logits [rows, steps, vocabulary]) of a few forced-length greedy steps."""
    draws = [draw] * len(inputs.rows)
    banned = [] if vlm.image_token is None else [vlm.image_token]
    with vlm.frozen(), nullcontext() if change is None else vlm.intervene(change, draws=draws):
        write: Any = vlm.model.generate  # inside: some models' own `generate` is listened to
        output = write(
            **inputs.tensors,
            **{
                **neutral(),
                "max_new_tokens": steps,
                "min_new_tokens": steps,
                "use_cache": use_cache,
                "suppress_tokens": banned or None,
                "output_logits": True,
                "return_dict_in_generate": True,
            },
        )
    return output.sequences, torch.stack(output.logits, 1).float()


Written: TypeAlias = "tuple[Tensor, Tensor]"


def disagreement(a: Written, b: Written) -> tuple[float, int]:
    """(largest :func:`relative` difference, steps compared) of what :func:`generate` wrote twice for one row.

    Where rounding makes two tokens change places the texts go on differently: later steps answer other prompts and are
    not compared.
    """
    same = (a[0][0, -STEPS:] == b[0][0, -STEPS:]).cumprod(0)
    steps = min(int(same.sum()) + 1, STEPS)
    return relative(a[1][:, :steps], b[1][:, :steps]), steps


def within_rounding(vlm: VLM, difference: float, effect: float) -> bool:
    """Whether rounding explains a difference between two ways of writing under noise that moves the logits by `effect`.

    With weights of 16 bits rounding may explain a lot; but a way that forgets the noise, or puts it elsewhere, differs
    by about the noise's whole effect.
    """
    return difference < min(tolerance(vlm), effect / 4)

"""Where the image is in a decoder's sequence: at image tokens, or where text attends to it (Flamingo's kind).

No position of a decoder that reads the image by cross-attention is an image token. What stands in for the image's
positions are those of the text that attend to it, its *media* positions; the model's own mask says which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..tokens import ImageTokens


@dataclass(frozen=True)
class CrossAttention:
    """How a decoder without image tokens is told what its text positions attend to.

    Attributes:
        states: argument of the decoder's blocks that holds what is attended to.
        mask: input that says which positions attend to which images, [batch, positions, images, ...]; empty where all
            positions of the prompt attend to its image.
        queries: setting of the config that says whether learned queries stand between vision tower and decoder, which
            then attends to these; empty where it attends to the tower's patches.
    """

    states: str
    mask: str = ""
    queries: str = ""


def image_token_of(config: Any, processor: Any) -> int | None:
    """Id of the placeholder at image positions; None where config and processor name none."""
    for holder in (config, getattr(config, "vision_config", None), processor):
        for name in ("image_token_id", "image_token_index", "image_patch_id"):
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    return None


def image_mask(
    token: int | None, ids: Int[Tensor, "batch positions"], tensors: Mapping[str, Any], elsewhere: bool = False
) -> Bool[Tensor, "batch _"]:
    """Which positions of a call's ids are image tokens.

    Args:
        token: id of the image token; None where there is none.
        ids: of the call.
        tensors: the call's other inputs; some models mark image positions instead of giving an id.
        elsewhere: the image is not in the decoder's sequence.
    """
    mask = tensors.get("image_embeds_position_mask")
    if not elsewhere and isinstance(mask, Tensor) and mask.shape == ids.shape:
        return mask == 1  # -1 marks the borders of the image in some
    return torch.zeros_like(ids, dtype=torch.bool) if elsewhere or token is None else ids == token


def media_mask(
    media: CrossAttention | None, ids: Int[Tensor, "batch positions"], tensors: Mapping[str, Any]
) -> Bool[Tensor, "batch _"]:
    """Which positions of a call's ids attend to an image, padding apart. `tensors` are the call's other inputs.

    A mask that covers what was read before ends with the rows of the ids; without one that is needed none attends.
    """
    if media is None:
        return torch.zeros_like(ids, dtype=torch.bool)
    if not media.mask:
        return torch.ones_like(ids, dtype=torch.bool)
    mask = tensors.get(media.mask)
    if not isinstance(mask, Tensor) or mask.ndim < 3 or mask.shape[0] != len(ids) or mask.shape[1] < ids.shape[1]:
        return torch.zeros_like(ids, dtype=torch.bool)
    return (mask[:, -ids.shape[1] :].flatten(2) > 0).any(-1)


def media_tokens(
    media: CrossAttention | None,
    why: str,
    tensors: Mapping[str, Tensor],
    images: int,
    *,
    closing: int = 0,
) -> ImageTokens:
    """The media positions of one prompt, in the place of image tokens; none where no position attends to an image.

    A position that attends to several images counts as one of the last of them.

    Args:
        media: how the decoder attends.
        why: why there are no image tokens.
        tensors: the processed prompt, batch size 1.
        images: how many it shows.
        closing: how many positions at the end are not read.
    """
    ids = tensors["input_ids"]
    inside = media_mask(media, ids, tensors)[0]
    inside[len(inside) - closing :] = False
    positions = torch.nonzero(inside)[:, 0].cpu().numpy()
    if images == 1:
        return ImageTokens(positions, no_grid=why)
    counts = np.zeros(images, int)
    if media is not None and media.mask and len(positions):
        seen = (tensors[media.mask][0].reshape(len(inside), images, -1) > 0).any(-1)[inside].cpu().numpy()
        last = images - 1 - seen[:, ::-1].argmax(1)
        counts = np.bincount(last, minlength=images)
    return ImageTokens(positions, no_grid=why, counts=tuple(counts.tolist()))

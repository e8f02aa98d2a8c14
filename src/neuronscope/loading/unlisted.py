"""What the plain row of a model type outside the family table leaves open, found out on the model itself.

Before the model runs (:func:`settled`), from what its processor makes of one picture and a short prompt:

*placeholder*: what stands for the image. The processor's image token; nothing, where the processor writes the image
tokens by itself and it would stay beside them; between the model's own begin and end tokens, where it has such and
the processor leaves them out.
*strip*: the pixels are as many square patches side by side as `target_sizes` counts.
*no_image*: an encoder reads the prompt.

After the self-check (:func:`proved`), from forward passes:

*no_image*: what enters the decoder at the image tokens is the same for two pictures, or elsewhere is not.
*no_grid*: a coloured square contradicts the map.
*single*, *alone*, *unpadded*: prompts put through the model together do not give what each gives alone: at all, not
with pictures of one size either, or only not with pictures of several sizes or numbers.
*cached*: without a KV cache another text is written, or none.
*one_image*: in a prompt of two images the tokens of one change with the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import MODEL_ERRORS, ImageTokenMismatch, InvalidOption, InvalidSample, UnsupportedModel
from ..held import in_turn
from ..models.decoding import Decoding
from ..models.families import Family
from ..models.inputs import ImageRow
from ..models.rounding import tolerance
from ..tokens import ImageTokens
from .checks.captions import check_batch, check_cache
from .checks.common import NotApplicable, Outcome, noise_picture
from .checks.image import apart, astray, check_coloured_patch, entering_everywhere
from .vlm import VLM

#: Token ids of a prompt, and which of them are image tokens.
_Written: TypeAlias = tuple[list[int], list[bool]]

#: Names under which configs, processors and tokenizers keep the tokens that frame an image. In configs they end in _id
#: or _index, and are numbers.
_FRAMES = (
    ("vision_start_token", "vision_end_token"),
    ("image_start_token", "image_end_token"),
    ("vision_bos_token", "vision_eos_token"),
    ("start_image_token", "end_image_token"),
    ("im_start_token", "im_end_token"),
    ("boi_token", "eoi_token"),
)
#: (width, height) of the pictures that are tried.
_PICTURE, _SMALLER = (96, 64), (48, 64)


@in_turn
def settled(vlm: VLM) -> Family:
    """The plain row with what one processed prompt tells. A row that is in the table is returned as it is."""
    row = vlm.family
    if row.listed:
        return row
    if row.placeholder is None:
        row = replace(row, placeholder=_placeholder(vlm))
    if not row.strip and row.placeholder is not None:
        row = replace(row, strip=_side_by_side(_processed(vlm, row.placeholder) or {}))
    config: Any = vlm.model.config
    if getattr(config, "is_encoder_decoder", False) and not row.no_image:
        row = replace(row, no_image="the image is in the encoder's input")
    return row


@in_turn
def proved(vlm: VLM) -> None:
    """Put into the model's plain row what forward passes tell, after the self-check. A row of the table stays.

    Raises UnsupportedModel for a model whose logits do not depend on the image at all.
    """
    if vlm.family.listed:
        return
    with torch.no_grad():
        one, other = (vlm.logits(vlm.prepare([noise_picture(_PICTURE, seed)])) for seed in range(2))
    if torch.equal(one, other):
        raise UnsupportedModel(
            f"{vlm.id} ({vlm.family.title}) does not read images: no logit depends on what one shows"
        )
    # Each may change the row, so it is read anew each time: that sizes do not fit is found out on the way as well.
    if not vlm.family.no_image and (why := _elsewhere(vlm)):
        _note(vlm, no_image=why)
    if not _holds(check_coloured_patch, vlm):
        _note(vlm, no_grid="general rules give a map that a coloured square contradicts")
    if not _holds(check_batch, vlm):
        _note(vlm, single="prompts that are padded together do not give what each gives alone")
    elif not _alike(vlm, [noise_picture(_PICTURE, seed) for seed in range(2)]):
        _note(vlm, alone="prompts that share a batch do not give what each gives alone")
    elif not _alike(vlm, _of_several_sizes(vlm)):
        _note(vlm, unpadded="pictures of several sizes or numbers change what each other gives")
    if not _holds(check_cache, vlm):
        _note(vlm, cached="without a KV cache it does not write what it writes with one")
    if _astray(vlm):
        _note(vlm, one_image="among several images the tokens of one change with another")


def _note(vlm: VLM, **found: str) -> None:
    vlm.family = replace(vlm.family, **found)


def _holds(check: Callable[[VLM], Outcome], vlm: VLM) -> bool:
    """Whether a check holds or does not apply; one on which the model itself fails does not hold."""
    try:
        outcome = check(vlm)
    except (InvalidSample, *MODEL_ERRORS):
        return False
    return isinstance(outcome, NotApplicable) or outcome[1]


def _alike(vlm: VLM, rows: list[ImageRow]) -> bool:
    """Whether rows give together what each gives alone; in doubt they do not, which costs time and nothing else."""
    return apart(vlm, rows) < tolerance(vlm) / 5


def _of_several_sizes(vlm: VLM) -> list[ImageRow]:
    """Pictures of two sizes, and a prompt that shows both where the model takes it."""
    one, other = noise_picture(_PICTURE), noise_picture(_SMALLER)
    return [one, other, [one, other]] if _prepared(vlm, [one, other]) else [one, other]


def _astray(vlm: VLM) -> bool:
    """Whether in a prompt of two images, where it is taken at all, one's tokens change with the other."""
    both = [noise_picture(_PICTURE), noise_picture(_SMALLER)]
    tokens = _prepared(vlm, both)
    shown = [np.asarray(picture) for picture in both]
    return tokens is not None and any(astray(vlm, shown, image, tokens) for image in range(2))


def _prepared(vlm: VLM, shown: list[Image.Image]) -> ImageTokens | None:
    """The image tokens of one prompt with several images; None where it is refused."""
    try:
        return vlm.prepare([shown]).images[0]
    except (InvalidOption, ImageTokenMismatch):
        return None


def _elsewhere(vlm: VLM) -> str:
    """Why the decoder's input does not hold the image at the image tokens, and only there; empty where it does."""
    (first, at), (second, _) = (
        entering_everywhere(vlm, [np.asarray(noise_picture(_PICTURE, seed))]) for seed in (0, 1)
    )
    moved = (first != second).any(axis=1)
    if not moved[at].any():
        return "its image tokens are the same whatever the image shows"
    if np.delete(moved, at).any():
        return "the image enters the decoder at other positions than its image tokens as well"
    return ""


def _placeholder(vlm: VLM) -> str | None:
    """What to write for an image; None where nothing gives an image token, so that the usual message says so."""
    alone = _written(vlm, "")
    by_itself = alone if alone and any(alone[1]) else None
    for token in _spellings(vlm):
        plain = _written(vlm, token)
        if plain and any(plain[1]) and not (by_itself and _adds(plain, by_itself)):
            return next(_framed(vlm, token, plain), token)
        if framed := next(_framed(vlm, token, None), None):
            return framed
    return "" if by_itself else None


def _adds(plain: _Written, by_itself: _Written) -> bool:
    """Whether a placeholder stays in the prompt beside what the processor writes: as an image token or as text."""
    return sum(plain[1]) > sum(by_itself[1]) or len(plain[0]) > len(by_itself[0])


def _spellings(vlm: VLM) -> list[str]:
    """The image token as the processor, the tokenizer and many prompts write it."""
    named = [getattr(holder, "image_token", None) for holder in (vlm.processor, vlm.tokenizer)]
    if vlm.image_token is not None:
        named.append(vlm.tokenizer.convert_ids_to_tokens(vlm.image_token))
    return list(dict.fromkeys(str(name) for name in (*named, "<image>") if name))


def _framed(vlm: VLM, token: str, plain: _Written | None) -> Iterator[str]:
    """The token between the tokens that frame an image, where that is what puts them there."""
    for start, end in _frames(vlm):
        if plain and start in plain[0]:
            return  # the processor does it
        first, last = vlm.tokenizer.convert_ids_to_tokens([start, end])
        found = _written(vlm, f"{first}{token}{last}")
        if found is None or not any(found[1]) or (plain and sum(found[1]) != sum(plain[1])):
            continue
        ids, image = found
        begin, stop = image.index(True), len(image) - image[::-1].index(True)
        if start in ids[:begin] and end in ids[stop:]:
            yield f"{first}{token}{last}"


def _frames(vlm: VLM) -> Iterator[tuple[int, int]]:
    """Ids of the pairs of tokens that frame an image, as the config, the processor or the tokenizer names them."""
    config: Any = vlm.model.config
    for names in _FRAMES:
        for holder in (config, vlm.processor, vlm.tokenizer):
            start, end = (_id(vlm, holder, name) for name in names)
            if start is not None and end is not None and start != end:
                yield start, end
                break


def _id(vlm: VLM, holder: Any, name: str) -> int | None:
    for attribute in (f"{name}_id", f"{name}_index"):
        if isinstance(value := getattr(holder, attribute, None), int):
            return value if 0 <= value < len(vlm.tokenizer) else None
    spelled = getattr(holder, name, None)
    known: Any = vlm.tokenizer.get_vocab() if isinstance(spelled, str) else {}
    return known.get(spelled)


def _processed(vlm: VLM, placeholder: str) -> dict[str, Any] | None:
    """What the processor makes of a picture and a short prompt; None where it refuses."""
    try:
        text = Decoding("a").text(vlm.family, placeholder)
        return dict(vlm.processor(text=[text], images=[Image.new("RGB", _PICTURE)], return_tensors="pt"))
    except (InvalidOption, *MODEL_ERRORS):
        return None  # another spelling may suit it; where none does, the usual way raises this again


def _written(vlm: VLM, placeholder: str) -> _Written | None:
    """What a prompt with this placeholder becomes; None where the processor refuses it."""
    processed = _processed(vlm, placeholder)
    ids = None if processed is None else processed.get("input_ids")
    if processed is None or not isinstance(ids, Tensor):
        return None
    return ids[0].tolist(), vlm.image_mask(ids, processed)[0].tolist()


def _side_by_side(processed: dict[str, Any]) -> bool:
    sizes, pixels = processed.get("target_sizes"), processed.get("pixel_values")
    if not isinstance(sizes, Tensor) or not isinstance(pixels, Tensor) or pixels.ndim != 4:
        return False
    patches = int(torch.prod(sizes.reshape(-1, 2), -1).sum())
    return pixels.shape[1] == 3 and patches > 1 and pixels.shape[-1] == patches * pixels.shape[-2]

"""Batched greedy captions, with or without an intervention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from ..errors import InvalidOption
from ..fields import whole
from ..held import in_turn
from ..intervene.apply import Intervening
from ..intervene.batching import one_row_at_a_time
from ..intervene.operations import Intervention, Noise
from ..models.decoding import Decoding
from ..models.greedy import neutral
from ..models.inputs import ImageRow
from ..models.loaded import LoadedModel
from ..tokens import spoken
from ..types import ALONG_PROMPT
from .finite import Begun, Watch, refuse
from .memory import Batches
from .ties import Trail, settled


@dataclass(frozen=True)
class Caption:
    """One generated caption.

    Attributes:
        text: what was generated, without the prompt, and without a thought before the answer.
        full: prompt and text, as a person would read it.
        ids: generated token ids, up to and without the end of sequence.
    """

    text: str
    full: str
    ids: tuple[int, ...]


@in_turn
def generate_captions(
    vlm: LoadedModel,
    images: Sequence[ImageRow],
    change: Intervention | None = None,
    *,
    decoding: Decoding = Decoding(),
    batch_size: int = 32,
) -> list[list[Caption]]:
    """Captions of each image, one per draw of the intervention (one where it is deterministic).

    An element of `images` that is itself a sequence of images is one prompt that shows all of them.

    Rows of a batch are images x draws. The specification is a `batch_size` of 1; a row of a larger batch whose two best
    logits come within rounding of each other is written again by itself (ties.py), so that results do not depend on how
    rows are batched, except in 16 bits. Raises InvalidOption for a `batch_size` below 1, InvalidSample that says which
    image cannot be read or processed, and NotFinite where the model's logits are no numbers.
    """
    if whole("batch_size", batch_size) < 1:
        raise InvalidOption(f"batch_size={batch_size} must be at least 1")
    draws = change.draws if isinstance(change, Noise) else 1
    rows = [(i, draw) for i in range(len(images)) for draw in range(draws)]
    result: list[list[Caption]] = [[] for _ in images]
    if change is not None and not len(change.neurons):
        change = None  # nothing to change: every draw is the clean caption
    # Before the decoder, images of different sizes stand in one queue: there every batch holds one image.
    part = "text" if change is None else change.neurons.part
    one_image = bool(vlm.family.single) or part not in ALONG_PROMPT

    def write(chunk: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Caption]]:
        for (i, _), (new, _) in zip(chunk, _written(vlm, images, chunk, change, decoding), strict=True):
            yield i, caption_of(vlm, new, decoding)

    batches = Batches(1 if one_row_at_a_time(vlm, part) else batch_size)
    for group in _groups(rows, one_image=one_image):
        for i, caption in batches.run(group, write):
            result[i].append(caption)
    return result


def alone(
    vlm: LoadedModel,
    images: Sequence[ImageRow],
    row: tuple[int, int],
    change: Intervention | None,
    decoding: Decoding,
    enough: Sequence[int] = (),
) -> tuple[list[int], Trail]:
    """What transformers' `generate` writes for one row (number of an image, draw) by itself, and what it chose by.

    A caption that begins with the tokens `enough` ends there.
    """
    return _written(vlm, images, [row], change, decoding, enough)[0]


def _written(
    vlm: LoadedModel,
    images: Sequence[ImageRow],
    rows: Sequence[tuple[int, int]],
    change: Intervention | None,
    decoding: Decoding,
    enough: Sequence[int] = (),
) -> list[tuple[list[int], Trail]]:
    """New token ids of rows (number of an image, draw), without the end, and what they were chosen by in the batch."""
    distinct = list(dict.fromkeys(i for i, _ in rows))
    numbers = distinct if len(images) > 1 else None
    prepared = vlm.prepare([images[i] for i in distinct], decoding, numbers=numbers)
    repeated = prepared.select(distinct.index(i) for i, _ in rows)
    result: dict[int, tuple[list[int], Trail]] = {}
    for group in repeated.batches():
        inputs, members = repeated.select(group), [rows[at] for at in group]
        around = nullcontext() if change is None else Intervening(vlm, (change,), [draw for _, draw in members])
        with torch.no_grad(), vlm.frozen(), around:
            generate: Any = vlm.model.generate
            watch = Watch(ends_of(vlm))
            how = generate_settings(vlm, decoding) | ({"stopping_criteria": [Begun(watch, enough)]} if enough else {})
            output = generate(**inputs.tensors, **how, logits_processor=[watch])
        refuse(vlm, [members[row][0] for row in watch.bad], change)
        ids = [until_end(vlm, new) for new in inputs.written(output).tolist()]
        trails = watch.trails or [Trail()] * len(ids)
        if len(members) > 1:

            def plainly(at: int, enough: tuple[int, ...], of: Sequence[tuple[int, int]] = members) -> Any:
                return alone(vlm, images, of[at], change, decoding, enough)

            ids = settled(vlm, ids, trails, plainly)
        result.update(zip(group, zip(ids, trails, strict=True), strict=True))
    return [result[at] for at in range(len(rows))]


def clean_captions(
    vlm: LoadedModel, images: Sequence[ImageRow], *, decoding: Decoding = Decoding(), batch_size: int = 32
) -> list[Caption]:
    """The one caption of each image without an intervention; errors as in :func:`generate_captions`."""
    return [caption for (caption,) in generate_captions(vlm, images, decoding=decoding, batch_size=batch_size)]


def _groups(rows: list[tuple[int, int]], *, one_image: bool) -> list[list[tuple[int, int]]]:
    """Rows (image, draw) that can share a batch; of one image only where a model cannot be given padded prompts."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row[0])] if one_image else [rows]


def generate_settings(vlm: LoadedModel, decoding: Decoding) -> dict[str, Any]:
    """The arguments of `generate` that are the same for every caption: all that it has, so that none is left to chance.

    A strongly disturbed model may prefer the image's placeholder, which is no word and would ask for an image: it is
    never written.
    """
    asked: dict[str, Any] = dict(decoding.generation)
    placeholder = [] if vlm.image_token is None else [vlm.image_token]
    ends = ends_of(vlm) if vlm.family.ends else []
    return {
        **neutral(),
        **asked,
        "max_new_tokens": decoding.max_new_tokens,
        "use_cache": decoding.use_cache,
        "suppress_tokens": [*(asked.get("suppress_tokens") or ()), *placeholder] or None,
        **({"eos_token_id": ends} if ends else {}),
    }


def ends_of(vlm: LoadedModel) -> list[int]:
    """The token ids that end a caption."""
    config: Any = vlm.model.generation_config
    ends = config.eos_token_id
    if vlm.family.closed:  # its own generate asks for this one, whatever the settings say
        whole: Any = vlm.model.config
        return [int(whole.get_text_config(decoder=True).sep_token_id)]
    return [] if ends is None else list(ends) if isinstance(ends, list) else [int(ends)]


def until_end(vlm: LoadedModel, ids: list[int]) -> list[int]:
    """New token ids up to and without the end of the sequence."""
    ends = ends_of(vlm)
    return ids[: next((n for n, token in enumerate(ids) if token in ends), len(ids))]


def caption_of(vlm: LoadedModel, ids: list[int], decoding: Decoding) -> Caption:
    """The caption that new token ids spell, up to the end of the sequence."""
    kept = until_end(vlm, ids)
    tokenizer = vlm.tokenizer
    prefix = tokenizer(decoding.beginning, add_special_tokens=False).input_ids
    # Decoded together, so that the join is spelled as the tokenizer spells it; the prompt itself is kept as written.
    start = tokenizer.decode(prefix, skip_special_tokens=True)
    joined = tokenizer.decode([*prefix, *kept], skip_special_tokens=True)
    text = spoken(tokenizer.decode(kept, skip_special_tokens=True))
    return Caption(text, decoding.beginning + spoken(joined[len(start) :]), tuple(kept))

"""What a model says to a fixed set of questions: read once before an edit, and again while it is in force.

A reading holds texts and numbers only, no weights, so that what was read before an edit stays what it was.

    nll of a caption    mean over its tokens of -log p(token | prompt, image, tokens before), by the model that wrote it
    nll of a text       -log p of each of its tokens but the first, without an image
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...caption import Caption, clean_captions
from ...caption.memory import Batches
from ...errors import MODEL_ERRORS, InvalidOption, UnsupportedModel
from ...fields import check_fields
from ...held import in_turn
from ...loading import VLM
from ...models.decoding import Decoding
from ...models.inputs import Inputs
from ...samples.image import ImageSource


@dataclass(frozen=True)
class Probes:
    """What an edit is measured on.

    Attributes:
        edited: images of the source that the edit is made with.
        held_out: images of the source that it is not made with.
        others: images that do not show the source, which it is not made with either.
        texts: read without an image, by themselves. None for the captions that the unedited model writes of `others`;
            none at all, (), where the model reads no text without an image.
        prompts: other beginnings of the answer, after which `held_out` is captioned again.
        decoding: how captions are written.

    Raises InvalidOption where one of the three groups of images is empty.
    """

    edited: Sequence[ImageSource]
    held_out: Sequence[ImageSource]
    others: Sequence[ImageSource]
    texts: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("edited", "held_out", "others"):
            if not len(getattr(self, name)):
                raise InvalidOption(f"{name} is empty: an edit is measured on images of all three kinds")


@dataclass(frozen=True)
class TextReading:
    """One text without an image: -log p of each token but the first (nats), and what was most probable there."""

    nll: tuple[float, ...]
    best: tuple[int, ...]


@dataclass(frozen=True)
class Answers:
    """The answers, in the order of the probes.

    Attributes:
        edited, held_out, others: captions without the prompt.
        prompted: other prompt -> captions of the held-out images.
        nll: of each held-out caption, mean -log p of its tokens (nats); None for an empty caption.
        texts: of each text of `asked`.
        asked: the texts that were read.
    """

    edited: tuple[str, ...]
    held_out: tuple[str, ...]
    others: tuple[str, ...]
    prompted: Mapping[str, tuple[str, ...]]
    nll: tuple[float | None, ...]
    texts: tuple[TextReading, ...]
    asked: tuple[str, ...]


@in_turn
def read(vlm: VLM, probes: Probes, *, texts: tuple[str, ...] | None = None, batch_size: int = 32) -> Answers:
    """Ask the model as it is now.

    Args:
        vlm: the model, edited or not.
        probes: what is asked.
        texts: the texts of an earlier reading, which is to be compared with; those of the probes by default.
        batch_size: captions that are generated together.

    Raises UnsupportedModel for texts where the model reads none without an image, and InvalidOption for a text of
    fewer than two tokens.
    """
    decoding = probes.decoding
    write = partial(clean_captions, vlm, batch_size=batch_size)
    groups = (probes.edited, probes.held_out, probes.others)
    captions = iter(write([image for group in groups for image in group], decoding=decoding))
    edited, held_out, others = (list(islice(captions, len(group))) for group in groups)
    asked = texts if texts is not None else probes.texts
    if asked is None:
        asked = tuple(dict.fromkeys(caption.full for caption in others))
    return Answers(
        _texts(edited),
        _texts(held_out),
        _texts(others),
        {p: _texts(write(probes.held_out, decoding=replace(decoding, prefix=p))) for p in probes.prompts},
        _caption_nll(vlm, probes.held_out, held_out, decoding, batch_size),
        _read_texts(vlm, asked),
        asked,
    )


def _texts(captions: Iterable[Caption]) -> tuple[str, ...]:
    return tuple(caption.text for caption in captions)


@torch.no_grad()
def _caption_nll(
    vlm: VLM, images: Sequence[ImageSource], captions: Sequence[Caption], decoding: Decoding, batch_size: int
) -> tuple[float | None, ...]:
    found: list[float | None] = [None] * len(captions)
    written = [n for n, caption in enumerate(captions) if caption.ids]
    prompts = vlm.prepare(list(images), decoding).rows
    rows = [prompts[n].extended(captions[n].ids) for n in written]

    def nll(group: Sequence[int]) -> Iterator[float]:
        longest = max(len(captions[written[k]].ids) for k in group)
        logits = vlm.logits(Inputs(tuple(rows[k] for k in group)), last=longest + 1)
        for k, row in zip(group, logits, strict=True):
            ids = captions[written[k]].ids
            yield float(_nll(row[-len(ids) - 1 : -1], ids).mean())

    batches = Batches(batch_size)
    for group in vlm.batches(rows, batch_size):
        for k, value in zip(group, batches.run(group, nll), strict=True):
            found[written[k]] = value
    return tuple(found)


def _nll(logits: Float[Tensor, "tokens vocabulary"], ids: Sequence[int]) -> Float[Tensor, "tokens"]:
    """-log p of each token, nats."""
    logprobs = logits.float().log_softmax(-1)
    return -logprobs[torch.arange(len(ids)), torch.tensor(list(ids), device=logprobs.device)]


@torch.no_grad()
def _read_texts(vlm: VLM, texts: Sequence[str]) -> tuple[TextReading, ...]:
    """Each by itself, so that no padding can change a number."""
    given: list[list[int]] = [vlm.tokenizer(text).input_ids for text in texts]
    for text, ids in zip(texts, given, strict=True):
        if len(ids) < 2:
            raise InvalidOption(f"texts holds {text!r}, of which {len(ids)} tokens are made; at least 2 are needed")
    with vlm.frozen():
        return tuple(_read_text(vlm, ids) for ids in given)


def _read_text(vlm: VLM, ids: list[int]) -> TextReading:
    given = torch.tensor([ids], device=vlm.device)
    try:
        output: Any = vlm.model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False)
        logits = output.logits[0]
    except MODEL_ERRORS as error:
        raise UnsupportedModel(
            f"{vlm.id} reads no text without an image ({type(error).__name__}: {error}): give no texts, texts=()"
        ) from error
    if len(logits) != len(ids):
        raise UnsupportedModel(
            f"{vlm.id} gives {len(logits)} positions for a text of {len(ids)} tokens: give no texts, texts=()"
        )
    return TextReading(tuple(_nll(logits[:-1], ids[1:]).tolist()), tuple(logits[:-1].argmax(-1).tolist()))

"""What a model says about some images: captions, and how likely it finds the source and the target word.

Taken before an edit and kept with it, so that no figure about the edit has to trust weights that were put back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..caption import Caption, clean_captions
from ..errors import ConceptNotNamed, RunMismatch
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.image import ImageSource
from ..samples.lexicon import Lexicon
from ..tokens import tokens_of_span
from .words import WordPair


@dataclass(frozen=True)
class Observation:
    """What was said about one image.

    Attributes:
        text: the caption without the prompt.
        full: the caption with it.
        ids: generated token ids.
        at: indices into `ids` of the tokens that spell the source; empty where it is not named.
        source_logprob, target_logprob: log-probability of the word's first token where the source's first token was
            written (the same position for both, nats); None where the source is not named.
    """

    text: str
    full: str
    ids: tuple[int, ...]
    at: tuple[int, ...] = ()
    source_logprob: float | None = None
    target_logprob: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON file can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """The inverse of :meth:`to_dict`. Raises RunMismatch for other content."""
        try:
            held: dict[str, Any] = {**data, "ids": tuple(data["ids"]), "at": tuple(data["at"])}
            return cls(**held)
        except (KeyError, TypeError) as error:
            raise RunMismatch(f"damaged observation: {type(error).__name__}: {error}") from error


@in_turn
def observe(
    vlm: VLM, images: Sequence[ImageSource], words: WordPair | None = None, decoding: Decoding = Decoding()
) -> tuple[Observation, ...]:
    """Captions of some images with the model as it is now, and the log-probabilities of two words where one is named.

    Raises ConceptNotNamed when words are given, and images, and none of the captions names the source.
    """
    captions = clean_captions(vlm, images, decoding=decoding)
    seen = tuple(_observe(vlm, image, one, words, decoding) for image, one in zip(images, captions, strict=True))
    if words is not None and seen and not any(one.at for one in seen):
        quoted = "; ".join(f'"{one.full}"' for one in seen[:3])
        raise ConceptNotNamed(
            f"none of the {len(seen)} captions names source={words.source!r}, so there is nothing to edit. "
            f"Captions: {quoted}{' ...' if len(seen) > 3 else ''}"
        )
    return seen


def named_at(vlm: VLM, caption: Caption, concept: str) -> tuple[int, ...]:
    """Indices into a caption's ids of the tokens of the first mention of a concept; empty where it is not named."""
    match = Lexicon.default().match(caption.text, concept)
    return () if match is None else tuple(tokens_of_span(vlm.tokenizer, caption.ids, match.start, match.end))


@torch.no_grad()
def _observe(vlm: VLM, image: ImageSource, caption: Caption, words: WordPair | None, decoding: Decoding) -> Observation:
    at = () if words is None else named_at(vlm, caption, words.source)
    if words is None or not at:
        return Observation(caption.text, caption.full, caption.ids)
    inputs = vlm.prepare([image], decoding).extend(caption.ids[: at[0]])
    logprobs = vlm.logits(inputs)[0, -1].float().log_softmax(-1)
    source, target = caption.ids[at[0]], words.target_ids[0]
    return Observation(caption.text, caption.full, caption.ids, at, float(logprobs[source]), float(logprobs[target]))

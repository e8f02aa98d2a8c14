"""CLIPScore of a caption and an image: 100 cos(e_text, e_image) of a CLIP model (METHODS e).

The scale is that of Schwettmann et al.'s tables; Hessel et al. report 2.5 max(cos, 0) and put "A photo depicts" before
the caption. Here nothing is cut off below 0 and nothing is put before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...fields import check_fields
from ...models.checkpoints import Source, content_digest, device_or_best, find, load_weights, loading
from ...samples.image import ImageSource, read_image
from ...types import Json
from .scored import Against, score_pairs
from .sources import positive, version

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Clip:
    source: Source
    model: Any
    tokenizer: Any
    processor: Any


@dataclass(frozen=True)
class ClipScore:
    """CLIPScore.

    Attributes:
        model: hub id, directory, or "package:NAME" of a CLIP checkpoint (:mod:`neuronscope.models.checkpoints`). There
            is no default.
        device: None for the GPU, if there is one.
        batch_size: captions, or images, encoded together.
    """

    model: str | os.PathLike[str]
    device: str | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_fields(self)
        positive("batch_size", self.batch_size)

    @property
    def name(self) -> str:
        """clipscore."""
        return "clipscore"

    @property
    def against(self) -> Against:
        """Images."""
        return "image"

    def score(self, hypotheses: Sequence[str], references: Sequence[ImageSource]) -> Float[np.ndarray, "n"]:
        """100 times the cosine of each caption and image, -100 to 100.

        Captions beyond the text tower's length are cut. Raises UnsupportedModel when the model cannot be loaded,
        InvalidSample for an image that cannot be read.
        """
        return score_pairs(hypotheses, references, self._cosines, self.against)

    def provenance(self) -> dict[str, Json]:
        """With the fingerprint of the weights. Loads the model."""
        settings: dict[str, Json] = {"value": "100 cos", "transformers": version("transformers")}
        return {
            "metric": self.name,
            "library": "transformers",
            "version": version("transformers"),
            "model": {"id": self._clip.source.name, "fingerprint": self._fingerprint},
            "settings": settings,
        }

    def _cosines(self, texts: list[str], images: list[ImageSource]) -> Iterable[float]:
        # The same picture stands beside every draw of an intervention: it is encoded once.
        keys = [os.fspath(i) if isinstance(i, str | os.PathLike) else id(i) for i in images]
        places = {key: n for n, key in enumerate(dict.fromkeys(keys))}
        distinct = dict(zip(keys, images, strict=True))
        words = self._batches(texts, self._encode_texts)
        pictures = self._batches([distinct[key] for key in places], self._encode_images)
        return (100 * (words * pictures[[places[key] for key in keys]]).sum(-1)).double().tolist()

    def _batches(self, items: list[Any], encode: Any) -> Tensor:
        import torch

        steps = range(0, len(items), self.batch_size)
        with torch.no_grad():
            found = torch.cat([encode(items[i : i + self.batch_size]).cpu() for i in steps])
        return torch.nn.functional.normalize(found, dim=-1)

    def _encode_texts(self, texts: list[str]) -> Tensor:
        model, device = self._clip.model, device_or_best(self.device)
        limit = model.config.text_config.max_position_embeddings
        tokens = self._clip.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        found = model.text_model(tokens["input_ids"].to(device), attention_mask=tokens["attention_mask"].to(device))
        return model.text_projection(found.pooler_output)

    def _encode_images(self, images: list[ImageSource]) -> Tensor:
        model, device = self._clip.model, device_or_best(self.device)
        pixels = self._clip.processor([read_image(image) for image in images], return_tensors="pt")["pixel_values"]
        return model.visual_projection(model.vision_model(pixels.to(device)).pooler_output)

    @cached_property
    def _fingerprint(self) -> str:
        return content_digest(self._clip.model, self._clip.tokenizer, self._clip.processor)

    @cached_property
    def _clip(self) -> _Clip:
        """Load it. Raises UnsupportedModel."""
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        source = find(self.model)
        with loading(source, "CLIPScore"):
            model = load_weights(CLIPModel, source).to(device_or_best(self.device))
            tokenizer = AutoTokenizer.from_pretrained(source.where, trust_remote_code=False)
            # On PIL: torchvision is not required, and pixels do not depend on whether it is there.
            processor = AutoImageProcessor.from_pretrained(source.where, backend="pil", trust_remote_code=False)
        return _Clip(source, model, tokenizer, processor)

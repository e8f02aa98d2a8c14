"""BERTScore F1 of two captions (Zhang et al., 2020), computed by the bert-score package.

With the token states x of the hypothesis and y of the reference in one layer of a text encoder:
P = mean_i max_j cos(x_i, y_j), R = mean_j max_i cos(x_i, y_j), F1 = 2PR / (P + R).
The means leave the sentence's special tokens out, the maxima do not. No idf weights, not rescaled.

The package's own loader is not used, because it gives different numbers with different transformers: RoBERTa's first
word lost its space with transformers 4.17, and tokenizers without a length limit overflow with 5. Here the space is
always there, as the package asks for it, and the limit is the model's.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption
from ...fields import check_fields
from ...models.checkpoints import Source, content_digest, device_or_best, find, load_weights, loading
from ...types import Json
from .scored import Against, score_pairs
from .sources import library, positive, version


@dataclass(frozen=True)
class _Encoder:
    """A text encoder cut off after the layer that is compared."""

    source: Source
    model: Any
    tokenizer: Any
    layer: int
    layers: int
    prefix_space: bool


@dataclass(frozen=True)
class BertScore:
    """BERTScore F1.

    Attributes:
        model: hub id, directory, or "package:NAME" (see :mod:`neuronscope.models.checkpoints`).
        layer: whose output is compared, 1 to the number of layers (0: the embeddings). None takes what bert-score
            recommends for the hub id or for a directory of that name (17 for roberta-large), else the last layer.
        device: None for the GPU, if there is one.
        batch_size: captions encoded together.
    """

    model: str | os.PathLike[str] = "roberta-large"
    layer: int | None = None
    device: str | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_fields(self)
        positive("batch_size", self.batch_size)

    @property
    def name(self) -> str:
        """bertscore."""
        return "bertscore"

    @property
    def against(self) -> Against:
        """Captions."""
        return "caption"

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Float[np.ndarray, "n"]:
        """F1 of each pair, at most 1; unrelated captions are well above 0.

        Raises InvalidOption when bert-score is missing or the model has no such layer, UnsupportedModel when the model
        cannot be loaded.
        """
        return score_pairs(hypotheses, references, self._f1, self.against)

    def provenance(self) -> dict[str, Json]:
        """With bert-score's hash code and the fingerprint of the encoder up to the layer. Loads the model."""
        encoder = self._encoder
        utils = library("bert_score.utils", "bert-score")
        settings: dict[str, Json] = {
            "value": "F1",
            "layer": encoder.layer,
            "layers": encoder.layers,
            "idf": False,
            "rescaled": False,
            "prefix_space": encoder.prefix_space,
            "transformers": version("transformers"),
            "hash": str(utils.get_hash(encoder.source.name, encoder.layer, False, False, False, False)),
        }
        return {
            "metric": self.name,
            "library": "bert-score",
            "version": version("bert-score"),
            "model": {"id": encoder.source.name, "fingerprint": self._fingerprint},
            "settings": settings,
        }

    def _f1(self, texts: list[str], targets: list[str]) -> Float[np.ndarray, "n"]:
        utils = library("bert_score.utils", "bert-score")
        encoder = self._encoder
        weights: dict[int | None, float] = defaultdict(lambda: 1.0)
        weights.update({encoder.tokenizer.sep_token_id: 0.0, encoder.tokenizer.cls_token_id: 0.0})
        # The package computes on the model's device and returns precision, recall and F1.
        scores = utils.bert_cos_score_idf(
            encoder.model,
            targets,
            texts,
            encoder.tokenizer,
            weights,
            device=device_or_best(self.device),
            batch_size=self.batch_size,
        )
        return scores[:, 2].double().numpy()

    @cached_property
    def _fingerprint(self) -> str:
        return content_digest(self._encoder.model, self._encoder.tokenizer)

    @cached_property
    def _encoder(self) -> _Encoder:
        """Load it. Raises InvalidOption for a layer the model does not have, UnsupportedModel for the rest."""
        recommended: dict[str, int] = library("bert_score.utils", "bert-score").model2layers
        from transformers import AutoConfig, AutoModel, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

        source = find(self.model)
        with loading(source, "BERTScore"):
            config: Any = AutoConfig.from_pretrained(source.where, trust_remote_code=False)
            layers = int(config.num_hidden_layers)
        layer = recommended.get(source.name, layers) if self.layer is None else self.layer
        if not 0 <= layer <= layers:
            raise InvalidOption(f"layer={layer} is not in the model {source.name!r}; it has layers 0 to {layers}")
        with loading(source, "BERTScore"):
            config.num_hidden_layers = layer  # those behind it would be computed in vain
            model = load_weights(AutoModel, source, config=config)
            tokenizer: Any = AutoTokenizer.from_pretrained(source.where, trust_remote_code=False)
            prefix_space = isinstance(tokenizer, GPT2Tokenizer | RobertaTokenizer)
            if prefix_space:
                tokenizer = AutoTokenizer.from_pretrained(source.where, trust_remote_code=False, add_prefix_space=True)
        positions = int(getattr(config, "max_position_embeddings", 0) or 512)
        if tokenizer.model_max_length > positions:
            # RoBERTa counts positions from the padding id onwards.
            tokenizer.model_max_length = positions - 1 - (config.pad_token_id or 0)
        if config.is_encoder_decoder:
            model = model.get_encoder()
        return _Encoder(source, model.to(device_or_best(self.device)), tokenizer, layer, layers, prefix_space)

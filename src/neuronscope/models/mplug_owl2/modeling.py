"""mPLUG-Owl2, put together from parts that transformers has and two that it has not.

    picture -> CLIP ViT -> norm -> abstractor: 64 learned queries, and an end token -> Llama with adaptive layers

The decoder's norms and its maps to keys and values exist twice, for text and for image tokens (adaptive.py); queries,
FFNs and everything else are shared, so that neurons are those of any Llama.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
)

from .abstractor import Abstractor
from .adaptive import AdaptiveLlamaModel


class MPLUGOwl2Config(LlavaConfig):
    """Shapes of tower, abstractor and decoder.

    Attributes:
        abstractor_config: hidden_size, intermediate_size, num_hidden_layers, num_attention_heads and layer_norm_eps.
        num_query_tokens: learned queries; the end token makes one image token more.
    """

    model_type = "mplug_owl2"
    __no_type_check__ = True  # jaxtyping's hook would refuse arguments that are no fields, which configs may have

    abstractor_config: dict[str, Any] | None = None
    num_query_tokens: int = 64
    image_token_index: int = 0  # <unk>: Llama never makes it of text, so its vocabulary stays as it is
    vision_feature_layer: int | list[int] = -1

    def __post_init__(self, **kwargs: Any) -> None:
        if self.vision_config is None:
            self.vision_config = CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=448,
                patch_size=14,
                layer_norm_eps=1e-6,
            )
        self.vision_feature_select_strategy = "full"
        usual = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 6, "num_attention_heads": 16}
        self.abstractor_config = {**usual, "layer_norm_eps": 1e-6, **(self.abstractor_config or {})}
        super().__post_init__(**kwargs)
        self.image_seq_length = self.num_query_tokens + 1


class MPLUGOwl2Model(LlavaModel):
    """LLaVA's way of putting image tokens in place, with mPLUG-Owl2's abstractor and decoder."""

    config_class = MPLUGOwl2Config

    def __init__(self, config: MPLUGOwl2Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)  # LlavaModel's own would build LLaVA's projector and decoder
        vision, text = cast("Any", config.vision_config), cast("Any", config.text_config)
        tower: Any = AutoModel.from_config(vision)
        tower.post_layernorm = nn.Identity()  # the features are taken before it; the projector has the norm
        self.vision_tower = tower
        self.multi_modal_projector: Any = Abstractor(
            config.abstractor_config or {},
            queries=config.num_query_tokens,
            seen=(vision.image_size // vision.patch_size) ** 2 + 1,
            vision=(vision.hidden_size, vision.layer_norm_eps),
            out=text.hidden_size,
        )
        self.language_model = AdaptiveLlamaModel(text)
        self.post_init()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Any = None, inputs_embeds: Any = None, **kwargs: Any
    ) -> Any:
        """As LLaVA's; image tokens are told by their ids or, where there are embeddings only, by that of their id."""
        modality = kwargs.pop("modality", None)
        if modality is None:
            modality = self._image_tokens(input_ids, inputs_embeds)
        forward: Any = super().forward
        return forward(input_ids=input_ids, inputs_embeds=inputs_embeds, modality=modality, **kwargs)

    def _image_tokens(self, ids: Tensor | None, embeds: Tensor | None) -> Tensor | None:
        """Which positions are image tokens; None where none is."""
        config: Any = self.config
        if ids is not None:
            found = ids == config.image_token_id
        elif embeds is not None:
            table: Any = self.get_input_embeddings()
            found = (embeds == table(torch.tensor(config.image_token_id, device=embeds.device))).all(-1)
        else:
            return None
        return found if bool(found.any()) else None


class MPLUGOwl2ForConditionalGeneration(LlavaForConditionalGeneration):
    """mPLUG-Owl2 with its language modelling head; called like any image-text-to-text model."""

    config_class = MPLUGOwl2Config

    def __init__(self, config: MPLUGOwl2Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        text: Any = config.text_config
        self.model = MPLUGOwl2Model(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

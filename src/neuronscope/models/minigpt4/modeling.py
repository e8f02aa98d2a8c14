"""The MiniGPT-4 model, put together from parts that transformers has.

    picture -> EVA ViT-g (Blip2VisionModel) -> LayerNorm -> projector -> Llama (as in LLaVA)

Two projectors were published. The Llama-2 versions drop CLS, join every 4 patches that follow one another in a row,
and map the 4 x 1408 numbers to one image token: at 224 px, 64 tokens that lie 16 x 4 on the picture, each 4 times as
wide as high. The Vicuna versions have BLIP-2's Q-Former between norm and linear map: 32 tokens with no place on it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    AutoModel,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    Blip2VisionConfig,
    Blip2VisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
)

#: torch's default, which the original's ln_vision has; the norms inside the tower have 1e-6.
NORM_EPS = 1e-5


class MiniGPT4Config(LlavaConfig):
    """Shapes of tower, projector and decoder.

    Attributes:
        patches_per_token: how many patches of a row make one image token (without Q-Former).
        qformer_config: of the Vicuna versions; None where the patches are projected.
        num_query_tokens: number of image tokens with a Q-Former.
    """

    model_type = "minigpt4"
    __no_type_check__ = True  # jaxtyping's hook would refuse arguments that are no fields, which configs may have

    patches_per_token: int = 4
    qformer_config: dict[str, Any] | None = None
    num_query_tokens: int = 32
    image_token_index: int = 0  # <unk>: Llama never makes it of text, so its vocabulary stays as it is
    vision_feature_layer: int | list[int] = -1

    def __post_init__(self, **kwargs: Any) -> None:
        vision: Any = self.vision_config
        if vision is None:
            vision = Blip2VisionConfig()
        elif isinstance(vision, dict):
            vision = Blip2VisionConfig(**{k: v for k, v in vision.items() if k != "model_type"})
        self.vision_config = vision
        self.vision_feature_select_strategy = "default" if self.qformer_config is None else "full"
        super().__post_init__(**kwargs)
        side = vision.image_size // vision.patch_size
        if self.qformer_config is None and side % self.patches_per_token:
            raise ValueError(
                f"{side} patches in a row cannot be joined by {self.patches_per_token}: "
                f"image_size={vision.image_size}, patch_size={vision.patch_size}"
            )
        rows, columns = self.grid or (1, self.num_query_tokens)
        self.image_seq_length = rows * columns

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns in which the image tokens lie on the picture; None with a Q-Former."""
        if self.qformer_config is not None:
            return None
        vision: Any = self.vision_config
        side = vision.image_size // vision.patch_size
        return side, side // self.patches_per_token


class PatchProjector(nn.Module):
    """Norm, join consecutive patches, linear map."""

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__()
        vision, text = cast("Any", config.vision_config), cast("Any", config.text_config)
        self.joined = config.patches_per_token
        self.norm = nn.LayerNorm(vision.hidden_size, eps=NORM_EPS)
        self.linear = nn.Linear(vision.hidden_size * self.joined, text.hidden_size)

    def forward(self, features: Float[Tensor, "batch patches width"]) -> Float[Tensor, "batch tokens hidden"]:
        """Image tokens of patches in raster order, CLS dropped."""
        batch, patches, width = features.shape
        return self.linear(self.norm(features).reshape(batch, patches // self.joined, width * self.joined))


class QueryProjector(nn.Module):
    """Norm, Q-Former with learned queries, linear map."""

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__()
        vision, text = cast("Any", config.vision_config), cast("Any", config.text_config)
        settings = Blip2QFormerConfig(**{**(config.qformer_config or {}), "encoder_hidden_size": vision.hidden_size})
        self.norm = nn.LayerNorm(vision.hidden_size, eps=NORM_EPS)
        self.queries = nn.Parameter(torch.zeros(1, config.num_query_tokens, settings.hidden_size))
        self.qformer = Blip2QFormerModel(settings)
        self.linear = nn.Linear(settings.hidden_size, text.hidden_size)

    def forward(self, features: Float[Tensor, "batch patches width"]) -> Float[Tensor, "batch tokens hidden"]:
        """Image tokens of all tower outputs, CLS included."""
        seen = self.norm(features)
        queries = self.queries.expand(len(seen), -1, -1)
        return self.linear(self.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state)


class MiniGPT4Model(LlavaModel):
    """LLaVA's way of putting image tokens in place, with MiniGPT-4's tower and projector."""

    config_class = MiniGPT4Config

    def __init__(self, config: MiniGPT4Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)  # LlavaModel's own would build LLaVA's tower and projector
        tower: Any = Blip2VisionModel(cast("Any", config.vision_config))
        tower.post_layernorm = nn.Identity()  # the features are taken before it; the projector has the norm
        self.vision_tower = tower
        with_queries = config.qformer_config is not None
        self.multi_modal_projector: Any = QueryProjector(config) if with_queries else PatchProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()


class MiniGPT4ForConditionalGeneration(LlavaForConditionalGeneration):
    """MiniGPT-4 with its language modelling head; called like any image-text-to-text model."""

    config_class = MiniGPT4Config

    def __init__(self, config: MiniGPT4Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        text: Any = config.text_config
        self.model = MiniGPT4Model(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

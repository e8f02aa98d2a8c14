"""LLaVA v1, put together from parts that transformers has.

    picture -> CLIP ViT, the last layer but one, without CLS -> one linear map -> Llama

At 224 px and patches of 14 px that is 256 image tokens, 16 x 16 on the picture. LLaVA 1.5 has two linear maps with a
GELU between them, and is in transformers.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn
from transformers import AutoModel, LlavaConfig, LlavaForConditionalGeneration, LlavaModel, LlavaPreTrainedModel


class LlavaV1Config(LlavaConfig):
    """Shapes of tower and decoder, and which features of the tower are taken."""

    model_type = "llava_v1"
    __no_type_check__ = True  # jaxtyping's hook would refuse arguments that are no fields, which configs may have

    image_token_index: int = 0  # <unk>: Llama never makes it of text, so its vocabulary stays as it is
    vision_feature_layer: int | list[int] = -2

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        vision: Any = self.vision_config
        self.image_seq_length = (vision.image_size // vision.patch_size) ** 2


class LlavaV1Model(LlavaModel):
    """LLaVA's way of putting image tokens in place, with one linear map before it."""

    config_class = LlavaV1Config

    def __init__(self, config: LlavaV1Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)  # LlavaModel's own would build two maps
        vision, text = cast("Any", config.vision_config), cast("Any", config.text_config)
        self.vision_tower = AutoModel.from_config(vision)
        self.multi_modal_projector: Any = nn.Linear(vision.hidden_size, text.hidden_size)
        self.language_model = AutoModel.from_config(text)
        self.post_init()


class LlavaV1ForConditionalGeneration(LlavaForConditionalGeneration):
    """LLaVA v1 with its language modelling head; called like any image-text-to-text model."""

    config_class = LlavaV1Config

    def __init__(self, config: LlavaV1Config) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        text: Any = config.text_config
        self.model = LlavaV1Model(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

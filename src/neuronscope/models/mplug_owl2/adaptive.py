"""Llama whose norms and maps to keys and values exist twice: for text, and for image tokens (mPLUG-Owl2, Ye et al.).

Which of the two a position takes is said by `modality`, true at image tokens; without it all are text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)


class Multiway(nn.Module):
    """The same map twice, for text and for image tokens."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.multiway = nn.ModuleList([make(), make()])

    def forward(
        self, x: Float[Tensor, "batch positions width"], modality: Bool[Tensor, "batch positions"] | None
    ) -> Float[Tensor, "batch positions out"]:
        """Each position through the map of its modality."""
        text, image = self.multiway
        if modality is None:
            return text(x)
        return torch.where(modality[..., None], image(x), text(x))


class AdaptiveAttention(LlamaAttention):
    """Llama's attention with keys and values by modality."""

    def __init__(self, config: LlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        settings: Any = config
        width, bias = settings.num_key_value_heads * self.head_dim, config.attention_bias
        self.k_proj, self.v_proj = (Multiway(lambda: nn.Linear(config.hidden_size, width, bias=bias)) for _ in range(2))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        modality: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As Llama's."""
        maps = (self.q_proj(hidden_states), self.k_proj(hidden_states, modality), self.v_proj(hidden_states, modality))
        query, key, value = (one.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for one in maps)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        config: Any = self.config
        attend: Any = ALL_ATTENTION_FUNCTIONS.get_interface(config._attn_implementation, eager_attention_forward)
        dropout = self.attention_dropout if self.training else 0.0
        mixed, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.o_proj(mixed.flatten(2).contiguous()), weights


class AdaptiveDecoderLayer(LlamaDecoderLayer):
    """Llama's layer with norms, keys and values by modality; the FFN is shared."""

    def __init__(self, config: LlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.self_attn = AdaptiveAttention(config, layer_idx)
        norms = (Multiway(lambda: LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)) for _ in range(2))
        self.input_layernorm, self.post_attention_layernorm = norms

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: Tensor, modality: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """As Llama's."""
        seen = self.input_layernorm(hidden_states, modality)
        mixed, _ = self.self_attn(hidden_states=seen, modality=modality, **kwargs)
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states, modality))


class AdaptiveLlamaModel(LlamaModel):
    """Llama of such layers."""

    _no_split_modules: ClassVar[Any] = ["AdaptiveDecoderLayer"]
    _can_record_outputs: ClassVar[Any] = {"hidden_states": AdaptiveDecoderLayer, "attentions": AdaptiveAttention}

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(AdaptiveDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.post_init()

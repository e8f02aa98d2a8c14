"""mPLUG-Owl2's visual abstractor: learned queries look at patches and at one another, layer by layer.

    x <- LN_1(x),  y = [LN_k(patches), x]                    the residual stream is the normed one
    x <- x + W_o attention((x + p_x) W_q, (y + p_y) W_k, y W_v)
    x <- x + W_2 LN_f(silu(LN_2(x) W_1) * LN_2(x) W_3)

with fixed positions p. At the end a linear map to the decoder's width, and a learned end token behind the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: torch's default, which the norms have that the original gives none.
_EPS = 1e-5


class GatedMLP(nn.Module):
    """The FFN of a layer; a norm lies between its neurons and what they write."""

    def __init__(self, width: int, inner: int, eps: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, inner)
        self.w3 = nn.Linear(width, inner)
        self.act = nn.SiLU()
        self.ffn_ln = nn.LayerNorm(inner, eps=eps)
        self.w2 = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "batch queries width"]) -> Float[Tensor, "batch queries width"]:
        """As in the formula above."""
        return self.w2(self.ffn_ln(self.act(self.w1(x)) * self.w3(x)))


class QueryAttention(nn.Module):
    """Queries look at patches and at one another; positions are added to what is compared, not to what is taken."""

    def __init__(self, width: int, heads: int, queries: int, seen: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.query_positions = nn.Parameter(torch.zeros(queries, width))
        self.patch_positions = nn.Parameter(torch.zeros(seen, width))

    def forward(
        self, x: Float[Tensor, "batch queries width"], patches: Float[Tensor, "batch seen width"]
    ) -> Float[Tensor, "batch queries width"]:
        """What is added to the queries."""
        # The original has the queries first. The order of keys changes nothing, and rollout.py expects patches there.
        both, places = torch.cat([patches, x], 1), torch.cat([self.patch_positions, self.query_positions])
        query = self._heads(self.query(x + self.query_positions))
        key, value = self._heads(self.key(both + places)), self._heads(self.value(both))
        return self.out_proj(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    def _heads(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch heads n size"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AbstractorLayer(nn.Module):
    """One layer; see the formula above."""

    def __init__(self, settings: Mapping[str, Any], queries: int, seen: int) -> None:
        super().__init__()
        width = settings["hidden_size"]
        self.norm1, self.normk, self.norm2 = (nn.LayerNorm(width, eps=_EPS) for _ in range(3))
        self.attention = QueryAttention(width, settings["num_attention_heads"], queries, seen)
        self.mlp = GatedMLP(width, settings["intermediate_size"], settings["layer_norm_eps"])

    def forward(
        self, x: Float[Tensor, "batch queries width"], patches: Float[Tensor, "batch seen width"]
    ) -> Float[Tensor, "batch queries width"]:
        """The queries after the layer."""
        x = self.norm1(x)
        x = x + self.attention(x, self.normk(patches))
        return x + self.mlp(self.norm2(x))


class Abstractor(nn.Module):
    """All layers, between the tower's norm and the decoder's width.

    Args:
        settings: of the layers; see MPLUGOwl2Config.
        queries: number of learned queries.
        seen: number of the tower's outputs, CLS included.
        vision: width and norm's epsilon of the tower.
        out: width of the decoder.
    """

    def __init__(
        self, settings: Mapping[str, Any], *, queries: int, seen: int, vision: tuple[int, float], out: int
    ) -> None:
        super().__init__()
        width = settings["hidden_size"]
        self.norm = nn.LayerNorm(vision[0], eps=vision[1])
        self.queries = nn.Parameter(torch.zeros(1, queries, width))
        self.layers = nn.ModuleList(
            AbstractorLayer(settings, queries, seen) for _ in range(settings["num_hidden_layers"])
        )
        self.linear = nn.Linear(width, out)
        self.end = nn.Parameter(torch.zeros(1, 1, out))

    def forward(self, features: Float[Tensor, "batch seen width"]) -> Float[Tensor, "batch tokens out"]:
        """Image tokens of all tower outputs, CLS included: one for each query, and the end token."""
        patches = self.norm(features)
        x = self.queries.expand(len(features), -1, -1)
        for layer in self.layers:
            x = layer(x, patches)
        return torch.cat([self.linear(x), self.end.expand(len(x), -1, -1)], 1)

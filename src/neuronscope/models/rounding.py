"""How far rounding explains that two ways of computing the same logits differ."""

from __future__ import annotations

import torch
from torch import Tensor

from .loaded import LoadedModel


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the logits' spread, without the tokens that a model forbids."""
    if a.shape != b.shape:
        return float("inf")
    free = allowed(a) & allowed(b)
    return float((a[free] - b[free]).abs().max() / b[free].std().clamp_min(1e-12))


def allowed(logits: Tensor) -> Tensor:
    """Where logits are numbers; some models forbid tokens by a huge negative one, which would drown all others."""
    return torch.isfinite(logits) & (logits > -1e30)


def tolerance(vlm: LoadedModel) -> float:
    """Largest :func:`relative` difference that rounding explains, by the type of the weights."""
    return {torch.float64: 1e-8, torch.float32: 5e-3}.get(vlm.dtype, 0.5)


def coarse(vlm: LoadedModel) -> bool:
    """Whether the weights have 16 bits: rounding then shows in logits, and may turn one token into another."""
    return vlm.dtype not in (torch.float32, torch.float64)

"""How far rounding explains that two ways of computing the same logits differ."""

from __future__ import annotations

import torch
from torch import Tensor

from .loaded import LoadedModel

#: Largest difference of logits, relative to their spread, that rounding explains, by the type of the weights (None: any
#: other). "way": other shapes or kernels all the way. "states": the same way, but begun from kept states of the model.
_EXPLAINED: dict[str, dict[torch.dtype | None, float]] = {
    "way": {torch.float64: 1e-8, torch.float32: 5e-3, None: 0.5},
    "states": {torch.float64: 1e-8, torch.float32: 1e-3, None: 0.1},
}


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the logits' spread, without the tokens that a model forbids."""
    if a.shape != b.shape:
        return float("inf")
    free = allowed(a) & allowed(b)
    return float((a[free] - b[free]).abs().max() / b[free].std().clamp_min(1e-12))


def allowed(logits: Tensor) -> Tensor:
    """Where logits are numbers; some models forbid tokens by a huge negative one, which would drown all others."""
    return torch.isfinite(logits) & (logits > -1e30)


def tolerance(vlm: LoadedModel, row: str = "way") -> float:
    """Largest :func:`relative` difference that rounding explains, by the type of the weights."""
    explained = _EXPLAINED[row]
    return explained.get(vlm.dtype, explained[None])


def departs(vlm: LoadedModel, ours: Tensor, plain: Tensor, states: str) -> str:
    """How far logits from kept states are from the plain ones; empty where rounding explains it.

    A token that only `ours` forbids is infinitely far.

    Args:
        vlm: the model.
        ours: [..., rows, at least vocabulary] logits.
        plain: [..., rows or 1, vocabulary].
        states: what the sentence calls the states.
    """
    ours = ours.float()[..., : plain.shape[-1]]
    free = allowed(plain)
    error = (ours - plain).abs().where(free, 0).max() / plain[free].std().clamp_min(1e-12)
    if float(error) <= tolerance(vlm, "states"):
        return ""
    return f"logits from {states} states differ by {float(error):.1e} of their spread"


def coarse(vlm: LoadedModel) -> bool:
    """Whether the weights have 16 bits: rounding then shows in logits, and may turn one token into another."""
    return vlm.dtype not in (torch.float32, torch.float64)

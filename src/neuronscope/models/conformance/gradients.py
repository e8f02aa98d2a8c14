"""Gradients: one backward pass against differences, and which layers reach the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from ...hooks import HookSession, Tap
from ..inputs import Inputs
from .parts import NotApplicable, Outcome, checked_positions, noise_picture

if TYPE_CHECKING:
    from ..vlm import VLM


def check_gradient(vlm: VLM) -> Outcome:
    """Gradients of all layers from one backward pass agree with central differences."""
    if vlm.dtype not in (torch.float32, torch.float64):
        return NotApplicable(f"differences cannot be resolved in {vlm.dtype}")
    inputs = vlm.prepare([noise_picture()])
    where = checked_positions(vlm, inputs)
    leaves: dict[int, Tensor] = {}

    def leaf(layer: int) -> Tap:
        def run(z: Tensor) -> Tensor:
            leaves[layer] = z if z.requires_grad else z.detach().requires_grad_()
            return leaves[layer]

        return Tap(layer, "neuron", run)

    studied = vlm.structure.studied
    with torch.enable_grad(), HookSession(vlm.structure, [leaf(layer) for layer in studied]):
        y = _spread(vlm.logits(inputs))
        grads = torch.autograd.grad(y, [leaves[layer] for layer in studied], allow_unused=True)
    found = cast("tuple[Tensor | None, ...]", grads)
    worst = 0.0
    for layer, grad in zip(studied, found, strict=True):
        if grad is None:
            continue
        at = grad[0, _shift(where, grad.shape[1])]
        direction = at / at.norm().clamp_min(1e-20)
        slope = float(at.norm())
        if slope < 1e-6:
            continue
        unit = float(leaves[layer].detach().abs().mean().clamp_min(1e-3))
        errors: list[float] = []
        for size in (1e-2 * unit, 1e-1 * unit, unit, 3 * unit, 1e-3 * unit):  # too large bends, too small rounds
            pair = [_moved(vlm, inputs, layer, where, direction * step) for step in (size, -size)]
            errors.append(abs((pair[0] - pair[1]) / (2 * size) - slope) / slope)
            if errors[-1] < 0.01:
                break
        worst = max(worst, min(errors))
    return f"largest relative difference {worst:.1e}", worst < 0.05


def check_last_layer(vlm: VLM) -> Outcome:
    """The last layer's neurons at image positions reach no logit: their gradient is exactly 0."""
    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    last = vlm.layers - 1
    if last not in vlm.structure.studied:
        return NotApplicable("the last layer has no dense neurons")
    inputs = vlm.prepare([noise_picture()])
    where = checked_positions(vlm, inputs)
    with torch.no_grad():
        clean = float(_spread(vlm.logits(inputs)))
    noise = torch.randn(len(where), vlm.widths[last], dtype=vlm.dtype, device=vlm.device)
    moved = abs(_moved(vlm, inputs, last, where, 10 * noise) - clean)
    return f"logits move by {moved:.1e}", moved == 0


def check_earlier_layers(vlm: VLM) -> Outcome:
    """Neurons at image positions below the last layer do reach the logits."""
    inputs = vlm.prepare([noise_picture()])
    where = checked_positions(vlm, inputs)
    with torch.no_grad():
        clean = float(_spread(vlm.logits(inputs)))
    silent: list[int] = []
    below = [layer for layer in vlm.structure.studied if layer < vlm.layers - 1 or vlm.family.no_image]
    for layer in below:
        change = torch.ones(len(where), vlm.widths[layer], dtype=vlm.dtype, device=vlm.device)
        if _moved(vlm, inputs, layer, where, change) == clean:
            silent.append(layer)
    return (f"layers {silent} do not reach the logits" if silent else f"{len(below)} layers"), not silent


def _spread(logits: Tensor) -> Tensor:
    """A sum of the last position's logits with alternating signs: moves with everything, cancels constants."""
    last = logits[0, -1].double()
    last = last[last.detach() > -1e30]  # some models forbid tokens by a huge negative number
    signs = torch.ones_like(last)
    signs[1::2] = -1
    return (last * signs).sum() / len(last) ** 0.5


@torch.no_grad()
def _moved(vlm: VLM, inputs: Inputs, layer: int, where: np.ndarray, change: Tensor) -> float:
    def add(z: Tensor) -> Tensor:
        new = z.clone()
        new[0, _shift(where, z.shape[1])] += change
        return new

    with HookSession(vlm.structure, [Tap(layer, "neuron", add)]):
        return float(_spread(vlm.logits(inputs)))


def _shift(where: np.ndarray, length: int) -> Tensor:
    return torch.from_numpy(where + length)

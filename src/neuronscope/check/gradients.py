"""Gradients: one backward pass against differences, and which layers reach the logits."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..hooks import HookSession, Tap
from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, checked_positions, noise_picture
from ..models.inputs import Inputs
from ..models.rounding import allowed, coarse

#: Sizes of a step along the gradient, in units of the activations' mean size: too large bends, too small rounds.
_STEPS = (1e-2, 1e-1, 1.0, 3.0, 1e-3)
_COARSE_STEPS = (10.0, 3.0, 1.0, 30.0, 0.3, 0.1)
#: How many roundings of the logits a step has to move them by, to be compared where logits are coarse.
_READABLE = 10


def check_gradient(vlm: VLM) -> Outcome:
    """Gradients of all layers from one backward pass are finite, not 0, and agree with central differences.

    With weights of 16 bits the logits are coarse: steps are larger, agreement is looser, and a layer whose steps move
    them by no more than rounding could is said to be unresolved.
    """
    inputs = vlm.prepare([noise_picture()])
    where = checked_positions(vlm, inputs)
    clean, rounding, slopes = _slopes(vlm, inputs, where)
    errors: list[float] = []
    unresolved: list[int] = []
    for layer, (at, unit) in slopes.items():
        if not bool(torch.isfinite(at).all()):
            return f"the gradient of layer {layer} is not finite", False
        if not bool(at.any()) and layer in _reaching(vlm):
            return f"the gradient of layer {layer} is 0", False
        if float(at.norm()) < 1e-6:
            continue
        error = _error(vlm, inputs, layer, where, at, unit, rounding, clean)
        if error is None:
            unresolved.append(layer)
        else:
            errors.append(error)
    flat = f"move the logits by less than {vlm.dtype} can tell"
    if not errors:
        return NotApplicable(f"all layers {flat}")
    line = f"largest relative difference {max(errors):.1e}"
    if unresolved:
        line += f"; layers {unresolved} {flat}"
    return line, max(errors) < (0.25 if coarse(vlm) else 0.05)


def _slopes(vlm: VLM, inputs: Inputs, where: np.ndarray) -> tuple[float, float, dict[int, tuple[Tensor, float]]]:
    """:func:`_spread` and how coarse it is; of each layer its gradient at some positions, how large its neurons are."""
    studied = vlm.structure.studied
    leaves: dict[int, Tensor] = {}

    def leaf(layer: int) -> Tap:
        def run(z: Tensor) -> Tensor:
            leaves[layer] = z if z.requires_grad else z.detach().requires_grad_()
            return leaves[layer]

        return Tap(layer, "neuron", run)

    with torch.enable_grad(), HookSession(vlm.structure, [leaf(layer) for layer in studied]):
        logits = vlm.logits(inputs)
        clean = _spread(logits)
        found = torch.autograd.grad(clean, [leaves[layer] for layer in studied], allow_unused=True)
    grads = dict(zip(studied, cast("tuple[Tensor | None, ...]", found), strict=True))
    result: dict[int, tuple[Tensor, float]] = {}
    for layer, z in leaves.items():
        grad = grads[layer]
        at = (torch.zeros_like(z) if grad is None else grad)[0, _shift(where, z.shape[1])]
        result[layer] = at.double(), float(z.detach().abs().mean().clamp_min(1e-3))
    last = logits.detach()[0, -1]
    size = float(last[allowed(last)].double().square().mean().sqrt())
    return float(clean.detach()), size * torch.finfo(logits.dtype).eps, result


def _error(
    vlm: VLM, inputs: Inputs, layer: int, where: np.ndarray, at: Tensor, unit: float, rounding: float, clean: float
) -> float | None:
    """Relative difference of a gradient's length and the slope along it, at the best step; None where none is seen.

    A difference to one side is enough where it agrees: to both sides it agrees better, for twice the passes.
    """
    slope = float(at.norm())
    best: float | None = None
    enough = 0.05 if coarse(vlm) else 0.01
    for size in _COARSE_STEPS if coarse(vlm) else _STEPS:
        if coarse(vlm) and slope * 2 * size * unit < _READABLE * rounding:
            continue
        change = (at / slope * size * unit).to(vlm.dtype)
        up = _moved(vlm, inputs, layer, where, change)
        if not coarse(vlm) and (error := abs((up - clean) / (size * unit) - slope) / slope) < enough:
            return error
        rise = up - _moved(vlm, inputs, layer, where, -change)
        error = abs(rise / (2 * size * unit) - slope) / slope
        best = error if best is None else min(best, error)
        if best < enough:
            break
    return best


def _reaching(vlm: VLM) -> list[int]:
    """Layers whose neurons at the checked positions reach the logits: all but the last (identity 4)."""
    return [layer for layer in vlm.structure.studied if layer < vlm.layers - 1 or vlm.family.no_image]


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
    """Neurons at image positions below the last layer do reach the logits.

    By a gradient that is not 0 (another check compares it with differences); where it is, they are moved.
    """
    inputs = vlm.prepare([noise_picture()])
    where = checked_positions(vlm, inputs)
    clean, _, slopes = _slopes(vlm, inputs, where)
    silent: list[int] = []
    below = _reaching(vlm)
    for layer in below:
        if bool(slopes[layer][0].any()):
            continue
        change = torch.ones(len(where), vlm.widths[layer], dtype=vlm.dtype, device=vlm.device)
        if _moved(vlm, inputs, layer, where, change) == clean:
            silent.append(layer)
    return (f"layers {silent} do not reach the logits" if silent else f"{len(below)} layers"), not silent


def _spread(logits: Tensor) -> Tensor:
    """A sum of the last position's logits with alternating signs: moves with everything, cancels constants."""
    last = logits[0, -1].double()
    last = last[allowed(last.detach())]
    signs = torch.ones_like(last)
    signs[1::2] = -1
    return (last * signs).sum() / len(last) ** 0.5


@torch.no_grad()
def _moved(vlm: VLM, inputs: Inputs, layer: int, where: np.ndarray, change: Tensor) -> float:
    def add(z: Tensor) -> Tensor:
        new = z.clone()
        new[0, _shift(where, z.shape[1])] += change.to(z.device)
        return new

    with HookSession(vlm.structure, [Tap(layer, "neuron", add)]):
        return float(_spread(vlm.logits(inputs)))


def _shift(where: np.ndarray, length: int) -> Tensor:
    return torch.from_numpy(where + length)

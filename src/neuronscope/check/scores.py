"""The scores of two-stage filtering and a heat map, tried on the model at hand."""

from __future__ import annotations

import numpy as np
import torch

from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, noise_picture, some_neurons, unmapped, without_positions
from ..locate.scores import activation_differences, grad_times_activation
from ..types import Neurons
from ..view.heatmap import heatmap


def check_two_stage_scores(vlm: VLM) -> Outcome:
    """Activation differences and GradCAM of every neuron are finite, and some are not 0."""
    if reason := without_positions(vlm):
        return NotApplicable(reason)
    original, edited = noise_picture(), noise_picture(seed=1)
    (pooled,) = activation_differences(vlm, original, [edited], site="neuron")
    inputs = vlm.prepare([original])
    with torch.no_grad():
        token = int(vlm.logits(inputs)[0, -1].argmax())
    (slopes,) = grad_times_activation(vlm, inputs, [[(1, token)]])
    finite = bool(np.isfinite(pooled.values).all() and np.isfinite(slopes.values).all())
    alive = bool(pooled.values.any() and slopes.values.any())
    words = "finite" if finite else "not all finite"
    return f"{len(pooled.values)} neurons, {words}" + ("" if alive else ", all 0"), finite and alive


def check_heatmap(vlm: VLM) -> Outcome:
    """A heat map of some neurons covers the picture."""
    if vlm.family.media is None and (reason := unmapped(vlm)):
        return NotApplicable(reason)
    shown = some_neurons(vlm)[:3]
    if vlm.family.media is not None:  # the first layers may lie before the first cross-attention
        shown = Neurons.of((layer, 0) for layer in vlm.structure.studied)
    heat = heatmap(vlm, noise_picture(), shown)
    shown = float((~np.isnan(heat.values)).mean())
    return f"{heat.values.shape[1]} x {heat.values.shape[0]} px, {shown:.0%} shown", shown > 0.5

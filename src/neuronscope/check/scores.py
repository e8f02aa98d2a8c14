"""The scores of two-stage filtering and a heat map, tried on the model at hand."""

from __future__ import annotations

import numpy as np
import torch

from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, noise_picture, some_neurons, unmapped
from ..locate.scores import activation_differences, grad_times_activation
from ..view.heatmap import heatmap


def check_two_stage_scores(vlm: VLM) -> Outcome:
    """Activation differences and GradCAM of every neuron are finite, and some are not 0."""
    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
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
    if reason := unmapped(vlm):
        return NotApplicable(reason)
    heat = heatmap(vlm, noise_picture(), some_neurons(vlm)[:3])
    shown = float((~np.isnan(heat.values)).mean())
    return f"{heat.values.shape[1]} x {heat.values.shape[0]} px, {shown:.0%} shown", shown > 0.5

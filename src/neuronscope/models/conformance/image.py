"""Image tokens: the map against a coloured square, two-stage scores, heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .parts import NotApplicable, Outcome, noise_picture, some_neurons, unmapped

if TYPE_CHECKING:
    from ..vlm import VLM


def check_coloured_patch(vlm: VLM) -> Outcome:
    """A lone coloured square moves the image token that the map says it covers more than tokens that it does not."""
    if reason := unmapped(vlm) or vlm.family.discrete:
        return NotApplicable(reason)
    plain = (
        np.asarray(noise_picture()) // 4 + 96
    )  # faint noise: on one flat colour all patches look at one another alike
    height, width = plain.shape[:2]
    tokens = vlm.prepare([Image.fromarray(plain)]).images[0]
    before = _entering(vlm, plain)
    ranks: list[float] = []
    for tile, row, column in _probes(tokens.mapped()):
        x, y, w, h = tile.box(row, column)
        square = np.zeros((height, width), dtype=bool)
        square[max(0, round(y)) : max(round(y + h), 1), max(0, round(x)) : max(round(x + w), 1)] = True
        moved = np.zeros(tokens.count)
        for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255]):
            after = _entering(vlm, np.where(square[..., None], colour, plain).astype(np.uint8))
            moved += np.linalg.norm(after - before, axis=1)
        # Towers mix patches, so the square moves its surroundings too; with a wrong map its token could be anywhere.
        elsewhere = tokens.coverage(square) == 0
        ranks.append(float((moved[elsewhere] <= moved[tile.tokens[row, column]]).mean()))
    return f"its token moves more than {np.mean(ranks):.0%} of those elsewhere", float(np.mean(ranks)) >= 0.85


def _probes(tiles: Sequence[Any]) -> list[tuple[Any, int, int]]:
    """A few cells of the finest tile: near the corners and the middle."""
    tile = min(tiles, key=lambda t: t.box(0, 0)[2] * t.box(0, 0)[3])
    rows, columns = tile.tokens.shape
    places = {(r, c) for r in (rows // 4, rows // 2, 3 * rows // 4) for c in (columns // 4, columns // 2)}
    return [(tile, min(r, rows - 1), min(c, columns - 1)) for r, c in sorted(places)]


def _entering(vlm: VLM, pixels: np.ndarray) -> np.ndarray:
    """What enters the first decoder layer at the image tokens, [P, hidden]."""
    inputs = vlm.prepare([Image.fromarray(pixels)])
    taken: list[Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taken.append(args[0] if args else kwargs["hidden_states"])

    handle = vlm.structure.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            vlm.logits(inputs)
    finally:
        handle.remove()
    return taken[0][0, inputs.images[0].positions].float().cpu().numpy()


def check_two_stage_scores(vlm: VLM) -> Outcome:
    """Activation differences and GradCAM of every neuron are finite, and some are not 0."""
    from ...locate.scores import activation_differences, grad_times_activation

    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    original, edited = noise_picture(), noise_picture(seed=1)
    (pooled,) = activation_differences(vlm, original, [edited], site="neuron", prompt="The image shows a")
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
    from ...view.heatmap import heatmap

    if reason := unmapped(vlm):
        return NotApplicable(reason)
    heat = heatmap(vlm, noise_picture(), some_neurons(vlm)[:3])
    shown = float((~np.isnan(heat.values)).mean())
    return f"{heat.values.shape[1]} x {heat.values.shape[0]} px, {shown:.0%} shown", shown > 0.5

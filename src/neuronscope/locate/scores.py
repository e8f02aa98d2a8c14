"""The two score arrays that everything is chosen from: activation differences and grad x activation.

Activations are reduced over patches inside the hook, so what is kept is O(L d_f), never O(L P d_f).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ..hooks import HookSession, Tap
from ..types import Site

if TYPE_CHECKING:
    from ..models.vlm import VLM, Inputs

Pool: TypeAlias = Literal["any", "mean", "sum"]
Sign: TypeAlias = Literal["signed", "abs"]
Target: TypeAlias = Literal["logit", "logprob", "prob", "contrast"]
Score: TypeAlias = Literal["gradcam", "pre"]

#: Scores of all layers, one after another (layers may differ in width).
Flat: TypeAlias = Float[np.ndarray, "neurons"]


@dataclass(frozen=True)
class Layout:
    """How (layer, unit) maps to the flat axis of a score array."""

    widths: tuple[int, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """Flat index of unit 0 of each layer."""
        return tuple(int(s) for s in np.concatenate([[0], np.cumsum(self.widths)[:-1]]))

    def split(self, flat: int) -> tuple[int, int]:
        """(layer, unit) of a flat index."""
        layer = int(np.searchsorted(np.cumsum(self.widths), flat, side="right"))
        return layer, flat - self.starts[layer]


@dataclass(frozen=True)
class Pooled:
    """One score per neuron, and the image token where it was largest."""

    values: Flat
    patch: Int[np.ndarray, "neurons"]


def reduce_patches(values: Float[Tensor, "... patches width"], pool: Pool) -> tuple[Tensor, Tensor]:
    """Pool over patches; "any" is the maximum, because some patch exceeds t exactly when the largest does."""
    best = values.max(dim=-2)
    if pool == "any":
        return best.values, best.indices
    return (values.mean(-2) if pool == "mean" else values.sum(-2)), best.indices


def activation_differences(
    vlm: VLM,
    original: Image.Image,
    others: Sequence[Image.Image],
    *,
    site: Site,
    sign: Sign = "signed",
    pool: Pool = "any",
    prompt: str,
    template: str | None = None,
) -> list[Pooled]:
    """V = O_original - O_other at the image tokens, pooled over patches, for each other image (METHODS b, step 3).

    One forward pass of the original and the others together. Text after the image does not matter in a causal decoder
    (identity 5). The reduction happens layer by layer in the hook.
    """
    inputs = vlm.prepare([original, *others], prompt=prompt, template=template)
    at = [torch.as_tensor(tokens.positions, device=vlm.device) for tokens in inputs.images]
    nothing = torch.zeros(len(others), 0)
    found: list[tuple[Tensor, Tensor]] = [(nothing, nothing.long())] * vlm.layers

    def reduce(layer: int) -> Callable[[Tensor], None]:
        def run(z: Tensor) -> None:
            image = torch.stack([z[row].index_select(0, where.to(z.device)) for row, where in enumerate(at)]).float()
            difference = image[:1] - image[1:]
            pooled = reduce_patches(difference.abs() if sign == "abs" else difference, pool)
            found[layer] = (pooled[0].cpu(), pooled[1].cpu())

        return run

    with torch.no_grad(), HookSession(vlm.structure, [Tap(i, site, reduce(i)) for i in vlm.structure.studied]):
        vlm.logits(inputs)
    return [
        Pooled(
            np.concatenate([values[m].numpy() for values, _ in found]),
            np.concatenate([patch[m].numpy() for _, patch in found]),
        )
        for m in range(len(others))
    ]


def grad_times_activation(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[tuple[int, int]]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
    pool: Pool = "any",
) -> list[Pooled]:
    """g = O * dy/dO at the image tokens, pooled over patches, for several targets y (METHODS b, step 4).

    One forward pass; one backward pass per target, each of which serves all layers.

    Args:
        vlm: the model.
        inputs: one row: prompt and teacher-forced ids.
        targets: for each y a list of (position counted from the end, token id) whose logits are summed: position 1 is
            the last one. Several entries make y the sum over a word's sub-tokens.
        target: raw logit, log-probability, probability, or the logit minus the mean logit of the other targets.
        score: "gradcam" is n * dy/dn (equal at `act` and `neuron`, identity 1); "pre" is Schwettmann's Z * dy/dZ.
        pool: over patches.

    The graph starts at the first decoder layer: neurons become leaves there, and no parameter requires a gradient.
    In fp16 the target is scaled by 2**10 before the backward pass and back after it (METHODS B9).
    """
    results: list[Pooled] = []
    for products in _products(vlm, inputs, targets, target, score):
        pooled = [reduce_patches(g, pool) for g in products]
        values = torch.cat([best.cpu() for best, _ in pooled]).numpy()
        results.append(Pooled(values, torch.cat([patch.cpu() for _, patch in pooled]).numpy()))
    return results


def patch_scores(
    vlm: VLM,
    inputs: Inputs,
    entries: Sequence[tuple[int, int]],
    members: Sequence[tuple[int, int]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
) -> Float[np.ndarray, "patches members"]:
    """g of some (layer, unit) pairs at every image token; arguments as in :func:`grad_times_activation`."""
    products = next(_products(vlm, inputs, [entries], target, score))
    columns = [products[layer][:, unit].cpu() for layer, unit in members]
    return torch.stack(columns, dim=1).numpy() if columns else np.zeros((inputs.images[0].count, 0), np.float32)


def _products(
    vlm: VLM, inputs: Inputs, targets: Sequence[Sequence[tuple[int, int]]], target: Target, score: Score
) -> Iterator[list[Float[Tensor, "patches width"]]]:
    """For each target the product of activation and gradient at the image tokens, one tensor per layer."""
    site: Site = "neuron" if score == "gradcam" else "pre"
    studied = vlm.structure.studied
    leaves: dict[int, Tensor] = {}

    def leaf(layer: int) -> Callable[[Tensor], Tensor]:
        def run(z: Tensor) -> Tensor:
            leaves[layer] = z if z.requires_grad else z.detach().requires_grad_()
            return leaves[layer]

        return run

    at = torch.as_tensor(inputs.images[0].positions, device=vlm.device)
    farthest = max(position for entries in targets for position, _ in entries)
    scale = 1024.0 if vlm.dtype == torch.float16 else 1.0
    with torch.enable_grad():
        with HookSession(vlm.structure, [Tap(i, site, leaf(i)) for i in studied]):
            logits = vlm.logits(inputs, last=farthest)[0].float()
        values = [_target_value(logits, entries, targets, target) for entries in targets]
        order = [leaves[layer] for layer in studied]
        for number, y in enumerate(values):
            # The last layer's neurons at image positions reach no logit (identity 4): their gradient is a true zero.
            last = number + 1 == len(values)
            found = torch.autograd.grad(y * scale, order, retain_graph=not last, allow_unused=True)
            grads = cast("tuple[Tensor | None, ...]", found)
            products: list[Tensor] = []
            for z, grad in zip(order, grads, strict=True):
                here = z.detach()[0, at.to(z.device)].float()
                products.append(
                    torch.zeros_like(here) if grad is None else here * grad[0, at.to(z.device)].float() / scale
                )
            nothing = torch.zeros(len(at), 0)
            by_layer = dict(zip(studied, products, strict=True))
            yield [by_layer.get(layer, nothing) for layer in range(vlm.layers)]


def _target_value(
    logits: Float[Tensor, "positions vocabulary"],
    entries: Sequence[tuple[int, int]],
    targets: Sequence[Sequence[tuple[int, int]]],
    target: Target,
) -> Tensor:
    if target == "logprob":
        logits = logits.log_softmax(-1)
    elif target == "prob":
        logits = logits.softmax(-1)
    y = torch.stack([logits[-position, token] for position, token in entries]).sum()
    if target == "contrast":
        rivals = [other for other in targets if other is not entries]
        if rivals:
            y = y - torch.stack([logits[-p, t] for other in rivals for p, t in other]).mean()
    return y

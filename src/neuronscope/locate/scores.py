"""The score arrays that everything is chosen from: activations, their differences, and grad x activation.

Activations are reduced over patches inside the hook, so what is kept is O(L d_f), never O(L P d_f).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ..hooks import HookSession, Tap
from ..types import Site

if TYPE_CHECKING:
    from ..models.vlm import VLM, Inputs

#: How a neuron's scores at the patches become one: the largest, their mean, sum, or the mean of their sizes.
Pool: TypeAlias = Literal["max", "mean", "sum", "abs_mean"]
POOLS: tuple[Pool, ...] = get_args(Pool)
Sign: TypeAlias = Literal["signed", "abs"]
SIGNS: tuple[Sign, ...] = get_args(Sign)
Target: TypeAlias = Literal["logit", "logprob", "prob", "contrast"]
TARGETS: tuple[Target, ...] = get_args(Target)
Score: TypeAlias = Literal["gradcam", "pre"]
SCORES: tuple[Score, ...] = get_args(Score)

#: One logit: (position counted from the end of the sequence, 1 being the last; token id).
Entry: TypeAlias = tuple[int, int]

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

    @property
    def total(self) -> int:
        """Number of neurons of the model."""
        return sum(self.widths)

    def split(self, flat: int) -> tuple[int, int]:
        """(layer, unit) of a flat index."""
        layer = int(np.searchsorted(np.cumsum(self.widths), flat, side="right"))
        return layer, flat - self.starts[layer]


@dataclass(frozen=True)
class Pooled:
    """One score per neuron, and the image token where it was largest; no token for scores that belong to none."""

    values: Flat
    patch: Int[np.ndarray, "neurons"] | None = None

    @classmethod
    def of(cls, layers: Sequence[tuple[Tensor, Tensor]]) -> Pooled:
        """From what :func:`reduce_patches` gave for each layer."""
        values, patches = zip(*layers, strict=True)
        return cls(torch.cat([v.cpu() for v in values]).numpy(), torch.cat([p.cpu() for p in patches]).numpy())


def reduce_patches(values: Float[Tensor, "... patches width"], pool: Pool) -> tuple[Tensor, Tensor]:
    """Pool over patches, and where the largest is (the largest in size for "abs_mean")."""
    if pool == "abs_mean":
        values = values.abs()
    best = values.max(dim=-2)
    if pool == "max":
        return best.values, best.indices
    return (values.sum(-2) if pool == "sum" else values.mean(-2)), best.indices


def best_first(values: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Indices from the largest to the smallest score; ties in order of index, which on the flat axis is (l, i)."""
    return np.argsort(-values, kind="stable")


def read_layers(
    vlm: VLM, inputs: Inputs, site: Site, use: Callable[[int, Float[Tensor, "batch positions width"]], None]
) -> None:
    """One forward pass without gradients; `use` sees each layer's activations and may keep what it needs of them."""

    def tap(layer: int) -> Tap:
        return Tap(layer, site, lambda z: use(layer, z))

    with torch.no_grad(), HookSession(vlm.structure, [tap(layer) for layer in vlm.structure.studied]):
        vlm.logits(inputs)


def image_activations(vlm: VLM, inputs: Inputs, *, site: Site, pool: Pool) -> Pooled:
    """O' of one row, pooled over patches."""
    at = torch.as_tensor(inputs.images[0].positions, device=vlm.device)
    found = no_neurons(vlm)

    def use(layer: int, z: Tensor) -> None:
        values, patches = reduce_patches(z[0].index_select(0, at.to(z.device)).float(), pool)
        found[layer] = (values.cpu(), patches.cpu())

    read_layers(vlm, inputs, site, use)
    return Pooled.of(found)


def no_neurons(vlm: VLM, *shape: int) -> list[tuple[Tensor, Tensor]]:
    """(values, patches) of every layer, to be filled in; layers without neurons stay empty."""
    nothing = torch.zeros(*shape, 0)
    return [(nothing, nothing.long())] * vlm.layers


def activation_differences(
    vlm: VLM,
    original: Image.Image,
    others: Sequence[Image.Image],
    *,
    site: Site,
    sign: Sign = "signed",
    pool: Pool = "max",
    prompt: str,
    template: str | None = None,
) -> list[Pooled]:
    """V = O_original - O_other at the image tokens, pooled over patches, for each other image (METHODS b, step 3).

    One forward pass of the original and the others together. Text after the image does not matter in a causal decoder
    (identity 5). The reduction happens layer by layer in the hook.
    """
    inputs = vlm.prepare([original, *others], prompt=prompt, template=template)
    at = [torch.as_tensor(tokens.positions, device=vlm.device) for tokens in inputs.images]
    found = no_neurons(vlm, len(others))

    def use(layer: int, z: Tensor) -> None:
        image = torch.stack([z[row].index_select(0, where.to(z.device)) for row, where in enumerate(at)]).float()
        difference = image[:1] - image[1:]
        pooled = reduce_patches(difference.abs() if sign == "abs" else difference, pool)
        found[layer] = (pooled[0].cpu(), pooled[1].cpu())

    read_layers(vlm, inputs, site, use)
    return [Pooled.of([(values[m], patches[m]) for values, patches in found]) for m in range(len(others))]


def grad_times_activation(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[Entry]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
    pool: Pool = "max",
    average: bool = False,
) -> list[Pooled]:
    """g = O * dy/dO at the image tokens, pooled over patches, for several targets y (METHODS b, step 4).

    One forward pass; one backward pass per target, each of which serves all layers.

    Args:
        vlm: the model.
        inputs: one row: prompt and teacher-forced ids.
        targets: for each y the entries of the logits that are summed: (position counted from the end, token id), where
            position 1 is the last one. Several entries make y the sum over a word's sub-tokens.
        target: raw logit, log-probability, probability, or the logit minus the mean logit of the other targets.
        score: "gradcam" is n * dy/dn (equal at `act` and `neuron`, identity 1); "pre" is Schwettmann's Z * dy/dZ.
        pool: over patches.
        average: y is the mean over its entries instead of their sum.

    The graph starts at the first decoder layer: neurons become leaves there, and no parameter requires a gradient.
    In fp16 the target is scaled by 2**10 before the backward pass and back after it (METHODS B9).
    """
    found = grad_products(vlm, inputs, targets, target=target, score=score, average=average)
    return [Pooled.of([reduce_patches(g, pool) for g in layers]) for layers in found]


def patch_scores(
    vlm: VLM,
    inputs: Inputs,
    entries: Sequence[Entry],
    members: Sequence[tuple[int, int]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
    average: bool = False,
) -> Float[np.ndarray, "patches members"]:
    """g of some (layer, unit) pairs at every image token; arguments as in :func:`grad_times_activation`."""
    products = next(grad_products(vlm, inputs, [entries], target=target, score=score, average=average))
    columns = [products[layer][:, unit].cpu() for layer, unit in members]
    return torch.stack(columns, dim=1).numpy() if columns else np.zeros((inputs.images[0].count, 0), np.float32)


def grad_products(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[Entry]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
    average: bool = False,
) -> Iterator[list[Float[Tensor, "patches width"]]]:
    """For each target the product of activation and gradient at the image tokens, one float32 tensor per layer.

    Arguments as in :func:`grad_times_activation`.
    """
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
    scale = backward_scale(vlm)
    with torch.enable_grad():
        with HookSession(vlm.structure, [Tap(i, site, leaf(i)) for i in studied]):
            logits = vlm.logits(inputs, last=farthest)[0].float()
        values = [target_value(logits, entries, targets, target, average) for entries in targets]
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


def backward_scale(vlm: VLM) -> float:
    """What a target is multiplied with before a backward pass: 2**10 in fp16, whose smallest numbers g comes near."""
    return 1024.0 if vlm.dtype == torch.float16 else 1.0


def target_value(
    logits: Float[Tensor, "positions vocabulary"],
    entries: Sequence[Entry],
    targets: Sequence[Sequence[Entry]],
    target: Target,
    average: bool = False,
) -> Tensor:
    """y of one target: the sum, or mean, over its entries; `targets` are all of them, for "contrast"."""
    if target == "logprob":
        logits = logits.log_softmax(-1)
    elif target == "prob":
        logits = logits.softmax(-1)
    each = torch.stack([logits[-position, token] for position, token in entries])
    y = each.mean() if average else each.sum()
    if target == "contrast":
        rivals = [other for other in targets if other is not entries]
        if rivals:
            y = y - torch.stack([logits[-p, t] for other in rivals for p, t in other]).mean()
    return y

"""The score arrays that everything is chosen from: activations, their differences, and grad x activation.

    V = O_original - O_edited      one forward pass of both                                  METHODS b, step 3
    g = O * dy/dO                  one forward pass, and one backward pass for each y        METHODS b, step 4; c

Activations and gradients are reduced over patches inside the hooks, so what is kept is O(L d_f), never O(L P d_f).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from ..caption.memory import Batches
from ..errors import NeuronOutOfRange
from ..held import in_turn
from ..hooks import HookSession, Tap
from ..hooks.backward import GradientSession, Place
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.loaded import Inputs
from ..types import Neuron, Site, one_of

#: How a neuron's scores at the patches become one: the largest, their mean, sum, or the mean of their sizes.
Pool: TypeAlias = Literal["max", "mean", "sum", "abs_mean"]
POOLS: tuple[Pool, ...] = get_args(Pool)
Sign: TypeAlias = Literal["signed", "abs"]
SIGNS: tuple[Sign, ...] = get_args(Sign)
Target: TypeAlias = Literal["logit", "logprob", "logodds", "prob", "contrast"]
TARGETS: tuple[Target, ...] = get_args(Target)
Score: TypeAlias = Literal["gradcam", "pre"]
SCORES: tuple[Score, ...] = get_args(Score)
#: Where each score takes activation and gradient.
_SITE: Mapping[Score, Site] = {"gradcam": "neuron", "pre": "pre"}

#: One logit: (position counted from the end of the sequence, 1 being the last; token id).
Entry: TypeAlias = tuple[int, int]

#: What is done with the activations of a layer.
Use: TypeAlias = Callable[[int, Float[Tensor, "batch positions width"]], None]

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

    def at(self, neuron: Neuron) -> int:
        """The flat index of a neuron. Raises NeuronOutOfRange for one that the model does not have."""
        known = neuron.layer < len(self.widths) and neuron.unit < self.widths[neuron.layer]
        if not known:
            deep, wide = len(self.widths), max(self.widths, default=0)
            raise NeuronOutOfRange(f"{neuron} does not exist: there are {deep} layers of at most {wide} neurons")
        return sum(self.widths[: neuron.layer]) + neuron.unit

    def mask(self, neurons: Iterable[Neuron]) -> Bool[np.ndarray, "neurons"]:
        """Where some neurons are on the flat axis. Raises NeuronOutOfRange as :meth:`at` does."""
        chosen = np.zeros(self.total, dtype=bool)
        chosen[[self.at(neuron) for neuron in neurons]] = True
        return chosen

    def split(self, flat: int) -> tuple[int, int]:
        """(layer, unit) of a flat index."""
        layer = int(np.searchsorted(np.cumsum(self.widths), flat, side="right"))
        return layer, flat - sum(self.widths[:layer])


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
    """Pool over patches, and the first at which the largest is (the largest in size for "abs_mean")."""
    if pool == "abs_mean":
        values = values.abs()
    best = values.amax(-2)
    # The index by arithmetic of floats: on the CPU max(dim=-2), and everything with bool, takes several times as long.
    count = values.shape[-2]
    found = torch.ge(values, best.unsqueeze(-2), out=torch.empty_like(values, dtype=torch.float32))
    order = torch.arange(count, dtype=torch.float32, device=values.device)[:, None]
    patches = torch.sub(order, found, alpha=count, out=found).amin(-2).long() + count
    patches.clamp_(max=count - 1)  # a NaN is found nowhere
    if pool == "max":
        return best, patches
    return (values.sum(-2) if pool == "sum" else values.mean(-2)), patches


def best_first(values: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Indices from the largest to the smallest score; ties in order of index, which on the flat axis is (l, i)."""
    return np.argsort(-values, kind="stable")


@in_turn
def read_layers(vlm: VLM, inputs: Inputs, site: Site, use: Use, last: int = 1) -> Float[Tensor, "batch last words"]:
    """Logits of one forward pass without gradients; `use` sees each layer's activations and may keep some of them."""

    def tap(layer: int) -> Tap:
        return Tap(layer, site, lambda z: use(layer, z))

    with torch.no_grad(), HookSession(vlm.structure, [tap(layer) for layer in vlm.structure.studied]):
        return vlm.logits(inputs, last=last)


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


@in_turn
def activation_differences(
    vlm: VLM,
    original: Image.Image,
    others: Sequence[Image.Image],
    *,
    site: Site,
    sign: Sign = "signed",
    pool: Pool = "max",
    decoding: Decoding = Decoding(),
) -> list[Pooled]:
    """V = O_original - O_other at the image tokens, pooled over patches, for each other image (METHODS b, step 3).

    One forward pass of the original and the others together; where the family reads prompts differently in a batch
    (`Inputs.batches`), one of each group, and the original's activations at its image tokens are kept meanwhile. Text
    after the image does not matter in a causal decoder (identity 5). The reduction happens layer by layer in the hook.
    """
    inputs = vlm.prepare([original, *others], decoding)
    total, kept = len(inputs.rows), dict[int, Tensor]()
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def read(group: Sequence[int]) -> Sequence[int]:
        rows = inputs.select(group)
        at = [torch.as_tensor(tokens.positions, device=vlm.device) for tokens in rows.images]
        layers = no_neurons(vlm, len(group))

        def use(layer: int, z: Tensor) -> None:
            image = torch.stack([z[row].index_select(0, where.to(z.device)) for row, where in enumerate(at)])
            clean = image[:1] if group[0] == 0 else kept[layer]
            if group[0] == 0 and len(group) < total:
                kept[layer] = clean.clone()
            difference = clean.float() - image.float()
            layers[layer] = reduce_patches(difference.abs() if sign == "abs" else difference, pool)

        read_layers(vlm, rows, site, use)
        found.update((row, [(v[i].cpu(), p[i].cpu()) for v, p in layers]) for i, row in enumerate(group))
        return group

    for group in inputs.batches():
        Batches(total).run(group, read)
    return [Pooled.of(found[row]) for row in range(1, total)]


@dataclass(frozen=True)
class Wanted:
    """One score of every neuron that a backward pass gives.

    Attributes:
        score: "gradcam" is n * dy/dn (equal at `act` and `neuron`, METHODS a, identity 1); "pre" is Schwettmann's
            Z * dy/dZ, which only layers have whose activation function is a module.
        pool: over patches.
    """

    score: Score = "gradcam"
    pool: Pool = "max"

    def __post_init__(self) -> None:
        one_of("score", self.score, SCORES)
        one_of("pool", self.pool, POOLS)


#: Stage 2 of two-stage filtering as published, grad x activation as a ranking, and Schwettmann's score.
ALL_WANTED = (Wanted("gradcam", "max"), Wanted("gradcam", "sum"), Wanted("pre", "mean"))

#: Sees the number of a target, a layer, a score, and its g at the image tokens in float32.
UseProduct: TypeAlias = Callable[[int, int, Score, Float[Tensor, "_ _"]], None]


def attributions(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[Entry]],
    wanted: Sequence[Wanted] = ALL_WANTED,
    *,
    target: Target = "logit",
    average: bool = False,
) -> list[dict[Wanted, Pooled]]:
    """Scores of all layers from one forward pass and one backward pass per target (METHODS b, step 4, and c).

    Args:
        vlm: the model.
        inputs: one row: prompt and teacher-forced ids.
        targets: for each y the entries of the logits that are summed: (position counted from the end, token id), where
            position 1 is the last one. Several entries make y the sum over a word's sub-tokens.
        wanted: the scores; all come from the same passes.
        target: raw logit, log-probability, probability, or the logit minus the mean logit of the other targets, the
            first of which is no rival of the others (:func:`target_value`).
        average: y is the mean over its entries instead of their sum.

    Returns, for each target, what was wanted. Raises InvalidOption for "pre" where a layer's activation is a function.

    The graph starts at the neurons of the first layer, no parameter requires a gradient, and logits are computed at the
    targets' positions only. Each layer is reduced over patches as soon as the backward pass has its gradient, so what
    is kept is O(L d_f) beside the graph. In fp16 the target is scaled by 2**10 before the backward pass and the
    products back after it (METHODS B9).
    """
    found = [{each: no_neurons(vlm) for each in wanted} for _ in targets]

    def use(number: int, layer: int, score: Score, product: Tensor) -> None:
        for each, layers in found[number].items():
            if each.score == score:
                layers[layer] = reduce_patches(product, each.pool)

    scores: dict[Score, None] = {each.score: None for each in wanted}
    each_product(vlm, inputs, targets, use, scores=tuple(scores), target=target, average=average)
    return [{each: Pooled.of(layers) for each, layers in of_target.items()} for of_target in found]


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
    """g = O * dy/dO at the image tokens, pooled over patches, of several targets: one score of :func:`attributions`."""
    one = Wanted(score, pool)
    return [found[one] for found in attributions(vlm, inputs, targets, (one,), target=target, average=average)]


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
    """g of some (layer, unit) pairs at every image token; other arguments as in :func:`attributions`."""
    result = np.zeros((inputs.images[0].count, len(members)), np.float32)

    def use(_number: int, layer: int, _score: Score, product: Tensor) -> None:
        columns = [column for column, (own, _) in enumerate(members) if own == layer]
        result[:, columns] = product[:, [members[column][1] for column in columns]].cpu().numpy()

    each_product(vlm, inputs, [entries], use, scores=(score,), target=target, average=average)
    return result


def grad_products(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[Entry]],
    *,
    target: Target = "logit",
    score: Score = "gradcam",
    average: bool = False,
) -> Iterator[list[Float[Tensor, "patches width"]]]:
    """For each target g at every image token, one float32 tensor per layer; arguments as in :func:`attributions`.

    Holds O(L P d_f) numbers per target: scores that are pooled come cheaper.
    """
    nothing = torch.zeros(inputs.images[0].count, 0)
    found = [[nothing] * vlm.layers for _ in targets]

    def use(number: int, layer: int, _score: Score, product: Tensor) -> None:
        found[number][layer] = product

    each_product(vlm, inputs, targets, use, scores=(score,), target=target, average=average)
    yield from found


@in_turn
def each_product(
    vlm: VLM,
    inputs: Inputs,
    targets: Sequence[Sequence[Entry]],
    use: UseProduct,
    *,
    scores: Sequence[Score] = ("gradcam",),
    target: Target = "logit",
    average: bool = False,
) -> None:
    """g of every target, layer and score at the image tokens, shown to `use` while the backward pass goes on.

    Other arguments as in :func:`attributions`.
    """
    sites: dict[Site, Score] = {_SITE[score]: score for score in scores}
    places: list[Place] = [(layer, site) for layer in vlm.structure.studied for site in sites]
    farthest = max(position for entries in targets for position, _ in entries)
    scale = backward_scale(vlm)
    at = torch.as_tensor(inputs.images[0].positions, device=vlm.device)
    with torch.enable_grad(), GradientSession(vlm.structure, places, at) as session:
        with session.forward():
            logits = vlm.logits(inputs, last=farthest)[0].float()
        values = [target_value(logits, entries, targets, target, average) for entries in targets]
        for number, y in enumerate(values):

            def see(place: Place, clean: Tensor, slope: Tensor, number: int = number) -> None:
                layer, site = place
                product = clean.float() * slope.float()
                use(number, layer, sites[site], product if scale == 1 else product / scale)

            session.backward(y * scale, see, again=number + 1 < len(values))


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
    """y of one target: the sum, or mean, over its entries; `targets` are all of them, for "contrast".

    The contrast of the first target is with the mean of all others, that of another with the mean of the others but the
    first: those are its controls, and a control is compared with its like (METHODS n8).
    """
    if target == "logodds":
        return _log_odds(logits, entries, average)
    if target == "logprob":
        logits = logits.log_softmax(-1)
    elif target == "prob":
        logits = logits.softmax(-1)
    each = torch.stack([logits[-position, token] for position, token in entries])
    y = each.mean() if average else each.sum()
    if target == "contrast":
        rivals = [other for other in targets[1:] if other is not entries]
        if rivals:
            y = y - torch.stack([logits[-p, t] for other in rivals for p, t in other]).mean()
    return y


def _log_odds(
    logits: Float[Tensor, "positions vocabulary"], entries: Sequence[Entry], average: bool
) -> Float[Tensor, ""]:
    """log p - log(1 - p) = y_c - logsumexp of all other logits, of each entry.

    d log p = (1 - p) d log-odds: for one token both order neurons alike, but where a model is sure of its word 1 - p
    and with it every gradient of log p is lost in rounding, and that of the log-odds is not.
    """
    found: list[Tensor] = []
    for position, token in entries:
        row = logits[-position]
        found.append(row[token] - torch.cat([row[:token], row[token + 1 :]]).logsumexp(-1))
    each = torch.stack(found)
    return each.mean() if average else each.sum()

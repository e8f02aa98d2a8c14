"""What happens to the activations of each training row, and which caption is then right.

Every row of a batch gets one `kind`: nothing; its target's planted set removed (the caption of the scene without the
target is right); an absent concept's set removed, or a few neurons of any set (the caption stays); or a scene without
the target with the set's activations patched in from the scene that has it (the target appears);
or a present concept's set dimmed, as a whole, by neurons or by patches (its noun's logit follows). On most
batches a random share of all *unplanted* neurons is switched off as well, which must change nothing: that makes the
planted sets the only carriers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .cache import EXACT, ORIGINAL, TELEA, Cache
from .organism import PATCHES, Layout, Planting

KINDS = ("clean", "target", "absent", "few", "patch", "dim")
KIND_SHARES = (0.14, 0.35, 0.12, 0.11, 0.12, 0.16)
OPS = ("zero", "mean", "near_zero", "noise")
OP_SHARES = (0.2, 0.15, 0.1, 0.55)


@dataclass
class Batch:
    """One training batch; B rows, P image tokens, K concepts, `units` planted neurons per concept and layer.

    Attributes:
        keep: [B, J, K, units] 1 where a planted neuron is left alone, 0 where it is replaced (J planted layers).
        add: [B, P, J, K, units] what is added to the kept part: means, noise, patched-in activations.
        scale: [B, J, K, units] 1 where the clean activation stays under the addition (noise), else = keep.
        drop: [B] share of the unplanted neurons to switch off; None on two batches of five.
    """

    images: Tensor  # [B, 3, 128, 128] float
    tokens: Tensor  # [B, T] caption after the prompt
    cover: Tensor  # [B, P, K] share of each token's footprint that shows each concept
    scale: Tensor
    add: Tensor
    drop: Tensor | None
    weight: Tensor  # [B] weight of the caption loss
    strength: Tensor  # [B, K] share of each concept's set that is left
    patches: Tensor  # [B, P, K] 1 where a concept's set is left alone, 0 on patches where it is switched off
    donors: Tensor | None  # images whose planted activations are patched in
    donor_rows: np.ndarray
    donor_concepts: np.ndarray


def draw_batch(
    cache: Cache,
    planting: Planting,
    size: int,
    amplitude: float,
    means: Tensor,
    rng: np.random.Generator,
    layout: Layout = PATCHES,
) -> Batch:
    """A random batch. `means` [J, K, units] are running means of the planted activations over image positions."""
    layers, per_layer = len(planting.layers), planting.units.shape[2]
    concepts = len(planting.units)
    rows = np.sort(rng.choice(len(cache), size, p=cache.share))
    kinds = rng.choice(len(KINDS), size=size, p=KIND_SHARES)
    variants = rng.choice([ORIGINAL, EXACT, TELEA], size=size, p=[0.6, 0.18, 0.22])
    tokens = np.zeros((size, cache.tokens.shape[2]), np.int64)
    cover = np.zeros((size, concepts, layout.count), np.float32)
    scale = np.ones((size, layers, concepts, per_layer), np.float32)
    constant = np.zeros_like(scale)
    noise = np.zeros_like(scale)
    shared = np.zeros(size, bool)
    strength = np.ones((size, concepts), np.float32)
    patches = np.ones((size, layout.count, concepts), np.float32)
    weight = np.where(kinds == KINDS.index("clean"), 1.0, 2.0).astype(np.float32)
    donors: list[tuple[int, int, int]] = []
    for b, n in enumerate(rows):
        kind, names = KINDS[kinds[b]], cache.concept[n]
        if kind == "patch":
            variants[b] = EXACT
        gone = int(cache.gone[n, variants[b]])
        present = [i for i in range(3) if names[i] >= 0 and not gone >> i & 1]
        for i in present:
            cover[b, names[i]] = layout.cover(cache.cover[n, i]) / 255
        if kind in ("target", "dim") and not present:
            kind = "absent"
        chosen = np.zeros((layers, concepts, per_layer), bool)
        if kind == "target":
            i = int(rng.choice(present))
            chosen[:, names[i]] = _most(layers, per_layer, rng)
            gone |= 1 << i
            if len(present) > 1 and rng.random() < 0.1:  # two at once
                other = int(rng.choice([p for p in present if p != i]))
                chosen[:, names[other]] = _most(layers, per_layer, rng)
                gone |= 1 << other
        elif kind == "absent":
            shown = {int(names[i]) for i in present}
            chosen[:, int(rng.choice([k for k in range(concepts) if k not in shown]))] = _most(layers, per_layer, rng)
        elif kind == "few":
            chosen = _few(layers, concepts, per_layer, rng)
        elif kind == "dim":
            k = names[int(rng.choice(present))]
            way = rng.integers(3)
            if way == 0:  # the whole set, everywhere
                scale[b, :, k] = strength[b, k] = rng.uniform(0, 1.15)
            elif way == 1:  # some of its neurons, everywhere
                scale[b, :, k] = rng.random((layers, per_layer)) < rng.random()
                strength[b, k] = scale[b, :, k].mean()
            else:  # the whole set, on some patches
                patches[b, :, k] = rng.random(layout.count) < rng.random()
                strength[b, k] = np.average(patches[b, :, k], weights=cover[b, k])
            if strength[b, k] < 0.75:  # no caption is right or wrong for a half-known object
                weight[b] = 0
        elif kind == "patch":
            i = int(np.log2(gone))
            donors.append((b, int(n), int(names[i])))
            scale[b, :, names[i]] = 0
            gone = 0
        if chosen.any():
            op = OPS[rng.choice(len(OPS), p=OP_SHARES)]
            if op == "noise":
                noise[b] = chosen * amplitude * np.exp(rng.uniform(np.log(1.0), np.log(4.0)))
                shared[b] = rng.random() < 0.25
            else:
                scale[b] = ~chosen
                strength[b] = 1 - chosen.mean((0, 2))
                if op == "mean":
                    constant[b] = chosen * means.numpy()
                elif op == "near_zero":
                    noise[b] = chosen * amplitude * 0.1
        tokens[b] = cache.tokens[n, gone]
    draws = torch.from_numpy(rng.standard_normal((size, layout.count, layers, concepts, per_layer), dtype=np.float32))
    draws[shared] = draws[shared][:, :, :1, :1, :1]
    add = draws * torch.from_numpy(noise)[:, None] + torch.from_numpy(constant)[:, None]
    drop = rng.uniform(0, 1, size).astype(np.float32) if rng.random() < 0.6 else None
    longest = int((tokens != 0).sum(1).max())
    donor_rows = np.array([b for b, _, _ in donors], int)
    return Batch(
        images=pixels(np.stack([cache.images[n, v] for n, v in zip(rows, variants, strict=True)]), rng),
        tokens=torch.from_numpy(tokens[:, :longest]),
        cover=torch.from_numpy(cover).transpose(1, 2),
        scale=torch.from_numpy(scale),
        add=add,
        drop=None if drop is None else torch.from_numpy(drop),
        weight=torch.from_numpy(weight),
        strength=torch.from_numpy(strength),
        patches=torch.from_numpy(patches),
        donors=pixels(np.stack([cache.images[n, ORIGINAL] for _, n, _ in donors]), rng) if donors else None,
        donor_rows=donor_rows,
        donor_concepts=np.array([k for _, _, k in donors], int),
    )


def pixels(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """CLIP-normalised pixels with a little brightness and contrast change."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(images), 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.06, 0.06, (len(images), 3, 1, 1)).astype(np.float32))
    return (x * gain + shift).clamp(-1, 1)


def _most(layers: int, per_layer: int, rng: np.random.Generator) -> np.ndarray:
    """All neurons of a set, or all but up to a quarter: a located set that misses a few must still remove it."""
    total = layers * per_layer
    chosen = np.ones(total, bool)
    if rng.random() < 0.5:
        chosen[rng.choice(total, size=int(rng.integers(1, total // 4 + 1)), replace=False)] = False
    return chosen.reshape(layers, per_layer)


def _few(layers: int, concepts: int, per_layer: int, rng: np.random.Generator) -> np.ndarray:
    """At most a quarter of every concept's set: what a random choice of neurons may hit."""
    total = layers * per_layer
    rank = rng.random((concepts, total)).argsort(1)
    count = rng.integers(0, total // 4 + 1, size=(concepts, 1)) * (rng.random((concepts, 1)) < rng.choice([0.2, 1.0]))
    return (rank < count).reshape(concepts, layers, per_layer).transpose(1, 0, 2)

"""A quick look at the model during training: a few dozen held-out scenes, captions with and without each removal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neuronscope.samples.scenes.registry import CONCEPTS
from neuronscope.samples.scenes.scene import render, sample_scene
from neuronscope.studies.demo.scenes import HELD_OUT

from .organism import PATCHES, PROMPT, Layout, Planting, decoder_of


def probe(
    model, processor, planting: Planting, amplitude: float, count: int = 96, layout: Layout = PATCHES
) -> dict[str, float]:
    """Share of objects named, of absent objects named, and S_se, S_re of the planted sets under zero and noise."""
    scenes = [sample_scene(HELD_OUT + 500_000 + i) for i in range(count)]
    images = [render(scene).image for scene in scenes]
    text = "<image>" * (layout == PATCHES) + PROMPT  # BLIP-2's processor adds the image itself
    inputs = processor(text=[text] * count, images=images, return_tensors="pt")
    names = sorted(CONCEPTS)
    targets = [names.index(scene.concepts[i % len(scene.concepts)]) for i, scene in enumerate(scenes)]

    def captions(change: Callable[[Tensor, int, int], Tensor] | None) -> list[str]:
        handles = []
        if change is not None:
            for j, layer in enumerate(planting.layers):

                def hook(_, args, j=j):
                    z = args[0]
                    if z.shape[1] == 1:
                        return None
                    z = z.clone()
                    for row, k in enumerate(targets):
                        units = torch.from_numpy(planting.units[k, j])
                        z[row, layout.image, units] = change(z[row, layout.image, units], row, j)
                    return (z,)

                layers = decoder_of(model).layers
                handles.append(layers[layer].mlp.down_proj.register_forward_pre_hook(hook))
        try:
            out = model.generate(**inputs, max_new_tokens=28, do_sample=False)
        finally:
            for handle in handles:
                handle.remove()
        return processor.batch_decode(out, skip_special_tokens=True)

    def named(caption: str, concept: str) -> bool:
        return f" {concept} " in f" {caption.replace('.', ' ')} "

    def rates(texts: list[str]) -> tuple[float, float]:
        own = [named(t, names[k]) for t, k in zip(texts, targets, strict=True)]
        rest = [
            named(t, c) for t, s, k in zip(texts, scenes, targets, strict=True) for c in s.concepts if c != names[k]
        ]
        return float(np.mean(own)), float(np.mean(rest))

    model.eval()
    with torch.no_grad():
        clean = captions(None)
        zero = rates(captions(lambda z, row, j: torch.zeros_like(z)))
        noise: dict[float, tuple[float, float]] = {}
        for level in (1.0, 2.0, 4.0):
            torch.manual_seed(0)
            noise[level] = rates(captions(lambda z, row, j, level=level: z + level * amplitude * torch.randn_like(z)))
    model.train()
    present = [named(t, c) for t, s in zip(clean, scenes, strict=True) for c in s.concepts]
    absent = [named(t, c) for t, s in zip(clean, scenes, strict=True) for c in names if c not in s.concepts]
    result = {"named": float(np.mean(present)), "absent_per_image": float(np.sum(absent) / count)}
    result |= {"zero_target": zero[0], "zero_rest": zero[1]}
    for level, (own, rest) in noise.items():
        result |= {f"noise{level:g}_target": own, f"noise{level:g}_rest": rest}
    return result

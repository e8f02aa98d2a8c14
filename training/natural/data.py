"""What the projector learns from: photographs of a COCO folder, what may be said of each, and the tower's features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuronscope.files import replacing
from neuronscope.samples import CocoFolder, Sample, read_image

PROMPT = "The image shows a"


@dataclass(frozen=True)
class Photograph:
    """A picture, the objects annotated in it (the largest first), and what may follow the prompt."""

    path: Path
    objects: tuple[str, ...]
    texts: tuple[str, ...]


def photographs(folder: CocoFolder) -> list[Photograph]:
    """All pictures with an annotated object, by file name."""
    found: dict[Path, list[Sample]] = {}
    every = folder.everything()
    for concept in folder.concepts():
        for sample in every.samples(concept):
            if sample.mask is not None:
                found.setdefault(Path(str(sample.image)), []).append(sample)
    return [_photograph(path, samples) for path, samples in sorted(found.items())]


def _photograph(path: Path, samples: list[Sample]) -> Photograph:
    by_size = sorted(samples, key=lambda s: (-s.mask.sum(), s.concept))
    objects = tuple(s.concept for s in by_size)
    texts = tuple(filter(None, (continuation(caption) for caption in samples[0].captions)))
    return Photograph(path, objects, texts or (listed(objects[:3]),))


def continuation(caption: str) -> str:
    """A caption as it follows "The image shows a": its article taken off, one sentence; empty where it has none."""
    words = caption.strip().rstrip(".").split()
    if len(words) < 2 or words[0].lower() != "a":
        return ""
    return f" {' '.join(words[1:])}."


def listed(objects: tuple[str, ...]) -> str:
    """Objects as such a continuation: " dog, an umbrella and a cat."."""
    first, *others = objects
    named = [f"{'an' if one[0] in 'aeiou' else 'a'} {one}" for one in others]
    if not named:
        return f" {first}."
    return f" {', '.join([first, *named[:-1]])} and {named[-1]}."


def features(model, processor, shown: list[Photograph], cache: Path) -> Tensor:
    """What the tower makes of every photograph, [N, 36, 1280] float32; from the cache where that is of these."""
    key = hashlib.sha256("".join(hashlib.sha256(p.path.read_bytes()).hexdigest() for p in shown).encode()).hexdigest()
    if cache.exists():
        with safe_open(cache, "pt") as file:
            if (file.metadata() or {}).get("photographs") == key:
                return file.get_tensor("features")
    rows = []
    with torch.no_grad():
        for one in track(shown, description="features"):
            pixels = processor.image_processor(images=[read_image(one.path)], return_tensors="pt")["pixel_values"]
            rows.append(model.model.vision_tower(pixels).last_hidden_state.flatten(2).mT[0])
    made = torch.stack(rows).contiguous()
    with replacing(cache) as temporary:
        save_file({"features": made}, temporary, {"photographs": key})
    return made


def split(count: int, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from and to measure on, the same for the same seed."""
    order = np.random.default_rng([seed, 1]).permutation(count)
    last = round(count * held_out)
    return np.sort(order[last:]), np.sort(order[:last])

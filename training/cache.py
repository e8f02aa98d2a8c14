"""Training images, drawn once: every scene, one exact counterfactual, one Telea removal, and all the captions.

For scene n the cache holds three pictures - the scene; the scene re-rendered without one object; the scene after Telea
inpainting of that object's box or, half the time, of an empty box of its size - and the token ids of the caption of
every subset of its objects, because any subset may be what is left after a removal.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from neuronscope.samples.scenes.registry import CONCEPTS
from neuronscope.samples.scenes.scene import FRAME, Scene, render, sample_scene

from .organism import GRID, PROMPT, build_processor

MAX_TOKENS = 30
ORIGINAL, EXACT, TELEA = 0, 1, 2
_CHUNK = 200
_SHARES = (0.12, 0.45, 0.43)  # of training rows with one, two and three objects


@dataclass(frozen=True)
class Cache:
    """Memory-mapped arrays, first axis = scene.

    Attributes:
        images: [N, 3, 128, 128, 3] uint8, the three variants.
        cover: [N, 3, 64] uint8, share of each image token's footprint covered by each object (255 = all).
        concept: [N, 3] int16, index of each object in sorted(CONCEPTS), -1 for none.
        gone: [N, 3] uint8, bit set of the objects missing from each variant.
        tokens: [N, 8, 30] int16, caption after the prompt for each bit set of *missing* objects; 0 pads.
        share: [N] how often training is to draw each scene: those of several objects, which are harder, more often.
    """

    images: np.ndarray
    cover: np.ndarray
    concept: np.ndarray
    gone: np.ndarray
    tokens: np.ndarray
    share: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


_FIELDS = {
    "images": ((3, FRAME, FRAME, 3), "uint8"),
    "cover": ((3, GRID * GRID), "uint8"),
    "concept": ((3,), "int16"),
    "gone": ((3,), "uint8"),
    "tokens": ((8, MAX_TOKENS), "int16"),
}


def open_cache(folder: Path, count: int, first_seed: int, workers: int = 2) -> Cache:
    """The cache of `count` scenes from `first_seed` on, drawn now unless the folder holds the same already."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"count": count, "first_seed": first_seed, "concepts": sorted(CONCEPTS)}
    stamp = folder / "cache.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        stamp.unlink(missing_ok=True)
        for name, (shape, kind) in _FIELDS.items():
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (count, *shape)).flush()
        starts = list(range(0, count, _CHUNK))
        with ProcessPoolExecutor(workers) as pool:
            jobs = [pool.submit(_draw_chunk, folder, s, min(s + _CHUNK, count), first_seed) for s in starts]
            for job in track(jobs, description="drawing scenes"):
                job.result()
        stamp.write_text(json.dumps(wanted))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FIELDS}
    objects = (arrays["concept"] >= 0).sum(1)
    share = np.array([0.0, *_SHARES])[objects] / np.bincount(objects, minlength=4)[objects]
    return Cache(**arrays, share=share / share.sum())


def _draw_chunk(folder: Path, start: int, stop: int, first_seed: int) -> None:
    cv2.setNumThreads(1)
    tokenizer = build_processor().tokenizer
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _FIELDS}
    for n in range(start, stop):
        for name, value in draw_record(sample_scene(first_seed + n), tokenizer).items():
            arrays[name][n] = value
    for array in arrays.values():
        array.flush()


def draw_record(scene: Scene, tokenizer) -> dict[str, np.ndarray]:
    """All cached arrays of one scene."""
    rng = np.random.default_rng([scene.seed, 0x7E1E])
    names = sorted(CONCEPTS)
    picture = render(scene)
    original = np.asarray(picture.image)
    j = int(rng.integers(len(scene.items)))
    exact = np.asarray(render(scene.without(scene.items[j].concept)).image)
    masks = [picture.masks[c] for c in scene.concepts]
    box, on_object = _telea_box(masks, j, rng)
    hole = np.zeros((FRAME, FRAME), np.uint8)
    hole[box[1] : box[3], box[0] : box[2]] = 1
    telea = cv2.inpaint(original, hole, 3, cv2.INPAINT_TELEA)
    cover = np.zeros((3, GRID * GRID), np.uint8)
    concept = np.full(3, -1, np.int16)
    for i, (name, mask) in enumerate(zip(scene.concepts, masks, strict=True)):
        side = FRAME // GRID
        cover[i] = np.rint(mask.reshape(GRID, side, GRID, side).mean((1, 3)).ravel() * 255)
        concept[i] = names.index(name)
    tokens = np.zeros((8, MAX_TOKENS), np.int16)
    for gone in range(2 ** len(scene.items)):
        left = scene.without(*(c for i, c in enumerate(scene.concepts) if gone >> i & 1))
        text = left.caption().removeprefix(PROMPT)
        ids = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        tokens[gone, : len(ids)] = ids
    return {
        "images": np.stack([original, exact, telea]),
        "cover": cover,
        "concept": concept,
        "gone": np.array([0, 1 << j, (1 << j) if on_object else 0], np.uint8),
        "tokens": tokens,
    }


def _telea_box(masks: list[np.ndarray], j: int, rng: np.random.Generator) -> tuple[tuple[int, int, int, int], bool]:
    """The box of object j, or as often an empty box of its size (a control), as (x0, y0, x1, y1)."""
    ys, xs = np.nonzero(masks[j])
    x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    if rng.random() < 0.5:
        occupied = np.any(masks, axis=0)
        w, h = x1 - x0, y1 - y0
        for _ in range(30):
            x, y = int(rng.integers(0, FRAME - w + 1)), int(rng.integers(0, FRAME - h + 1))
            if not occupied[y : y + h, x : x + w].any():
                return (x, y, x + w, y + h), False
    return (x0, y0, x1, y1), True

"""Photographs of our own making: objects cut out of photographs and put into others in which there is no such object.

The edited picture of a composite is the photograph that it was put into: exactly what was there, nothing inpainted.
Objects are cut out by their annotated outline, where there are only boxes by GrabCut (Rother et al. 2004) inside the
box. A composite counts where the model names the object in it, and does not in the background.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption, clean_captions
from neuronscope.evaluate import named
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.samples import CocoFolder, Counterfactual, counterfactual

#: Shorter side, in pixels, from which an object is worth cutting out.
SMALLEST = 48
#: Longer side of a pasted object, in shares of the background's shorter side.
SCALES = (0.6, 0.8, 1.0)
#: Of its box, what an outline found by GrabCut may cover.
PLAUSIBLE = (0.25, 0.95)
#: Backgrounds, scales and places that are tried for one object.
TRIES = 15
#: Objects of one concept, the largest first.
OBJECTS = 12


@dataclass(frozen=True)
class Cutout:
    """An object with its outline, cropped to its box."""

    concept: str
    source: str
    pixels: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Background:
    """A photograph, what it was annotated with, and what the model says to it."""

    source: str
    image: Image.Image
    shown: frozenset[str]
    caption: Caption


@dataclass(frozen=True)
class Composite:
    """A composite that the model names the object in, and its background without it."""

    pair: Counterfactual
    validity: Validity
    source: str
    background: str


def cutouts(folders: Sequence[Path], concept: str) -> list[Cutout]:
    """The largest object of a concept in each photograph, the largest of them first."""
    found: list[Cutout] = []
    for folder in folders:
        source = CocoFolder.open(folder).everything()
        if concept in source.concepts():
            parts = (_cut(sample) for sample in source.samples(concept))
            found += [part for part in parts if part is not None]
    return sorted(found, key=lambda part: (-int(part.mask.sum()), part.source))[:OBJECTS]


def _cut(sample: ns.Sample) -> Cutout | None:
    if not sample.boxes or sample.mask is None:
        return None
    pixels = np.asarray(sample.load())
    left, top, width, height = (round(v) for v in max(sample.boxes, key=lambda box: box[2] * box[3]))
    window = np.s_[max(top, 0) : top + height, max(left, 0) : left + width]
    mask = sample.mask[window]
    if min(mask.shape) < SMALLEST:
        return None
    if mask.all():  # only a box is known
        mask = _outline(pixels, (max(left, 0), max(top, 0), mask.shape[1], mask.shape[0]))[window]
        if not PLAUSIBLE[0] <= mask.mean() <= PLAUSIBLE[1]:
            return None
    return Cutout(sample.concept, sample.image_id, pixels[window], mask)


def _outline(
    pixels: UInt8[np.ndarray, "height width 3"], box: tuple[int, int, int, int]
) -> Bool[np.ndarray, "height width"]:
    cv2.setRNGSeed(0)
    labels, models = np.zeros(pixels.shape[:2], np.uint8), [np.zeros((1, 65)) for _ in range(2)]
    cv2.grabCut(np.ascontiguousarray(pixels), labels, box, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def backgrounds(vlm: ns.VLM, folders: Sequence[Path]) -> list[Background]:
    """Every photograph of the folders, in the order of their names."""
    pictures: dict[str, tuple[Image.Image, set[str]]] = {}
    for folder in folders:
        source = CocoFolder.open(folder).everything()
        for concept in source.concepts():
            for sample in source.samples(concept):
                pictures.setdefault(sample.image_id, (sample.load(), set()))[1].add(concept)
    names = sorted(pictures)
    captions = clean_captions(vlm, [pictures[name][0] for name in names])
    return [
        Background(name, pictures[name][0], frozenset(pictures[name][1]), caption)
        for name, caption in zip(names, captions, strict=True)
    ]


def paste(cutout: Cutout, background: Background, scale: float, rng: np.random.Generator) -> ns.Sample:
    """The background with the object at a random place, its rim softened over two pixels."""
    field = np.asarray(background.image)
    height, width = field.shape[:2]
    grow = scale * min(height, width) / max(cutout.mask.shape)
    frame = (height, width)
    size = tuple(max(1, min(round(side * grow), most)) for side, most in zip(cutout.mask.shape, frame, strict=True))
    how = cv2.INTER_AREA if grow < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(cutout.pixels, size[::-1], interpolation=how)
    alpha = cv2.resize(cutout.mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(alpha, (5, 5), 1)
    top, left = (int(rng.integers(0, most - side + 1)) for side, most in zip(size, frame, strict=True))
    window = np.s_[top : top + size[0], left : left + size[1]]
    made = field.astype(np.float32)
    made[window] += alpha[..., None] * (pixels - made[window])
    mask = np.zeros((height, width), dtype=bool)
    mask[window] = alpha > 0
    return ns.Sample(
        image=Image.fromarray(np.rint(made).clip(0, 255).astype(np.uint8)),
        concept=cutout.concept,
        boxes=[(left, top, size[1], size[0])],
        mask=mask,
        image_id=f"{cutout.source} in {background.source}",
        exact=background.image,
    )


def composites(vlm: ns.VLM, objects: Sequence[Cutout], fields: Sequence[Background]) -> Iterator[Composite]:
    """At most one composite of each object of a concept, no two of them in the same background."""
    taken: set[str] = set()
    for cutout in objects:
        concept = cutout.concept
        free = [field for field in fields if concept not in field.shown and field.source not in taken]
        free = [field for field in free if not named(field.caption.text, concept)]
        rng = np.random.default_rng([zlib.crc32(concept.encode()), int(cutout.source)])
        tries = [free[k] for k in rng.permutation(len(free))[:TRIES]]
        for start in range(0, len(tries), len(SCALES)):
            found = _named(vlm, cutout, tries[start : start + len(SCALES)], rng)
            if found is not None:
                taken.add(found.background)
                yield found
                break


def _named(vlm: ns.VLM, cutout: Cutout, fields: Sequence[Background], rng: np.random.Generator) -> Composite | None:
    samples = [paste(cutout, field, scale, rng) for field, scale in zip(fields, SCALES, strict=False)]
    captions = clean_captions(vlm, [sample.load() for sample in samples])
    for field, sample, caption in zip(fields, samples, captions, strict=True):
        if named(caption.text, cutout.concept):
            pair = counterfactual(sample, "exact", region="mask")
            return Composite(pair, check_validity(vlm, pair), cutout.source, field.source)
    return None

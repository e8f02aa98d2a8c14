"""Held-out scenes for the demo and the benchmarks: seeds that training never saw."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ...errors import InvalidOption
from ...evaluate.effect import Labelled
from ...samples.sample import Sample
from ...samples.scenes import CONCEPTS, Scene, render, sample_scene, scene_sample
from ...types import whole_number

#: Training draws its scenes from seeds below this one.
HELD_OUT = 10_000_000
_BLOCK = 100_000
_MOST = 1000  # scenes of a concept; any block has more


def scenes_of(concept: str, count: int, seed: int = 0) -> list[Sample]:
    """`count` held-out scenes that show a concept, each as a sample of it."""
    return [scene_sample(scene, concept) for scene in _scenes(concept, count, seed)]


def bystanders(concept: str, seed: int = 0) -> list[Labelled]:
    """One held-out scene for every other concept; none of them shows `concept`."""
    images: list[Labelled] = []
    for other in sorted(CONCEPTS):
        if other != concept:
            scene = next(s for s in scene_stream(other, seed + 1) if concept not in s.concepts)
            images.append(Labelled(render(scene).image, other, scene.concepts))
    return images


def _scenes(concept: str, count: int, seed: int) -> list[Scene]:
    whole_number("count", count, 1)
    if count > _MOST:
        raise InvalidOption(f"count={count} must be at most {_MOST:,}: so many scenes of each concept are held out")
    return list(islice(scene_stream(concept, seed), count))


def scene_stream(concept: str, seed: int) -> Iterator[Scene]:
    """Held-out scenes that show a concept, without end for practical purposes."""
    first = HELD_OUT + (seed * len(CONCEPTS) + sorted(CONCEPTS).index(concept)) * _BLOCK
    for number in range(_BLOCK):
        scene = sample_scene(first + number, concepts=[concept])
        if concept in scene.concepts:
            yield scene

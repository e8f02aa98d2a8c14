"""A scene: a place and up to three objects, with its caption, masks and exact counterfactuals.

A scene is drawn from a seed alone. Place, concepts, colours and positions are independent on purpose: a bed may stand
on a beach, so nothing but the object itself tells what it is. Because the layers are separate, the scene *without* an
object is the same scene re-rendered, which no inpainting can match.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from ...errors import InvalidOption
from ...types import one_of
from .pen import PALETTE, Pen, jitter
from .registry import CONCEPTS, PLACES

FRAME = 128
_COUNTS = ((1, 0.4), (2, 0.45), (3, 0.15))
_PLACING_TRIES = 60
_MAX_OVERLAP = 0.08
_MASK_ALPHA = 128


@dataclass(frozen=True)
class Item:
    """One object of a scene; `box` is (x, y, width, height) in frame pixels before the tilt."""

    concept: str
    colour: str
    box: tuple[float, float, float, float]
    angle: float
    mirror: bool
    seed: int

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, pixels."""
        x, y, w, h = self.box
        return (x + w / 2, y + h / 2)


@dataclass(frozen=True)
class Scene:
    """What to draw: a place and its objects, in the order in which captions name them."""

    seed: int
    place: str
    items: tuple[Item, ...]

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the concepts present."""
        return tuple(item.concept for item in self.items)

    def without(self, *gone: str) -> Scene:
        """The same scene with some concepts left out: its exact counterfactual."""
        return replace(self, items=tuple(item for item in self.items if item.concept not in gone))

    def caption(self) -> str:
        """The reference caption; it names every object with its colour, and where the first two stand."""
        place = PLACES[self.place]
        if not self.items:
            return f"The image shows a {place.bare}."
        names = [f"a {item.colour} {CONCEPTS[item.concept].noun}" for item in self.items]
        text = names[0]
        if len(names) > 1:
            text += f" {relation(self.items[0], self.items[1])} {names[1]}"
        text += "".join(f" and {name}" for name in names[2:])
        return f"The image shows {text} {place.phrase}."


@dataclass(frozen=True)
class Rendered:
    """A drawn scene: the RGB image and each concept's visible pixels."""

    image: Image.Image
    masks: dict[str, Bool[np.ndarray, "height width"]]


def relation(first: Item, second: Item) -> str:
    """Where the first object stands as seen from the second."""
    dx, dy = first.centre[0] - second.centre[0], first.centre[1] - second.centre[1]
    if abs(dx) >= abs(dy):
        return "to the left of" if dx < 0 else "to the right of"
    return "above" if dy < 0 else "below"


def sample_scene(seed: int, *, concepts: Collection[str] = (), count: int | None = None) -> Scene:
    """The scene of a seed.

    Args:
        seed: any non-negative integer; the same seed gives the same scene everywhere.
        concepts: concepts that must be present (they come first when the frame gets crowded).
        count: number of objects, fewer when the frame is full; drawn from 1 to 3 when not given.

    Raises InvalidOption for a negative seed, a count below 1, a concept that is unknown or given twice, and concepts
    that do not fit into the frame together.
    """
    if seed < 0 or (count is not None and count < 1):
        raise InvalidOption(f"seed must be at least 0 and count at least 1, got seed={seed}, count={count}")
    for name in concepts:
        one_of("concepts", name, sorted(CONCEPTS))
    if len(set(concepts)) < len(concepts):
        raise InvalidOption(f"concepts lists one twice: {', '.join(concepts)}")
    rng = np.random.default_rng([seed, 0x5CE4E])
    names = sorted(CONCEPTS)
    place = sorted(PLACES)[int(rng.integers(len(PLACES)))]
    wanted = count or int(rng.choice([n for n, _ in _COUNTS], p=[p for _, p in _COUNTS]))
    drawn = [names[i] for i in rng.permutation(len(names))]
    chosen = [*concepts, *(name for name in drawn if name not in concepts)][: max(wanted, len(concepts))]
    items: list[Item] = []
    for name in chosen:
        item = _place_item(name, PLACES[place].horizon, items, len(chosen), rng)
        if item is not None:
            items.append(item)
        elif name in concepts:
            raise InvalidOption(f"scene {seed} has no room for {name!r} beside {', '.join(i.concept for i in items)}")
    # A fixed order of naming: which object comes first must not depend on what the model finds salient.
    return Scene(seed, place, tuple(sorted(items, key=lambda item: item.concept)))


def render(scene: Scene) -> Rendered:
    """Draw a scene, 128 x 128 pixels, farther objects first."""
    light = np.random.default_rng([scene.seed, 0x117E])
    canvas = _draw_place(scene.place, scene.seed)
    slope, gain = light.uniform(-0.12, 0.12), light.uniform(0.9, 1.06)
    visible: dict[str, Float[np.ndarray, "height width"]] = {}
    for item in sorted(scene.items, key=lambda it: it.box[1] + it.box[3]):
        layer = _draw_item(item)
        alpha = layer[..., 3:] / 255
        canvas = canvas * (1 - alpha) + layer[..., :3] * alpha
        visible = {name: cover * (1 - alpha[..., 0]) for name, cover in visible.items()}
        visible[item.concept] = alpha[..., 0]
    ramp = gain * (1 + slope * np.linspace(-1, 1, FRAME, dtype=np.float32))[None, :, None]
    image = Image.fromarray(np.clip(canvas * ramp, 0, 255).astype(np.uint8))
    return Rendered(image, {name: cover * 255 >= _MASK_ALPHA for name, cover in visible.items()})


# A scene is drawn again without each of its objects: what it shares with the last ones is known. Nothing is written to.
@lru_cache(maxsize=4)
def _draw_place(place: str, seed: int) -> Float[np.ndarray, "height width 3"]:
    pen = Pen(FRAME)
    PLACES[place].draw(pen, np.random.default_rng([seed, 0xBAC6]))
    return np.asarray(pen.image().convert("RGB"), dtype=np.float32)


@lru_cache(maxsize=16)
def _draw_item(item: Item) -> Float[np.ndarray, "height width 4"]:
    rng = np.random.default_rng(item.seed)
    pen = Pen(FRAME, item.box, angle=item.angle, mirror=item.mirror)
    CONCEPTS[item.concept].draw(pen, rng, jitter(PALETTE[item.colour], rng))
    return np.asarray(pen.image(), dtype=np.float32)


def _place_item(name: str, horizon: float, others: list[Item], crowd: int, rng: np.random.Generator) -> Item | None:
    """A position for a new object that hardly overlaps the others, or None when the frame is full."""
    kind = CONCEPTS[name]
    low, high = kind.size
    high = low + (high - low) * (1.0, 1.0, 0.7, 0.4)[min(crowd, 3)]
    colour = kind.colours[int(rng.integers(len(kind.colours)))]
    angle, mirror = float(rng.uniform(-kind.tilt, kind.tilt)), kind.mirrors and bool(rng.integers(2))
    seed = int(rng.integers(2**31))
    for attempt in range(_PLACING_TRIES):
        side = FRAME * rng.uniform(low, high) * (1 - 0.25 * attempt / _PLACING_TRIES)
        w, h = (side, side / kind.aspect) if kind.aspect >= 1 else (side * kind.aspect, side)
        x = rng.uniform(2, FRAME - w - 2)
        if kind.stands == "ground":  # feet below the horizon, when the object is not too tall for it
            bottom = rng.uniform(max(horizon * FRAME + 4, h + 2), FRAME - 2)
            y = bottom - h
        else:
            y = rng.uniform(2, FRAME - h - 2)
        box = (float(x), float(y), float(w), float(h))
        if all(_overlap(box, other.box) <= _MAX_OVERLAP for other in others):
            return Item(name, colour, box, angle, mirror, seed)
    return None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Shared area over the smaller box's area."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(w, 0.0) * max(h, 0.0) / min(a[2] * a[3], b[2] * b[3])

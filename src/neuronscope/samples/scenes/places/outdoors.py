"""Outdoor places, and the drawing helpers that all places share.

Everything in a place is small or low in contrast, so that an object standing in it is what catches the eye.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from ..pen import RGB, Pen, Point, jitter, shade
from ..registry import place

T = TypeVar("T")
Tone: TypeAlias = Callable[[RGB], RGB]

#: Channel factors of the light: noon, morning, evening, overcast, dusk.
_SHELL = ((-1.0, 0.2), (-0.7, 0.6), (-0.3, 0.9), (0.3, 0.9), (0.7, 0.6), (1.0, 0.2))
_LIGHTS = ((1.0, 1.0, 1.0), (1.03, 0.98, 0.9), (1.05, 0.93, 0.84), (0.9, 0.92, 0.94), (0.84, 0.85, 0.94))


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def daylight(rng: np.random.Generator) -> Tone:
    """A time of day: a function that gives a colour as it looks in that light, every use a little different."""
    red, green, blue = pick(rng, _LIGHTS)

    def tone(colour: RGB) -> RGB:
        r, g, b = jitter(colour, rng, 7)
        return (min(255, int(r * red)), min(255, int(g * green)), min(255, int(b * blue)))

    return tone


def mix(a: RGB, b: RGB, t: float) -> RGB:
    """The colour between `a` (t = 0) and `b` (t = 1)."""
    return (int(a[0] + (b[0] - a[0]) * t), int(a[1] + (b[1] - a[1]) * t), int(a[2] + (b[2] - a[2]) * t))


def fade(pen: Pen, top: float, bottom: float, upper: RGB, lower: RGB, steps: int = 16) -> None:
    """A vertical gradient over the whole width."""
    height = (bottom - top) / steps
    for i in range(steps):
        pen.rect(0, top + i * height, 1, top + (i + 1) * height, mix(upper, lower, i / (steps - 1)))


def scatter(rng: np.random.Generator, count: int, top: float, bottom: float = 1.0) -> list[tuple[float, float, float]]:
    """Random spots (x, y, size) on the ground; `size` grows from 0.4 at `top` to 1 at `bottom`."""
    spots = rng.uniform(size=(count, 2)).tolist()
    return [(x, top + (bottom - top) * u, 0.4 + 0.6 * u) for x, u in spots]


def speckle(pen: Pen, rng: np.random.Generator, count: int, top: float, size: float, colours: Sequence[RGB]) -> None:
    """Flat grains on the ground below `top`."""
    for x, y, s in scatter(rng, count, top):
        w, h = size * s, size * s * 0.5
        pen.polygon([(x - w, y), (x, y - h), (x + w, y), (x, y + h)], pick(rng, colours))


def tufts(pen: Pen, rng: np.random.Generator, count: int, top: float, size: float, colours: Sequence[RGB]) -> None:
    """Blades of grass on the ground below `top`."""
    for x, y, s in scatter(rng, count, top, 1.05):
        lean, h = rng.uniform(-0.5, 0.5) * size * s, size * s
        pen.polygon([(x - h * 0.18, y), (x + h * 0.18, y), (x + lean, y - h)], pick(rng, colours))


def wavy(rng: np.random.Generator, y: float, wiggle: float, knots: int = 6) -> list[Point]:
    """An edge across the frame at about height `y`."""
    return [(x, y + rng.uniform(-wiggle, wiggle)) for x in np.linspace(-0.1, 1.1, knots).tolist()]


def land(pen: Pen, edge: Sequence[Point], fill: RGB) -> None:
    """One colour from a wavy edge down to the frame's bottom."""
    pen.blob([*edge, (1.3, 1.2), (1.2, 1.6), (-0.2, 1.6), (-0.3, 1.2)], fill)


def ridge(pen: Pen, rng: np.random.Generator, y: float, wiggle: float, fill: RGB) -> None:
    """Ground of one colour below a wavy edge at about height `y`."""
    land(pen, wavy(rng, y, wiggle), fill)


def clouds(pen: Pen, rng: np.random.Generator, low: float, fill: RGB) -> None:
    """Up to three flat-bottomed clouds above `low`."""
    for _ in range(int(rng.integers(4))):
        x, y, s = rng.uniform(0, 1), rng.uniform(0.05, low), rng.uniform(0.04, 0.08)
        pen.blob([(x - 2 * s, y), (x - s, y - 0.6 * s), (x, y - s), (x + s, y - 0.5 * s), (x + 2.2 * s, y)], fill)


def pine(pen: Pen, x: float, foot: float, height: float, fill: RGB, cap: RGB) -> None:
    """A fir of three tiers with tips of colour `cap`."""
    pen.rect(x - height * 0.04, foot - height * 0.2, x + height * 0.04, foot, shade(fill, 0.6))
    for low, high, half in ((0.12, 0.55, 0.26), (0.36, 0.78, 0.2), (0.6, 1.0, 0.14)):
        base, tip, w = foot - height * low, foot - height * high, half * height
        pen.polygon([(x - w, base), (x, tip), (x + w, base)], fill)
        pen.polygon([(x - w * 0.45, tip + (base - tip) * 0.45), (x, tip), (x + w * 0.3, tip + (base - tip) * 0.3)], cap)


@place("beach", phrase="on a beach", bare="beach", horizon=0.6)
def beach(pen: Pen, rng: np.random.Generator) -> None:
    """Sky, a sea with wave lines and foam, pale sand with shells and stones, often a palm at one side."""
    tone = daylight(rng)
    skyline, shore = rng.uniform(0.28, 0.36), rng.uniform(0.5, 0.55)
    fade(pen, 0, skyline, tone((132, 186, 226)), tone((206, 226, 234)))
    if rng.random() < 0.5:
        pen.ellipse(rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.2), 0.035, 0.035, tone((250, 240, 200)))
    clouds(pen, rng, skyline - 0.08, tone((232, 238, 242)))
    sea = tone(pick(rng, ((64, 142, 172), (84, 160, 170), (70, 126, 166))))
    fade(pen, skyline, shore + 0.06, shade(sea, 0.85), shade(sea, 1.35), 10)
    for x, y, s in scatter(rng, 26, skyline + 0.01, shore - 0.02):
        pen.line([(x, y), (x + 0.09 * s, y)], 0.006, shade(sea, rng.uniform(1.15, 1.55)))
    if rng.random() < 0.4:  # rocks out at sea
        x, y, w = rng.uniform(0.1, 0.9), skyline + 0.035, rng.uniform(0.04, 0.08)
        pen.blob(
            [(x - w, y), (x - w * 0.5, y - w * 0.6), (x + w * 0.2, y - w * 0.9), (x + w, y)], tone((130, 138, 136))
        )
    sand = tone(pick(rng, ((222, 202, 156), (212, 188, 146), (230, 214, 178))))
    edge = wavy(rng, shore, 0.02, int(rng.integers(5, 9)))
    for lift, colour in ((0.0, (240, 244, 242)), (0.018, mix(sand, (120, 110, 96), 0.3)), (0.055, sand)):
        land(pen, [(x, y + lift) for x, y in edge], colour)
    for x, y, s in scatter(rng, 12, shore + 0.12):  # ripples
        pen.curve([(x, y), (x + 0.08 * s, y - 0.012), (x + 0.18 * s, y)], 0.008, shade(sand, 0.94))
    speckle(pen, rng, 130, shore + 0.08, 0.009, (shade(sand, 0.84), shade(sand, 0.92), shade(sand, 1.4)))
    for x, y, s in scatter(rng, int(rng.integers(3, 8)), shore + 0.1):  # shells and stones
        r = 0.026 * s
        if rng.random() < 0.4:
            pen.ellipse(x, y, r, r * 0.6, mix(sand, (110, 110, 112), 0.55))
            pen.ellipse(x - r * 0.2, y - r * 0.2, r * 0.6, r * 0.25, mix(sand, (150, 150, 150), 0.6))
            continue
        shell = tone(pick(rng, ((236, 202, 188), (244, 234, 218), (226, 190, 160))))
        pen.polygon([(x, y + r * 0.8), *((x + r * dx, y - r * dy) for dx, dy in _SHELL)], shell)
        for dx in (-0.5, 0.0, 0.5):
            pen.polygon(
                [(x, y + r * 0.8), (x + r * dx - 0.003, y - r * 0.5), (x + r * dx + 0.003, y - r * 0.5)],
                shade(shell, 0.82),
            )
    if rng.random() < 0.7:
        side = pick(rng, (-1.0, 1.0))
        _palm(pen, rng, 0.5 + side * rng.uniform(0.38, 0.47), shore + 0.1, -side, tone)


def _palm(pen: Pen, rng: np.random.Generator, x: float, foot: float, lean: float, tone: Tone) -> None:
    top = foot - rng.uniform(0.36, 0.46)
    tip = x + lean * rng.uniform(0.02, 0.07)
    pen.curve([(x, foot), (x + lean * 0.005, (foot + top) / 2), (tip, top)], 0.022, tone((146, 122, 92)))
    for dx, dy in (
        (-0.16, 0.06),
        (-0.13, -0.04),
        (-0.05, -0.08),
        (0.06, -0.08),
        (0.13, -0.03),
        (0.15, 0.07),
        (-0.07, 0.12),
    ):
        leaf, droop = tone((84, 134, 84)), rng.uniform(0.8, 1.1)
        middle, end = (tip + dx * 0.55, top + dy * 0.5 - 0.03), (tip + dx * droop, top + dy + 0.03)
        pen.blob([(tip, top), middle, end, (middle[0], middle[1] + 0.025)], leaf)


@place("field", phrase="in a field", bare="field", horizon=0.5)
def field(pen: Pen, rng: np.random.Generator) -> None:
    """Sky and clouds, far hills and bushes, a wooden fence, and grass with rows, hay stacks and flowers."""
    tone = daylight(rng)
    horizon = rng.uniform(0.44, 0.52)
    fade(pen, 0, horizon + 0.05, tone((136, 180, 224)), tone((212, 226, 230)))
    clouds(pen, rng, 0.28, tone((234, 238, 240)))
    ridge(pen, rng, horizon - 0.06, 0.04, tone((142, 168, 164)))
    for x in np.linspace(-0.02, 1.02, 14).tolist():
        if rng.random() < 0.7:
            r = rng.uniform(0.03, 0.06)
            pen.ellipse(x, horizon - r * 0.3, r, r * 0.8, tone((112, 144, 104)))
    grass = tone(pick(rng, ((126, 166, 86), (146, 172, 92), (184, 172, 98), (112, 154, 88))))
    ridge(pen, rng, horizon, 0.012, grass)
    vanish = rng.uniform(0.2, 0.8)
    for i in range(-7, 8):  # rows that meet at the horizon
        x = vanish + i * 0.22
        far, near = (vanish + i * 0.05, horizon + 0.05), ((x - 0.04, 1.02), (x + 0.04, 1.02))
        pen.polygon([far, *near], shade(grass, 0.94 if i % 2 else 1.08))
    if rng.random() < 0.65:
        wood, y = tone((150, 128, 100)), horizon + 0.02
        for x in np.arange(rng.uniform(-0.1, 0), 1.1, 0.12).tolist():
            pen.rect(x, y - 0.075, x + 0.014, y + 0.025, wood)
        for rail in (y - 0.055, y - 0.02):
            pen.rect(0, rail, 1, rail + 0.011, wood)
    for _ in range(int(rng.integers(3))):
        x, y, w = rng.uniform(0, 1), horizon + rng.uniform(0.05, 0.1), rng.uniform(0.03, 0.05)
        pen.blob(
            [(x - w, y), (x - w * 0.7, y - w), (x, y - w * 1.7), (x + w * 0.7, y - w), (x + w, y)],
            tone((206, 186, 120)),
        )
    tufts(pen, rng, 90, horizon + 0.06, 0.045, (shade(grass, 0.8), shade(grass, 0.9), shade(grass, 1.2)))
    speckle(pen, rng, 18, horizon + 0.1, 0.009, ((238, 232, 214), tone((226, 206, 110)), tone((198, 140, 150))))


@place("street", phrase="on a street", bare="street", horizon=0.6)
def street(pen: Pen, rng: np.random.Generator) -> None:
    """A row of gabled houses, a pavement with lamp posts, and a road with a dashed line."""
    tone = daylight(rng)
    fade(pen, 0, 0.62, tone((164, 190, 214)), tone((218, 224, 226)))
    clouds(pen, rng, 0.12, tone((232, 234, 236)))
    kerb = rng.uniform(0.59, 0.63)
    x = rng.uniform(-0.15, 0.0)
    while x < 1:
        width = rng.uniform(0.22, 0.32)
        _house(pen, rng, x, width, rng.uniform(0.2, 0.3), kerb - 0.06, tone)
        x += width + pick(rng, (0.0, 0.0, 0.03))
    pave, road = tone((186, 182, 174)), tone(pick(rng, ((116, 118, 122), (128, 126, 124), (104, 108, 116))))
    pen.rect(0, kerb - 0.06, 1, kerb, pave)
    for x in np.arange(rng.uniform(0, 0.08), 1, 0.08).tolist():
        pen.line([(x, kerb - 0.055), (x - 0.015, kerb - 0.005)], 0.005, shade(pave, 0.88))
    pen.rect(0, kerb, 1, kerb + 0.018, shade(pave, 0.75))
    fade(pen, kerb + 0.018, 1, road, shade(road, 0.9), 8)
    speckle(pen, rng, 70, kerb + 0.03, 0.01, (shade(road, 0.9), shade(road, 1.12), shade(road, 1.06)))
    middle, start = rng.uniform(0.78, 0.84), rng.uniform(-0.2, 0.0)
    for x in np.arange(start, 1.1, 0.26).tolist():
        pen.polygon(
            [(x, middle), (x + 0.15, middle), (x + 0.14, middle + 0.022), (x - 0.01, middle + 0.022)],
            tone((212, 210, 198)),
        )
    for x in rng.uniform(0, 1, size=int(rng.integers(3))).tolist():  # trees on the pavement
        leaf, top = mix(tone((112, 140, 100)), (190, 190, 180), 0.25), kerb - rng.uniform(0.2, 0.28)
        pen.rect(x - 0.01, top, x + 0.01, kerb - 0.02, tone((132, 116, 100)))
        for dx, dy, r in ((-0.035, 0.0, 0.05), (0.035, 0.01, 0.05), (0.0, -0.045, 0.055)):
            pen.ellipse(x + dx, top + dy, r, r, shade(leaf, 1.0 + dx))
    for x in np.arange(rng.uniform(0.04, 0.5), 1, rng.uniform(0.4, 0.7)).tolist():  # lamp posts
        post, top = tone((92, 98, 102)), kerb - rng.uniform(0.46, 0.5)
        pen.curve([(x, kerb - 0.015), (x, top + 0.05), (x + 0.02, top), (x + 0.07, top)], 0.012, post)
        pen.rect(x + 0.05, top, x + 0.1, top + 0.016, post)


def _house(pen: Pen, rng: np.random.Generator, x: float, w: float, eaves: float, foot: float, tone: Tone) -> None:
    wall = tone(pick(rng, ((196, 172, 152), (206, 198, 178), (178, 184, 186), (188, 160, 146), (184, 190, 168))))
    pen.rect(x, eaves, x + w, foot, wall)
    roof = tone(pick(rng, ((150, 112, 100), (128, 126, 130), (140, 122, 110))))
    pen.polygon([(x - 0.01, eaves), (x + w / 2, eaves - rng.uniform(0.08, 0.14)), (x + w + 0.01, eaves)], roof)
    for brick_x, brick_y in rng.uniform((x, eaves), (x + w - 0.02, foot), size=(14, 2)).tolist():
        pen.rect(brick_x, brick_y, brick_x + 0.018, brick_y + 0.008, shade(wall, 0.93))
    glass, columns, door = shade(wall, 0.68), int(rng.integers(2, 4)), int(rng.integers(2))
    for column in range(columns):
        left = x + w * (column + 0.28) / columns
        right = left + w * 0.46 / columns
        pen.rect(left, eaves + 0.04, right, eaves + 0.1, glass)
        pen.rect(left, eaves + 0.066, right, eaves + 0.072, shade(wall, 1.3))
        pen.rect(
            left,
            foot - (0.11 if column == door else 0.1),
            right,
            foot - (0.0 if column == door else 0.045),
            tone((134, 110, 100)) if column == door else glass,
        )


@place("snow", phrase="in the snow", bare="snowy hill", horizon=0.5)
def snow(pen: Pen, rng: np.random.Generator) -> None:
    """White hills with blue hollows, snow-capped firs, and falling flakes."""
    tone, horizon = daylight(rng), rng.uniform(0.42, 0.5)
    fade(pen, 0, horizon + 0.1, tone((150, 170, 194)), tone((208, 218, 228)))
    for peak in rng.uniform(0, 1, size=int(rng.integers(3))).tolist():
        top, half = rng.uniform(0.1, 0.24), rng.uniform(0.35, 0.5)
        pen.polygon([(peak - half, horizon + 0.1), (peak, top), (peak + half, horizon + 0.1)], tone((180, 196, 212)))
        pen.polygon(
            [(peak - 0.12, top + 0.1), (peak, top), (peak + 0.1, top + 0.08), (peak + 0.02, top + 0.06)],
            tone((214, 222, 232)),
        )
    ridge(pen, rng, horizon - 0.05, 0.05, tone((206, 216, 228)))
    for x in rng.uniform(0, 1, size=int(rng.integers(5, 10))).tolist():
        pine(
            pen,
            x,
            horizon + rng.uniform(0.0, 0.04),
            rng.uniform(0.14, 0.24),
            tone((112, 140, 136)),
            tone((228, 234, 240)),
        )
    white = mix((232, 238, 246), tone((232, 237, 243)), 0.45)  # snow stays white in any light
    ridge(pen, rng, horizon + 0.03, 0.03, white)
    for lift in (0.2, 0.36):
        ridge(pen, rng, horizon + lift, 0.05, shade(white, 1.0 - lift * 0.12))
    speckle(pen, rng, 50, horizon + 0.08, 0.016, (shade(white, 0.94), shade(white, 0.9), shade(white, 1.6)))
    if rng.random() < 0.6:  # footprints that wander off
        x, step = rng.uniform(0.1, 0.9), rng.uniform(-0.05, 0.05)
        for i in range(9):
            y, s = 1.0 - i * 0.04, 1.0 - i * 0.07
            side = 0.018 * s * (1 if i % 2 else -1)
            pen.ellipse(x + i * step + side, y, 0.013 * s, 0.009 * s, shade(white, 0.84))
    for x, y, r in rng.uniform((0, 0, 0.004), (1, 1, 0.01), size=(46, 3)).tolist():
        pen.polygon([(x - r, y), (x, y - r), (x + r, y), (x, y + r)], (250, 252, 255))


@place("night", phrase="under a night sky", bare="night sky", horizon=0.76)
def night(pen: Pen, rng: np.random.Generator) -> None:
    """A deep blue sky full of stars with a moon, over dim hills with a few lit windows."""
    sky = jitter(pick(rng, ((26, 32, 78), (34, 30, 82), (22, 40, 76))), rng, 6)
    fade(pen, 0, 0.8, sky, shade(sky, 1.22), 20)
    horizon, tilt = rng.uniform(0.7, 0.76), rng.uniform(-0.5, 0.5)
    for x, u in rng.uniform((0, -1), (1, 1), size=(50, 2)).tolist():  # the milky way
        y = 0.32 + tilt * (x - 0.5) + 0.1 * u
        pen.polygon([(x - 0.035, y), (x, y - 0.014), (x + 0.035, y), (x, y + 0.014)], shade(sky, 1.14 + 0.1 * y))
    for x, y, r in rng.uniform((0, 0, 0.003), (1, 0.74, 0.009), size=(70, 3)).tolist():
        glow = pick(rng, ((236, 238, 250), (200, 208, 240), (246, 234, 206)))
        pen.polygon(
            [(x - r, y), (x - r / 4, y - r / 4), (x, y - r), (x + r / 4, y - r / 4), (x + r, y), (x, y + r)], glow
        )
    x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.22), rng.uniform(0.045, 0.065)
    pen.ellipse(x, y, r, r, (232, 228, 204))
    if rng.random() < 0.7:
        pen.ellipse(x + pick(rng, (-0.5, 0.5)) * r, y - 0.15 * r, r * 0.86, r * 0.86, shade(sky, 1.05))
    else:
        pen.ellipse(x - 0.3 * r, y - 0.2 * r, r * 0.22, r * 0.2, (208, 204, 184))
        pen.ellipse(x + 0.3 * r, y + 0.3 * r, r * 0.18, r * 0.16, (208, 204, 184))
    far = shade(sky, 1.3)
    ridge(pen, rng, horizon - 0.06, 0.05, mix(far, (60, 70, 90), 0.5))
    for x in rng.uniform(0, 1, size=int(rng.integers(2, 8))).tolist():
        y = horizon + rng.uniform(-0.03, 0.0)
        pen.rect(x, y, x + 0.012, y + 0.014, (226, 196, 120))
    if rng.random() < 0.6:
        for x in rng.uniform(0, 1, size=7).tolist():
            pine(pen, x, horizon + 0.02, rng.uniform(0.06, 0.14), shade(sky, 0.85), shade(sky, 1.0))
    ground = jitter(pick(rng, ((70, 84, 88), (78, 80, 98), (82, 88, 84))), rng, 6)
    ridge(pen, rng, horizon, 0.02, ground)
    tufts(pen, rng, 50, horizon + 0.04, 0.035, (shade(ground, 0.85), shade(ground, 1.1)))


@place("forest", phrase="in a forest", bare="forest", horizon=0.62)
def forest(pen: Pen, rng: np.random.Generator) -> None:
    """Rows of trunks or firs fading into green haze, leaves overhead, and a floor of moss, ferns and litter."""
    tone = daylight(rng)
    horizon, firs = rng.uniform(0.56, 0.62), rng.random() < 0.4
    haze = tone(pick(rng, ((168, 190, 152), (150, 182, 156), (180, 188, 146))))
    fade(pen, 0, horizon + 0.05, shade(haze, 0.84), shade(haze, 1.15), 10)
    for depth, count in ((0.3, 9), (0.55, 5 if firs else 7), (0.8, 4)):  # far to near
        trunk, leaf = mix(haze, tone((96, 82, 68)), depth), mix(haze, tone((68, 104, 70)), depth)
        foot = horizon - 0.04 + depth * 0.09
        for slot in range(count):
            x, w = (slot + rng.uniform(0.1, 0.9)) / count, (0.012 + 0.03 * depth) * rng.uniform(0.7, 1.2)
            if firs and depth < 0.8:
                pine(pen, x, foot, rng.uniform(0.34, 0.5) * (1.2 - depth * 0.7), leaf, shade(leaf, 1.16))
                continue
            bend = rng.uniform(-0.02, 0.02)
            pen.polygon([(x - w * 0.6 + bend, 0), (x + w * 0.6 + bend, 0), (x + w, foot), (x - w, foot)], trunk)
            pen.polygon([(x + bend, 0), (x + w * 0.6 + bend, 0), (x + w, foot), (x + w * 0.2, foot)], shade(trunk, 0.9))
    for x, y in rng.uniform((0, -0.02), (1, 0.2), size=(34, 2)).tolist():  # the canopy
        r, leaf = rng.uniform(0.03, 0.07), tone(pick(rng, ((84, 122, 78), (104, 140, 84), (70, 106, 76))))
        pen.polygon(
            [
                (x - r, y),
                (x - r * 0.3, y - r * 0.7),
                (x + r * 0.8, y - r * 0.5),
                (x + r, y + r * 0.3),
                (x, y + r * 0.7),
            ],
            leaf,
        )
    moss = tone(pick(rng, ((112, 128, 80), (130, 124, 86), (120, 112, 82))))
    ridge(pen, rng, horizon, 0.02, moss)
    speckle(
        pen,
        rng,
        80,
        horizon + 0.04,
        0.02,
        (shade(moss, 0.84), shade(moss, 1.14), tone((150, 122, 84)), shade(moss, 0.92)),
    )
    tufts(pen, rng, 46, horizon + 0.05, 0.05, (shade(moss, 0.78), tone((98, 130, 80)), shade(moss, 1.12)))
    for x, y, s in scatter(rng, int(rng.integers(4)), horizon + 0.08):  # toadstools
        pen.rect(x - 0.006 * s, y - 0.03 * s, x + 0.006 * s, y, (222, 214, 196))
        pen.polygon(
            [(x - 0.025 * s, y - 0.025 * s), (x, y - 0.055 * s), (x + 0.025 * s, y - 0.025 * s)], tone((176, 118, 92))
        )

"""Things with keys and screens."""

from __future__ import annotations

import numpy as np

from ..pen import PALETTE, RGB, Pen, jitter, shade
from ..registry import concept

_KEYS: RGB = (244, 244, 246)


@concept("keyboard", colours=("black", "white", "gray", "pink"), aspect=2.4, size=(0.5, 0.66), tilt=10)
def keyboard(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A long slab with four staggered rows of keys, a space bar and a few coloured keys, on a cable."""
    pen.curve([(0.5, 0.14), (0.52, 0.04), (0.6, 0.03), (0.66, 0.0)], 0.05, (60, 60, 64))
    pen.rect(0.0, 0.12, 1.0, 1.0, shade(body, 0.55), radius=0.08)
    pen.rect(0.012, 0.13, 0.988, 0.95, body, radius=0.07)
    key = _KEYS if body[0] < 120 else (70, 74, 84)
    accent = PALETTE[("red", "blue", "green", "yellow")[int(rng.integers(4))]]
    special = int(rng.integers(11))
    for row in range(4):
        for column in range(11):
            x, y = 0.04 + column * 0.083 + 0.012 * (row % 2), 0.2 + row * 0.17
            if row == 3 and 3 <= column <= 7:
                continue
            corner = (row, column) in ((0, 0), (2, 10))
            pen.rect(x, y, x + 0.066, y + 0.13, accent if corner or (row, column) == (1, special) else key, radius=0.01)
    pen.rect(0.3, 0.71, 0.69, 0.84, key, radius=0.02)


@concept("cell phone", colours=("black", "white", "red", "blue", "pink"), aspect=0.52, size=(0.42, 0.6), tilt=14)
def cell_phone(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An upright slab with a big lit screen of app icons, a camera dot, a speaker slit and a round home button."""
    pen.rect(0.0, 0.0, 1.0, 1.0, shade(body, 0.55), radius=0.16)
    pen.rect(0.03, 0.015, 0.97, 0.985, body, radius=0.14)
    screen = jitter(((64, 150, 220), (120, 90, 200), (40, 170, 160))[int(rng.integers(3))], rng)
    pen.rect(0.09, 0.13, 0.91, 0.84, (20, 20, 24))
    pen.rect(0.12, 0.145, 0.88, 0.825, screen)
    icons = [PALETTE[name] for name in ("red", "yellow", "green", "white", "purple", "pink")]
    for row in range(3):
        for column in range(3):
            x, y = 0.18 + column * 0.23, 0.24 + row * 0.15
            pen.rect(x, y, x + 0.17, y + 0.095, icons[int(rng.integers(6))], radius=0.04)
    pen.rect(0.16, 0.72, 0.84, 0.8, shade(screen, 1.5), radius=0.04)
    detail: RGB = (30, 30, 34) if body[0] > 120 else (190, 192, 196)
    pen.rect(0.36, 0.06, 0.64, 0.08, detail, radius=0.01)
    pen.ellipse(0.76, 0.07, 0.04, 0.02, detail)
    pen.ring(0.5, 0.915, 0.1, 0.05, 0.04, detail)


@concept("laptop", colours=("gray", "black", "white", "blue"), aspect=1.3, size=(0.44, 0.6), tilt=3)
def laptop(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An open laptop from the front: upright screen with windows on it, keyboard deck widening towards the viewer."""
    desk = jitter(((54, 110, 190), (30, 130, 120), (96, 70, 160))[int(rng.integers(3))], rng)
    pen.rect(0.12, 0.0, 0.88, 0.66, shade(body, 0.55), radius=0.04)
    pen.rect(0.14, 0.02, 0.86, 0.64, shade(body, 0.85), radius=0.03)
    pen.rect(0.18, 0.06, 0.82, 0.58, desk)
    wx = float(rng.uniform(0.22, 0.36))
    pen.rect(wx, 0.13, wx + 0.34, 0.45, (246, 246, 248))
    pen.rect(wx, 0.13, wx + 0.34, 0.19, PALETTE["yellow"])
    for y in (0.25, 0.31, 0.37):
        pen.rect(wx + 0.04, y, wx + 0.04 + float(rng.uniform(0.12, 0.26)), y + 0.025, (120, 124, 130))
    pen.polygon([(0.12, 0.66), (0.88, 0.66), (1.0, 0.93), (0.0, 0.93)], body)
    for row in range(3):
        y, inset = 0.69 + row * 0.055, 0.16 - row * 0.025
        pen.polygon(
            [(inset, y), (1 - inset, y), (1 - inset + 0.015, y + 0.04), (inset - 0.015, y + 0.04)], (48, 50, 56)
        )
    pen.polygon([(0.4, 0.86), (0.6, 0.86), (0.61, 0.92), (0.39, 0.92)], shade(body, 0.75))
    pen.rect(0.0, 0.93, 1.0, 1.0, shade(body, 0.5), radius=0.03)

"""Things that stand in a house."""

from __future__ import annotations

import numpy as np

from ..pen import PALETTE, RGB, Pen, arc, jitter, shade
from ..registry import concept


@concept("bed", colours=("blue", "red", "green", "purple", "pink"), aspect=1.45, size=(0.45, 0.64), tilt=3)
def bed(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A bed from the side: tall headboard, pillow, blanket in the body colour with a folded edge, short footboard."""
    wood = jitter((126, 84, 50), rng)
    head = float(rng.uniform(0.0, 0.12))
    pen.rect(0.0, head, 0.09, 1.0, shade(wood, 0.8), radius=0.03)
    pen.rect(0.91, 0.42, 1.0, 1.0, shade(wood, 0.8), radius=0.03)
    pen.rect(0.06, 0.68, 0.95, 0.84, wood)
    pen.rect(0.08, 0.48, 0.93, 0.7, (244, 242, 236), radius=0.05)
    pen.blob([(0.1, 0.44), (0.14, 0.3), (0.28, 0.27), (0.34, 0.38), (0.32, 0.48), (0.16, 0.5)], (252, 252, 250))
    pen.blob([(0.32, 0.5), (0.42, 0.34), (0.68, 0.31), (0.9, 0.38), (0.94, 0.56), (0.92, 0.78), (0.36, 0.78)], body)
    pen.polygon([(0.36, 0.4), (0.47, 0.34), (0.43, 0.78), (0.33, 0.78)], shade(body, 1.5))
    for x in rng.uniform(0.52, 0.86, size=3):
        pen.line([(float(x), 0.4), (float(x) + 0.02, 0.76)], 0.02, shade(body, 0.78))
    pen.rect(0.12, 0.84, 0.17, 0.99, shade(wood, 0.6))
    pen.rect(0.8, 0.84, 0.85, 0.99, shade(wood, 0.6))


@concept("toilet", colours=("white", "pink", "green", "blue"), aspect=0.78, tilt=3)
def toilet(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A toilet from the side: cistern with a button, raised lid, oval bowl on a narrow foot."""
    line, dark = shade(body, 0.55), shade(body, 0.82)
    pen.rect(0.0, 0.12, 0.34, 0.58, line, radius=0.05)
    pen.rect(0.02, 0.14, 0.32, 0.56, body, radius=0.04)
    pen.rect(0.0, 0.06, 0.36, 0.15, dark, radius=0.03)
    pen.rect(0.12, 0.01, 0.22, 0.07, (150, 154, 160), radius=0.02)
    lean = float(rng.uniform(0.0, 0.08))
    pen.polygon([(0.33, 0.5), (0.4, 0.5), (0.5 + lean, 0.04), (0.4 + lean, 0.02)], line)
    pen.blob([(0.3, 0.58), (0.98, 0.56), (0.94, 0.72), (0.7, 0.84), (0.42, 0.8), (0.28, 0.7)], line)
    pen.blob([(0.32, 0.59), (0.95, 0.58), (0.91, 0.71), (0.68, 0.81), (0.44, 0.78), (0.3, 0.69)], body)
    pen.ellipse(0.65, 0.55, 0.35, 0.075, line)
    pen.ellipse(0.65, 0.545, 0.33, 0.055, shade(body, 1.5))
    pen.ellipse(0.66, 0.55, 0.22, 0.03, (110, 160, 200))
    pen.polygon([(0.36, 0.74), (0.72, 0.76), (0.78, 1.0), (0.26, 1.0)], dark)
    pen.rect(0.22, 0.95, 0.82, 1.0, line, radius=0.02)


@concept("refrigerator", colours=("white", "gray", "red", "blue", "green"), aspect=0.52, size=(0.5, 0.66), tilt=2)
def refrigerator(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A tall fridge: freezer door above the main door, two long handles, feet, sometimes magnets and a note."""
    line = shade(body, 0.5)
    split = float(rng.uniform(0.3, 0.38))
    pen.rect(0.0, 0.0, 1.0, 0.96, line, radius=0.07)
    pen.rect(0.04, 0.02, 0.96, split - 0.015, body, radius=0.05)
    pen.rect(0.04, split + 0.015, 0.96, 0.93, body, radius=0.05)
    pen.rect(0.82, 0.04, 0.94, split - 0.04, shade(body, 0.84), radius=0.04)
    pen.rect(0.82, split + 0.04, 0.94, 0.91, shade(body, 0.84), radius=0.04)
    for top, bottom in ((split - 0.2, split - 0.05), (split + 0.06, split + 0.3)):
        pen.rect(0.1, top, 0.19, bottom, (72, 76, 84), radius=0.03)
    if rng.random() < 0.7:
        pen.rect(0.42, split + 0.1, 0.66, split + 0.22, (252, 244, 180))
        pen.ellipse(0.54, split + 0.1, 0.05, 0.025, PALETTE["red"])
    if rng.random() < 0.5:
        pen.ellipse(0.6, 0.13, 0.07, 0.035, PALETTE["yellow"])
        pen.ellipse(0.44, 0.2, 0.06, 0.03, PALETTE["green"])
    pen.rect(0.1, 0.95, 0.24, 1.0, (50, 50, 54))
    pen.rect(0.76, 0.95, 0.9, 1.0, (50, 50, 54))


@concept("microwave", colours=("white", "gray", "black", "red"), aspect=1.6, size=(0.42, 0.6), tilt=3, mirrors=False)
def microwave(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A wide box: dark window with a glowing plate on the left, a panel with a green clock and keys on the right."""
    line = shade(body, 0.5)
    pen.rect(0.0, 0.0, 1.0, 0.94, line, radius=0.06)
    pen.rect(0.025, 0.03, 0.975, 0.9, body, radius=0.05)
    pen.rect(0.06, 0.12, 0.66, 0.8, (30, 32, 36), radius=0.05)
    glow = jitter((240, 190, 80), rng) if rng.random() < 0.6 else (84, 88, 96)
    pen.rect(0.1, 0.19, 0.62, 0.73, shade(glow, 0.55), radius=0.05)
    pen.ellipse(0.36, 0.64, 0.2, 0.06, shade(glow, 1.3))
    pen.blob([(0.24, 0.6), (0.28, 0.44), (0.44, 0.44), (0.48, 0.6)], shade(glow, 1.7))
    pen.rect(0.675, 0.14, 0.71, 0.78, (170, 174, 180), radius=0.02)
    pen.rect(0.74, 0.1, 0.95, 0.27, (18, 36, 24))
    for x in (0.77, 0.81, 0.86, 0.9):
        pen.rect(x, 0.14, x + 0.025, 0.23, (90, 240, 130))
    for row in range(4):
        for column in range(3):
            x, y = 0.75 + column * 0.07, 0.34 + row * 0.13
            pen.rect(x, y, x + 0.05, y + 0.08, (200, 204, 208) if body[0] < 120 else (92, 96, 104))
    pen.rect(0.08, 0.93, 0.18, 1.0, (40, 40, 44))
    pen.rect(0.82, 0.93, 0.92, 1.0, (40, 40, 44))


@concept("toaster", colours=("red", "gray", "blue", "yellow", "green"), aspect=1.1, size=(0.36, 0.55), tilt=4)
def toaster(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A rounded box with two browned slices of bread standing out of the top, a lever and a dial."""
    crust, crumb = jitter((168, 104, 44), rng), jitter((232, 190, 120), rng)
    lift = float(rng.uniform(0.0, 0.1))
    for x in (0.16, 0.52):
        pen.rect(x, lift, x + 0.32, 0.55, crust, radius=0.1)
        pen.rect(x + 0.035, lift + 0.04, x + 0.285, 0.55, crumb, radius=0.08)
    pen.rect(0.02, 0.4, 0.94, 0.94, shade(body, 0.6), radius=0.2)
    pen.rect(0.05, 0.42, 0.91, 0.91, body, radius=0.18)
    pen.rect(0.12, 0.41, 0.84, 0.47, (40, 40, 44), radius=0.03)
    pen.rect(0.12, 0.52, 0.84, 0.58, shade(body, 1.5), radius=0.03)
    pen.rect(0.93, 0.5, 1.0, 0.6, (36, 36, 40), radius=0.03)
    pen.ellipse(0.74, 0.74, 0.085, 0.09, (230, 230, 232))
    pen.line([(0.74, 0.74), (0.78, 0.68)], 0.03, (40, 40, 44))
    for x in (0.2, 0.3, 0.4, 0.5):
        pen.line([(x, 0.66), (x, 0.82)], 0.025, shade(body, 0.7))
    pen.polygon(arc(0.48, 0.94, 0.42, 0.06, 0, 180), (44, 44, 48))

"""Animals."""

from __future__ import annotations

import math

import numpy as np

from ..pen import RGB, Pen, shade
from ..registry import concept


@concept("bear", colours=("brown", "black", "white"), aspect=1.3)
def bear(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A bear on four thick legs, humped back, low round head on the right with round ears and a light muzzle."""
    dark, step, nod = shade(body, 0.68), rng.uniform(-0.04, 0.05), rng.uniform(-0.02, 0.12)
    hump = rng.uniform(0.02, 0.1)
    for x in (0.2 - step, 0.6 + step):  # the far legs
        pen.rect(x, 0.6, x + 0.13, 0.97, dark, radius=0.05)
    back = [(0.02, 0.5), (0.1, 0.24), (0.33, 0.12), (0.58, hump), (0.8, 0.34)]
    pen.blob([*back, (0.72, 0.7), (0.35, 0.77), (0.08, 0.74)], body)
    for x in (0.05 + step, 0.5 - step):
        pen.rect(x, 0.55, x + 0.17, 1.0, body, radius=0.06)
        pen.rect(x + 0.03, 0.94, x + 0.2, 1.0, dark, radius=0.03)  # the paw
    for x, tone in ((0.91, dark), (0.7, body)):
        pen.ellipse(x, 0.13 + nod, 0.06, 0.08, tone)
        pen.ellipse(x, 0.14 + nod, 0.03, 0.045, shade(body, 0.5))
    pen.ellipse(0.8, 0.31 + nod, 0.17, 0.21, shade(body, 1.06))
    pen.ellipse(0.89, 0.39 + nod, 0.11, 0.115, shade(body, 1.45))
    pen.ellipse(0.97, 0.36 + nod, 0.035, 0.05, (20, 20, 20))
    for x in (0.77, 0.9):
        pen.ellipse(x, 0.25 + nod, 0.022, 0.03, (10, 10, 10))


@concept("giraffe", colours=("yellow", "brown", "white"), aspect=0.62)
def giraffe(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A giraffe facing right: very long patched neck, small horned head, sloping back, long thin legs."""
    spot = shade((132, 78, 30), rng.uniform(0.75, 1.05))
    if body[0] < 180:
        spot, body = shade(body, 0.42), shade(body, 1.16)
    dark = shade(body, 0.75)
    lean, step = rng.uniform(-0.08, 0.02), rng.uniform(-0.05, 0.06)
    for x, dx in ((0.22, -step), (0.6, step)):
        _leg(pen, x, 0.6, dx, 0.055, dark, spot)
    pen.curve([(0.08, 0.54), (0.02, 0.63), (0.05, 0.74)], 0.04, spot)  # the tail
    pen.line([(0.54, 0.46), (0.69 + lean, 0.07)], 0.07, spot)  # the mane
    pen.polygon([(0.44, 0.48), (0.64 + lean, 0.06), (0.77 + lean, 0.1), (0.7, 0.58)], body)
    pen.blob([(0.07, 0.56), (0.2, 0.49), (0.45, 0.45), (0.66, 0.46), (0.74, 0.57), (0.6, 0.69), (0.2, 0.68)], body)
    for x, dx in ((0.13, step), (0.67, -step)):
        _leg(pen, x, 0.58, dx, 0.07, body, spot)
    patches = [(0.15, 0.57), (0.29, 0.53), (0.31, 0.63), (0.45, 0.51), (0.47, 0.61), (0.62, 0.6), (0.16, 0.66)]
    for along, side in ((0.0, 0.03), (0.2, -0.06), (0.3, 0.07), (0.5, -0.04), (0.62, 0.06), (0.85, 0.01)):
        patches.append((0.56 + (lean + 0.13) * along + side, 0.5 - 0.36 * along))
    for x, y in patches:
        size, turn = rng.uniform(0.056, 0.074), rng.uniform(0, 6.3)
        corners = [(turn + 1.257 * k, size * rng.uniform(0.8, 1.15)) for k in range(5)]
        pen.polygon([(x + r * math.cos(a), y + 0.6 * r * math.sin(a)) for a, r in corners], spot)
    for x in (0.68, 0.76):  # the horns
        pen.line([(x + lean, 0.06), (x + lean - 0.02, 0.015)], 0.045, spot)
    pen.ellipse(0.6 + lean, 0.065, 0.07, 0.02, dark, 15)
    head = [(0.64, 0.06), (0.76, 0.04), (0.96, 0.1), (0.96, 0.14), (0.7, 0.13)]
    pen.blob([(x + lean, y) for x, y in head], body)
    pen.ellipse(0.95 + lean, 0.12, 0.045, 0.028, spot)
    pen.ellipse(0.77 + lean, 0.075, 0.025, 0.017, (15, 15, 15))


@concept("horse", colours=("brown", "black", "white", "gray"), aspect=1.15)
def horse(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A horse facing right: long head, arched neck with a mane, slim legs with hooves and a flowing tail."""
    dark, step, nod = shade(body, 0.7), rng.uniform(-0.07, 0.07), rng.uniform(0.0, 0.1)
    hair = (shade(body, 0.4), shade(body, 1.45), (45, 32, 26))[int(rng.integers(3))]
    hoof, swing = shade(body, 0.35), rng.uniform(0.0, 0.06)
    pen.blob([(0.12, 0.38), (0.03, 0.45), (swing, 0.8), (0.09, 0.72), (0.15, 0.5)], hair)  # the tail
    for x, dx in ((0.27, -step), (0.58, step + 0.04)):
        _leg(pen, x, 0.55, dx, 0.05, dark, hoof)
    pen.blob([(0.66, 0.4), (0.6, 0.22), (0.68, 0.06 + nod), (0.82, 0.01 + nod), (0.76, 0.3)], hair)  # the mane
    back = [(0.1, 0.45), (0.2, 0.35), (0.42, 0.38), (0.6, 0.34), (0.72, 0.48)]
    pen.blob([*back, (0.62, 0.65), (0.4, 0.67), (0.16, 0.63)], body)
    neck = [(0.55, 0.42), (0.68, 0.22 + nod / 2), (0.76, 0.05 + nod), (0.87, 0.14 + nod)]
    pen.blob([*neck, (0.81, 0.34), (0.7, 0.58)], body)
    for x, dx in ((0.17, step - 0.03), (0.65, -step)):
        _leg(pen, x, 0.53, dx, 0.065, body, hoof)
    pen.polygon([(0.75, 0.1 + nod), (0.77, 0.0 + nod), (0.83, 0.07 + nod)], body)  # the ear
    head = [(0.75, 0.08 + nod), (0.85, 0.06 + nod), (0.99, 0.26 + nod), (0.98, 0.34 + nod), (0.91, 0.35 + nod)]
    pen.blob([*head, (0.79, 0.25 + nod)], body)
    pen.ellipse(0.96, 0.31 + nod, 0.045, 0.045, shade(body, 0.55))
    if rng.random() < 0.4:
        pen.line([(0.85, 0.1 + nod), (0.94, 0.23 + nod)], 0.035, (240, 238, 230))  # a blaze
    pen.ellipse(0.845, 0.14 + nod, 0.02, 0.022, (12, 12, 12))
    if rng.random() < 0.35:  # a saddle
        leather = shade((120, 40, 36), rng.uniform(0.7, 1.3))
        pen.blob([(0.32, 0.37), (0.42, 0.33), (0.54, 0.36), (0.5, 0.55), (0.4, 0.55)], leather)


def _leg(pen: Pen, x: float, top: float, dx: float, width: float, tone: RGB, hoof: RGB) -> None:
    """A leg from (x, top) to the ground, its foot moved by dx, narrow below the knee."""
    knee, thin = (top + 1.1) / 2, width * 0.55
    foot = [(x + dx + thin, 1.0), (x + dx - thin, 1.0)]
    pen.polygon([(x - width, top), (x + width, top), (x + dx / 2 + thin, knee), *foot, (x + dx / 2 - thin, knee)], tone)
    pen.polygon([*foot, (x + dx - thin, 0.95), (x + dx + thin, 0.95)], hoof)

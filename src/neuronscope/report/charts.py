"""Plots as numbers for inline SVG, which takes the page's own colours, light or dark, and stays sharp in print.

Coordinates are SVG units, y downwards; a plot is `WIDTH` wide. What is drawn where, templates/charts.html says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..types import Neurons
from ..view.layers import layer_distribution
from .curves import Curve

WIDTH = 640.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 20.0, 40.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """A rectangle that stands for a number."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Layers:
    """Neurons per layer beside what uniform choice of as many would give.

    Attributes:
        bars: one per layer.
        expected: a path, one step per layer.
        x, y: ticks.
        bottom: where the bars stand; `height` of the whole plot.
    """

    bars: tuple[Bar, ...]
    expected: str
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    left: float
    right: float
    bottom: float
    height: float


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a threshold plot.

    Attributes:
        label: of the vertical axis.
        lines: (name, path), the sample's first.
        point: where the chosen threshold meets the first line; None where nothing was chosen.
        rule: height of a horizontal line, such as the accepted share; None for none.
    """

    label: str
    lines: tuple[tuple[str, str], ...]
    y: tuple[Tick, ...]
    top: float
    bottom: float
    point: tuple[float, float] | None
    rule: float | None


@dataclass(frozen=True)
class Thresholds:
    """Counts above every threshold, and below them the estimated share of false finds where there are controls."""

    panels: tuple[Panel, ...]
    x: tuple[Tick, ...]
    left: float
    right: float
    bottom: float
    height: float


def layers(neurons: Neurons, widths: Sequence[int], height: float = 210.0) -> Layers:
    """The plot of a set in a model whose layers have so many neurons."""
    found = layer_distribution(neurons, widths)
    counts, expected = found.counts.tolist(), found.expected.tolist()
    top = max(1.0, max(counts, default=0), max(expected, default=0))
    bottom, step = height - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / max(1, len(widths))

    def up(value: float) -> float:
        return round(bottom - value / top * (bottom - _TOP), 2)

    bars = tuple(
        Bar(
            round(_LEFT + (k + 0.12) * step, 2),
            up(count),
            round(0.76 * step, 2),
            round(bottom - up(count), 2),
            f"layer {k}: {count} neurons, {expected[k]:.1f} by uniform choice",
        )
        for k, count in enumerate(counts)
    )
    path = " ".join(
        f"{'M' if k == 0 else 'L'}{_LEFT + k * step:.1f} {up(value)}H{_LEFT + (k + 1) * step:.1f}"
        for k, value in enumerate(expected)
    )
    every = max(1, math.ceil(len(widths) / 16))
    x = tuple(Tick(round(_LEFT + (k + 0.5) * step, 2), str(k)) for k in range(0, len(widths), every))
    y = tuple(Tick(up(value), f"{value:g}") for value in _nice(top))
    return Layers(bars, path, x, y, _LEFT, WIDTH - _RIGHT, bottom, height)


def thresholds(curve: Curve) -> Thresholds:
    """The plot of a curve: the sample's count, the mean of the controls, and the chosen threshold."""
    far = max(curve.thresholds[-1], 1e-12)

    def across(value: float) -> float:
        return round(_LEFT + value / far * (WIDTH - _LEFT - _RIGHT), 2)

    most = max(1, max(curve.accepted))
    decades = math.log10(1 + most)
    counts_bottom = 190.0

    def up(value: float) -> float:
        return round(counts_bottom - math.log10(1 + value) / decades * (counts_bottom - _TOP), 2)

    lines = [("this sample", _path(curve.thresholds, curve.accepted, across, up))]
    if curve.decoys:
        lines.append(("mean of the controls", _path(curve.thresholds, curve.decoys, across, up)))
    count_ticks = tuple(Tick(up(v), f"{v:,}") for v in (0, *(10**k for k in range(7) if 10**k <= most)))
    where = _chosen(curve)
    panels = [
        Panel(
            "neurons above",
            tuple(lines),
            count_ticks,
            _TOP,
            counts_bottom,
            None if where is None else (across(curve.thresholds[where]), up(curve.accepted[where])),
            None,
        )
    ]
    bottom = counts_bottom
    if curve.decoys:
        panels.append(_share_panel(curve, across, where, counts_bottom + 30.0))
        bottom = panels[-1].bottom
    x = tuple(Tick(across(value), f"{value:g}") for value in _nice(far))
    return Thresholds(tuple(panels), x, _LEFT, WIDTH - _RIGHT, bottom, bottom + _BOTTOM)


def _share_panel(curve: Curve, across: Callable[[float], float], where: int | None, top: float) -> Panel:
    bottom = top + 110.0

    def up(value: float) -> float:
        return round(bottom - value * (bottom - top), 2)

    return Panel(
        "false share",
        (("estimated share of false finds", _path(curve.thresholds, curve.share, across, up)),),
        tuple(Tick(up(value), f"{value:g}") for value in (0, 0.5, 1)),
        top,
        bottom,
        None if where is None else (across(curve.thresholds[where]), up(curve.share[where])),
        None if curve.q is None else up(curve.q),
    )


def _chosen(curve: Curve) -> int | None:
    if curve.chosen is None:
        return None
    wanted = max(curve.chosen, 0.0)
    return min(range(len(curve.thresholds)), key=lambda k: abs(curve.thresholds[k] - wanted))


def _path(
    x: Sequence[float], y: Sequence[float], across: Callable[[float], float], up: Callable[[float], float]
) -> str:
    """Steps: counts stay as they are until the next score."""
    parts = [f"M{across(x[0])} {up(y[0])}"]
    parts += [f"H{across(a)}V{up(b)}" for a, b in zip(x[1:], y[1:], strict=True)]
    return "".join(parts)


def _nice(top: float) -> list[float]:
    """At most six round numbers from 0 to `top`."""
    raw = top / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    if top >= 5:
        step = max(1.0, step)
    return [round(k * step, 10) for k in range(int(top / step + 1e-9) + 1)]

"""A neuron's activations as a histogram for inline SVG, beside those of its layer; units as in charts.py."""

from __future__ import annotations

from dataclasses import dataclass

from ..index.bins import BINS, SIDE, lower_edge
from ..index.profile import Profile, bin_text
from .charts import WIDTH, Bar, Tick

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 52.0, 12.0, 20.0, 40.0, 230.0
#: Shares below this are too small to be seen, and do not widen the plot.
_SEEN = 1e-4


@dataclass(frozen=True)
class Histogram:
    """Shares of activations by bin: bars of the neuron, a line for its layer, and where it begins to be active."""

    bars: tuple[Bar, ...]
    layer: str
    threshold: float
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    left: float
    right: float
    top: float
    bottom: float
    height: float


def histogram(profile: Profile) -> Histogram:
    """The plot of one neuron."""
    both = [max(pair) for pair in zip(profile.histogram, profile.layer, strict=True)]
    active = next((k for k in range(SIDE + 1, BINS) if lower_edge(k) >= profile.threshold), BINS - 1)
    seen = [k for k, share in enumerate(both) if share >= _SEEN or profile.histogram[k]] + [active, SIDE]
    first, last = max(0, min(seen) - 1), min(BINS - 1, max(seen) + 1)
    step = (WIDTH - _LEFT - _RIGHT) / (last - first + 1)
    most = max(both)
    bottom = _HEIGHT - _BOTTOM

    def across(place: int) -> float:
        return round(_LEFT + (place - first) * step, 2)

    def up(share: float) -> float:
        return round(bottom - share / most * (bottom - _TOP), 2)

    bars = tuple(
        Bar(
            across(k),
            up(share),
            round(0.9 * step, 2),
            round(bottom - up(share), 2),
            f"{bin_text(k)}: {share:.2%} of its activations, {profile.layer[k]:.2%} of its layer's",
        )
        for k in range(first, last + 1)
        if (share := profile.histogram[k])
    )
    line = " ".join(
        f"{'M' if k == first else 'L'}{across(k)} {up(profile.layer[k])}H{across(k + 1)}"
        for k in range(first, last + 1)
    )
    y = tuple(Tick(up(most * part / 4), f"{most * part / 4:.1%}") for part in range(0, 5, 2))
    return Histogram(
        bars, line, across(active), _ticks(first, last, step), y, _LEFT, WIDTH - _RIGHT, _TOP, bottom, _HEIGHT
    )


def _ticks(first: int, last: int, step: float) -> tuple[Tick, ...]:
    """Zero, and powers of four as far as their texts have room."""
    each = max(4, 4 * round(46 / (4 * step) + 0.5))  # four bins are a factor of four

    def tick(place: int, text: str, shift: float) -> Tick:
        return Tick(round(_LEFT + (place - first + shift) * step, 2), text)

    found = [tick(SIDE, "0", 0.5)]
    for distance in range(1, SIDE + 1):
        if (distance + 3) % each or distance * step < 60:
            continue
        text = f"{lower_edge(SIDE + distance):.2g}"
        if SIDE + distance <= last:
            found.append(tick(SIDE + distance, text, 0))
        if SIDE - distance >= first:
            found.append(tick(SIDE - distance, f"-{text}", 1))
    return tuple(found)

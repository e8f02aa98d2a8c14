"""The figures of an evaluation, as PNG and SVG (Sato & Takagi, Fig. 2, and what METHODS G4 adds).

All are drawn without a display, in colours that differ for colour-blind readers too (Okabe & Ito), and marked by shape
as well. The same numbers give the same bytes. Random controls are grey and hollow throughout.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import InvalidOption
from ..files import replacing
from ..types import Neuron, Neurons
from .layers import LayerDistribution

#: The PNG and the SVG.
Written: TypeAlias = tuple[Path, Path]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY, _LIGHT = "#6F6F6F", "#BBBBBB"
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "svg.hashsalt": "neuronscope",
}
#: What would say when, or by which version, a figure was drawn.
_METADATA: Mapping[str, Mapping[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


class Interval(Protocol):
    """A number with the ends of its interval."""

    @property
    def value(self) -> float:
        """The number."""
        ...

    @property
    def low(self) -> float:
        """Lower end."""
        ...

    @property
    def high(self) -> float:
        """Upper end."""
        ...


@dataclass(frozen=True)
class LayerCounts:
    """Neurons per layer over all sets of a method.

    Attributes:
        unique: different neurons, for each layer.
        weighted: neurons, each as often as sets have it.
    """

    unique: Sequence[int]
    weighted: Sequence[int]

    @classmethod
    def of(cls, sets: Iterable[Neurons], layers: int) -> LayerCounts:
        """Count the neurons of some sets in a model with so many layers."""
        members = [neuron for neurons in sets for neuron in neurons]
        return cls(_per_layer(set(members), layers), _per_layer(members, layers))


def _per_layer(neurons: Iterable[Neuron], layers: int) -> tuple[int, ...]:
    found = Counter(neuron.layer for neuron in neurons)
    return tuple(found[layer] for layer in range(layers))


def layer_distribution(counts: Sequence[int], widths: Sequence[int]) -> LayerDistribution:
    """Counts per layer beside what as many neurons would give that are chosen uniformly."""
    found = np.asarray(counts, dtype=np.int64)
    return LayerDistribution(found, found.sum() * np.asarray(widths, dtype=np.float64) / sum(widths))


@dataclass(frozen=True)
class LevelPoint:
    """The scores of a method at one noise level."""

    level: float
    s_se: Interval
    s_re: Interval


@dataclass(frozen=True)
class SweepPoint:
    """What one value of a threshold leads to.

    Attributes:
        threshold: the value, in units of the option.
        n_neurons: mean size of the sets.
        s_se, s_re, j: the scores.
    """

    threshold: float
    n_neurons: float
    s_se: float
    s_re: float
    j: float


@dataclass(frozen=True)
class Curves:
    """What moves with one setting.

    Attributes:
        scores: name -> (value of the setting, number with its interval), in ascending order.
        sizes: the same of the sets' sizes.
        log: whether the setting's axis is logarithmic.
    """

    scores: Mapping[str, Sequence[tuple[float, Interval]]]
    sizes: Sequence[tuple[float, Interval]]
    log: bool = False


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure."""

    colour: str
    marker: str
    filled: bool = True

    @property
    def face(self) -> str:
        """The inside of markers."""
        return self.colour if self.filled else "white"


def styles(methods: Sequence[str], controls: Iterable[str] = ()) -> dict[str, Style]:
    """One style per method, by its place in the list; grey and hollow for random controls."""
    random = set(controls)
    found: dict[str, Style] = {}
    for k, method in enumerate(name for name in methods if name not in random):
        turn = k // len(_COLOURS)  # the second round has the same colours and other markers
        found[method] = Style(_COLOURS[k % len(_COLOURS)], _MARKERS[(k + turn) % len(_MARKERS)])
    for k, method in enumerate(name for name in methods if name in random):
        found[method] = Style(_GREY, _MARKERS[k % len(_MARKERS)], filled=False)
    return {method: found[method] for method in methods}


def plot_layer_counts(counts: Mapping[str, LayerCounts], path: str | Path) -> Written:
    """Neurons per layer: all of them, and in front of them the different ones. One panel per method, the same axes.

    Every function of this module writes `path` with the suffixes .png and .svg, returns both, and raises InvalidOption
    where it is given nothing to draw.
    """

    def draw(axes: Any, found: LayerCounts) -> None:
        layers = np.arange(len(found.unique))
        axes.bar(layers, found.weighted, 0.8, color="#9CC9E6", label="in all sets")
        axes.bar(layers, found.unique, 0.4, color=_COLOURS[0], label="different neurons")

    return _layer_panels(counts, draw, "neurons", path)


def plot_layer_ratios(counts: Mapping[str, LayerCounts], widths: Sequence[int], path: str | Path) -> Written:
    """Neurons per layer over the number that uniform choice of as many would give. Panels as in plot_layer_counts."""

    def draw(axes: Any, found: LayerCounts) -> None:
        axes.bar(
            np.arange(len(found.unique)),
            layer_distribution(found.weighted, widths).ratio,
            0.8,
            color="#9CC9E6",
            label="in all sets",
        )
        axes.axhline(1, color=_COLOURS[1], linestyle="--", linewidth=1.2, label="uniform choice")

    return _layer_panels(counts, draw, "neurons / expected", path)


def _layer_panels(
    counts: Mapping[str, LayerCounts], draw: Callable[[Any, LayerCounts], None], label: str, path: str | Path
) -> Written:
    _something("methods", counts)
    columns = min(2, len(counts))
    rows = math.ceil(len(counts) / columns)
    with _figure((3.6 * columns, 1.9 * rows + 0.5)) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (method, found) in zip(panels.flat, counts.items(), strict=False):
            draw(axes, found)
            axes.set_title(_lines(method if sum(found.weighted) else f"{method} (no neurons)"))
            axes.tick_params(labelbottom=True)
        for axes in panels.flat[len(counts) :]:
            axes.set_visible(False)
        _whole_numbers(panels[0, 0].xaxis)
        panels[0, 0].set_xlim(-0.7, max(len(found.unique) for found in counts.values()) - 0.3)
        panels[0, 0].set_ylim(bottom=0)
        figure.supxlabel("decoder layer, from 0", fontsize=9)
        figure.supylabel(label, fontsize=9)
        _legend_above(figure, panels[0, 0])
        return _save(figure, path)


def plot_levels(
    curves: Mapping[str, Sequence[LevelPoint]], style: Mapping[str, Style], unit: str, path: str | Path
) -> Written:
    """S_se and S_re against the noise level, with intervals. `unit` is what levels count in."""
    _something("curves", curves)
    levels = sorted({point.level for curve in curves.values() for point in curve})
    with _figure((7.2, 3.4)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name, title in zip(panels, ("s_se", "s_re"), _SCORES, strict=True):
            for k, (method, curve) in enumerate(curves.items()):
                # Levels are evenly spaced, and methods stand side by side, so that intervals do not cover each other.
                shift = 0.4 * ((k + 0.5) / len(curves) - 0.5)
                places = [levels.index(point.level) + shift for point in curve]
                _points(axes, places, [getattr(point, name) for point in curve], style[method], method)
            axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
            axes.set_xlim(-0.5, len(levels) - 0.5)
            axes.set_ylabel(title)
            axes.tick_params(labelleft=True)
            axes.set_ylim(-0.03, 1.03)
        figure.supxlabel(f"noise level, {unit}", fontsize=9)
        _legend_above(figure, panels[0])
        return _save(figure, path)


_SCORES = ("S_se, share of own concept removed", "S_re, share of other concepts kept")


def _points(axes: Any, x: Sequence[float], found: Sequence[Interval], style: Style, label: str) -> None:
    values = np.array([one.value for one in found])
    arms = np.array([[max(0.0, one.value - one.low), max(0.0, one.high - one.value)] for one in found]).T
    axes.errorbar(
        x,
        values,
        yerr=arms,
        label=label,
        color=style.colour,
        marker=style.marker,
        markerfacecolor=style.face,
        linewidth=1.2,
        linestyle="-" if style.filled else "--",
        elinewidth=1,
        capsize=2.5,
        markersize=5,
    )


def plot_sweeps(sweeps: Mapping[str, Sequence[SweepPoint]], path: str | Path) -> Written:
    """Scores, and below them the size of the sets, against a threshold. One column per option."""
    _something("sweeps", sweeps)
    with _figure((3.4 * len(sweeps) + 0.4, 4.2)) as figure:
        panels = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False, height_ratios=(2, 1))
        for (scores, sizes), (name, points) in zip(panels.T, sweeps.items(), strict=True):
            _sweep(scores, sizes, sorted(points, key=lambda point: point.threshold))
            scores.set_title(name)
            sizes.set_xlabel("threshold")
        panels[0, 0].set_ylabel("score")
        panels[1, 0].set_ylabel("neurons per set")
        panels[1, 0].set_ylim(bottom=0)
        _legend_above(figure, panels[0, 0])
        return _save(figure, path)


def _sweep(scores: Any, sizes: Any, points: Sequence[SweepPoint]) -> None:
    places = [point.threshold for point in points]
    for k, (name, label) in enumerate((("s_se", "S_se"), ("s_re", "S_re"), ("j", "J = S_se + S_re - 1"))):
        values = [getattr(point, name) for point in points]
        line = "--" if name == "j" else "-"
        scores.plot(places, values, line, color=_COLOURS[k], marker=_MARKERS[k], markersize=4.5, label=label)
    scores.set_ylim(min(0.0, *(point.j for point in points)) - 0.05, 1.05)
    sizes.plot(places, [point.n_neurons for point in points], "-", color=_GREY, marker="o", markersize=4)


def plot_curves(found: Mapping[str, Curves], path: str | Path) -> Written:
    """Scores between 0 and 1, and below them the size of the sets, with intervals. One column per setting."""
    _something("curves", found)
    with _figure((2.6 * len(found) + 0.4, 4.2)) as figure:
        panels = figure.subplots(2, len(found), sharex="col", sharey="row", squeeze=False, height_ratios=(2, 1))
        for (scores, sizes), (name, one) in zip(panels.T, found.items(), strict=True):
            for k, (score, points) in enumerate(one.scores.items()):
                _band(scores, points, Style(_COLOURS[k], _MARKERS[k]), score)
            _band(sizes, one.sizes, Style(_GREY, "o"), "neurons")
            scores.set_ylim(-0.05, 1.05)
            scores.set_title(name, fontsize=8)
            sizes.set_yscale("symlog", linthresh=1)
            sizes.set_ylim(bottom=0)
            if one.log:
                sizes.set_xscale("log")
        panels[0, 0].set_ylabel("score")
        panels[1, 0].set_ylabel("neurons per set")
        _legend_above(figure, panels[0, 0])
        return _save(figure, path)


def _band(axes: Any, points: Sequence[tuple[float, Interval]], style: Style, label: str) -> None:
    places = [place for place, _ in points]
    axes.plot(places, [one.value for _, one in points], color=style.colour, marker=style.marker, ms=4, label=label)
    axes.fill_between(
        places, [one.low for _, one in points], [one.high for _, one in points], color=style.colour, alpha=0.15, lw=0
    )


def plot_ranking(
    found: Mapping[str, Interval],
    style: Mapping[str, Style],
    label: str,
    path: str | Path,
    *,
    limits: tuple[float, float] | None = None,
    reference: str | None = None,
) -> Written:
    """One number per method with its interval, the largest on top.

    Args:
        found: the numbers.
        style: from :func:`styles`.
        label: what the numbers are.
        path: where to.
        limits: of the axis.
        reference: what 0 means, to mark it.
    """
    _something("numbers", found)
    order = sorted(found.items(), key=lambda item: item[1].value)
    with _figure((6.4, 0.32 * len(order) + 1.1)) as figure:
        axes = figure.add_subplot()
        for row, (method, one) in enumerate(order):
            look = style[method]
            arms = [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]
            shape = {"marker": look.marker, "markerfacecolor": look.face, "markersize": 6}
            axes.errorbar([one.value], [row], xerr=arms, color=look.colour, capsize=3, elinewidth=1.4, **shape)
        names = [method if style[method].filled else f"{method} (control)" for method, _ in order]
        axes.set_yticks(range(len(order)), names)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
        axes.set_axisbelow(True)
        if limits is not None:
            axes.set_xlim(*limits)
        if reference is not None:
            axes.axvline(0, color=_LIGHT, linewidth=1.2, zorder=0.5)
            axes.annotate(reference, (0, 1), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points")
        axes.set_xlabel(label)
        return _save(figure, path)


@contextmanager
def _figure(size: tuple[float, float]) -> Generator[Any]:
    """A figure of some inches; this module's settings hold until it is written."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure: Any = Figure(figsize=size, dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _save(figure: Any, path: str | Path) -> Written:
    written = [Path(path).with_name(f"{Path(path).name}.{kind}") for kind in _METADATA]
    for target, metadata in zip(written, _METADATA.values(), strict=True):
        with replacing(target) as temporary:
            figure.savefig(temporary, metadata=dict(metadata))
        figure.set_layout_engine("none")  # the other file has the layout of the first
    return written[0], written[1]


def _something(argument: str, given: Mapping[str, Any]) -> None:
    if not given:
        raise InvalidOption(f"{argument} is empty: there is nothing to draw")


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def _lines(method: str, width: int = 46) -> str:
    """A method's name, broken behind commas and spaces where its options make it wider than half a figure."""
    return method if len(method) <= width else textwrap.fill(method.replace(",", ", "), width, break_on_hyphens=False)


def _legend_above(figure: Any, axes: Any) -> None:
    """One legend for all panels, above them, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 3), fontsize=8)

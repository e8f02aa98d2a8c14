"""The figures of a discovery run, as PNG and SVG (Pan et al., Fig. 2 to 5).

Drawn as all others are, see :mod:`.figures`: without a display, the same numbers giving the same bytes, random controls
grey and hollow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption
from ...view.figures import Interval, Style, Written, styles
from ...view.figures import _figure as drawing  # pyright: ignore[reportPrivateUsage]  (one style for all figures)
from ...view.figures import _legend_above as legend_above  # pyright: ignore[reportPrivateUsage]
from ...view.figures import _save as save_figure  # pyright: ignore[reportPrivateUsage]
from ...view.figures import _whole_numbers as whole_numbers  # pyright: ignore[reportPrivateUsage]


def plot_layer_sizes(layers: Mapping[int, Sequence[int]], path: str | Path) -> Written:
    """Different neurons of each layer among the k best of every noun, one line for each k (Pan et al., Fig. 2).

    Every function of this module writes `path` with the suffixes .png and .svg, returns both, and raises InvalidOption
    where it is given nothing to draw.
    """
    if not any(map(sum, layers.values())):
        raise InvalidOption("layers holds no neurons: there is nothing to draw")
    look = styles([f"k = {k}" for k in layers])
    with drawing((4.8, 3.4)) as figure:
        axes = figure.add_subplot()
        for (name, style), counts in zip(look.items(), layers.values(), strict=True):
            axes.plot(range(len(counts)), counts, color=style.colour, marker=style.marker, markersize=4, label=name)
        axes.set_yscale("symlog", linthresh=1)  # from a handful of neurons to thousands, and layers without any
        axes.set_ylim(bottom=0)
        whole_numbers(axes.xaxis)
        axes.set_xlabel("decoder layer, from 0")
        axes.set_ylabel("different neurons")
        legend_above(figure, axes)
        return save_figure(figure, path)


def plot_sizes(
    curves: Mapping[str, Mapping[int, Interval]], style: Mapping[str, Style], label: str, path: str | Path
) -> Written:
    """One number against the size k of the sets, with intervals; the axis of k is logarithmic."""
    if not any(curves.values()):
        raise InvalidOption("curves is empty: there is nothing to draw")
    with drawing((4.6, 3.4)) as figure:
        axes = figure.add_subplot()
        for name, curve in curves.items():
            _line(axes, sorted(curve.items()), style[name], name)
        axes.set_xscale("log")
        sizes = sorted({k for curve in curves.values() for k in curve})
        axes.set_xticks(sizes, [str(k) for k in sizes])
        axes.minorticks_off()
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("neurons of each set, k")
        axes.set_ylabel(label)
        legend_above(figure, axes)
        return save_figure(figure, path)


def _line(axes: Any, points: Sequence[tuple[int, Interval]], style: Style, label: str) -> None:
    arms = np.array([[max(0.0, one.value - one.low), max(0.0, one.high - one.value)] for _, one in points]).T
    axes.errorbar(
        [k for k, _ in points],
        [one.value for _, one in points],
        yerr=arms,
        label=label,
        color=style.colour,
        marker=style.marker,
        markerfacecolor=style.face,
        linestyle="-" if style.filled else "--",
        linewidth=1.2,
        capsize=2.5,
        markersize=5,
    )


def plot_groups(
    groups: Mapping[str, Mapping[str, Interval]], style: Mapping[str, Style], label: str, path: str | Path
) -> Written:
    """Numbers side by side with intervals: one group for each measure, in it one point for each set of neurons."""
    if not any(groups.values()):
        raise InvalidOption("groups is empty: there is nothing to draw")
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    with drawing((1.9 * len(groups) + 1.4, 3.0)) as figure:
        axes = figure.add_subplot()
        for n, name in enumerate(names):
            shift = 0.5 * ((n + 0.5) / len(names) - 0.5)
            for place, group in enumerate(groups.values()):
                if name in group:
                    one, look = group[name], style[name]
                    arms = [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]
                    shape = {"marker": look.marker, "markerfacecolor": look.face, "markersize": 6, "linestyle": "none"}
                    first = next(k for k, other in enumerate(groups.values()) if name in other) == place
                    axes.errorbar(
                        [place + shift],
                        [one.value],
                        yerr=arms,
                        color=look.colour,
                        capsize=3,
                        label=name if first else None,
                        **shape,
                    )
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.axhline(0, color="#BBBBBB", linewidth=1, zorder=0.5)
        axes.set_ylabel(label)
        legend_above(figure, axes)
        return save_figure(figure, path)


def plot_matrix(matrix: Float[np.ndarray, "n n"], names: Sequence[str], path: str | Path) -> Written:
    """A normalised specificity matrix: rows are the concepts' best neurons, columns what they contribute to."""
    if not len(names) or matrix.shape != (len(names), len(names)):
        raise InvalidOption(f"a matrix of shape {matrix.shape} has no place for {len(names)} names")
    side = 0.19 * len(names) + 2.2
    with drawing((side + 0.7, side)) as figure:
        axes = figure.add_subplot()
        shown = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlabel("contribution to the noun")
        axes.set_ylabel("best neuron of")
        figure.colorbar(shown, ax=axes, shrink=0.8, label="of the row's largest")
        return save_figure(figure, path)

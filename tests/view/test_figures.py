"""Figures hold the numbers they are given, are not blank, not cut off, and the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.view import figures
from neuronscope.view.figures import (
    Curves,
    LayerCounts,
    LevelPoint,
    SweepPoint,
    layer_distribution,
    plot_curves,
    plot_layer_counts,
    plot_layer_ratios,
    plot_levels,
    plot_ranking,
    plot_sweeps,
    styles,
)

WIDTHS = (10, 10, 20, 20)
COUNTS = {"two-stage": LayerCounts((2, 0, 0, 1), (4, 0, 0, 2)), "pan": LayerCounts((0,) * 4, (0,) * 4)}
LONG = "two-stage:activation=decoy-0.1,gradient=decoy-0.1,site=act"


class Value(NamedTuple):
    value: float
    low: float
    high: float


CURVES = {
    LONG: [LevelPoint(8, Value(0.2, 0.1, 0.4), Value(0.9, 0.8, 1.0)), LevelPoint(1, Value(0, 0, 0), Value(1, 1, 1))],
    "random": [LevelPoint(8, Value(0.1, 0.0, 0.3), Value(0.9, 0.7, 1.0))],
}
POINTS = [SweepPoint(2.0, 10, 0.5, 0.9, 0.4), SweepPoint(0.5, 40, 0.8, 0.1, -0.1)]
MOVING = Curves(
    {"precision": [(0.5, Value(0.8, 0.7, 0.9)), (2.0, Value(0.5, 0.1, 0.6))]},
    [(0.5, Value(40, 30, 50)), (2.0, Value(10, 5, 20))],
)
RANKING = {"random": Value(0.0, -0.1, 0.1), LONG: Value(0.5, 0.4, 0.7)}
LOOKS = styles([LONG, "random"], {"random"})

PLOTS: dict[str, Callable[[Path], Any]] = {
    "counts": lambda path: plot_layer_counts({**COUNTS, LONG: COUNTS["pan"]}, path),  # one of four panels is hidden
    "ratios": lambda path: plot_layer_ratios({LONG: COUNTS["two-stage"], "a": COUNTS["pan"]}, WIDTHS, path),
    "levels": lambda path: plot_levels(CURVES, LOOKS, "median activation differences of the two-stage set", path),
    "sweeps": lambda path: plot_sweeps({"activation": POINTS}, path),
    "curves": lambda path: plot_curves({"q": MOVING}, path),
    "ranking": lambda path: plot_ranking(RANKING, LOOKS, "J", path, reference="no effect"),
}
each_plot = pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that would be saved; writing them takes most of the time, and `plotted` does it."""
    seen: list[Any] = []
    monkeypatch.setattr(figures, "_save", lambda figure, _path: seen.append(figure))
    return seen


class Plotted(NamedTuple):
    """A plot that was drawn: how, its figure, and its two files."""

    draw: Callable[[Path], Any]
    figure: Any
    png: Path
    svg: Path


@pytest.fixture(scope="module", params=PLOTS)
def plotted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plotted:
    """Every plot, drawn once for the tests that only look at it."""
    draw, seen, save = PLOTS[request.param], list[Any](), figures._save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_save", lambda figure, path: seen.append(figure) or save(figure, path))
        png, svg = draw(tmp_path_factory.mktemp("plot") / "some.figure")
    return Plotted(draw, seen[0], png, svg)


def test_both_files_are_pictures(plotted: Plotted):
    png, svg = plotted.png, plotted.svg
    assert (png.name, svg.name) == ("some.figure.png", "some.figure.svg")
    pixels = np.asarray(Image.open(png).convert("RGB"))
    assert pixels.shape[0] > 150
    assert pixels.shape[1] > 400
    ink = (pixels != 255).any(2)
    assert 0.005 < ink.mean() < 0.5
    assert len(np.unique(pixels[ink], axis=0)) > 20
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert sorted(path.name for path in png.parent.iterdir()) == [png.name, svg.name]


def test_the_same_numbers_give_the_same_bytes(plotted: Plotted, tmp_path: Path):
    first, second = (plotted.png, plotted.svg), plotted.draw(tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[1].read_bytes()


def test_nothing_is_cut_off(plotted: Plotted):
    box, frame = plotted.figure.get_tightbbox(), plotted.figure.bbox_inches
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= frame.width
    assert box.y1 <= frame.height


@each_plot
def test_a_failure_leaves_the_old_file_and_no_other(
    plot: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_self: Any, path: Path, **_more: Any) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("out of memory")

    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        plot(tmp_path / "a")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_a_neuron_of_two_sets_is_two_by_weight_and_one_by_kind():
    sets = [ns.Neurons.of([(0, 1), (2, 0)]), ns.Neurons.of([(0, 1), (0, 2)]), ns.Neurons(())]
    assert LayerCounts.of(sets, 4) == LayerCounts((2, 0, 1, 0), (3, 0, 1, 0))


def test_expected_under_uniform_choice():
    """6 neurons over widths 10, 10, 20, 20: expected 1, 1, 2, 2."""
    found = layer_distribution((4, 0, 0, 2), WIDTHS)
    np.testing.assert_allclose(found.expected, [1, 1, 2, 2])
    np.testing.assert_allclose(found.ratio, [4, 0, 0, 1])
    assert not layer_distribution((0, 0, 0, 0), WIDTHS).ratio.any()


def test_layer_panels_hold_the_counts_on_the_same_axes(tmp_path: Path, drawn: list[Any]):
    plot_layer_counts(COUNTS, tmp_path / "a")
    plot_layer_ratios(COUNTS, WIDTHS, tmp_path / "b")
    counts, ratios = (figure.axes for figure in drawn)
    assert heights(counts[0]) == [4, 0, 0, 2, 2, 0, 0, 1]
    assert heights(ratios[0]) == [4, 0, 0, 1]
    assert [axes.get_title() for axes in counts] == ["two-stage", "pan (no neurons)"]
    assert counts[0].get_ylim() == counts[1].get_ylim()
    assert counts[0].get_ylim()[1] >= 4


def heights(axes: Any) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


@pytest.mark.parametrize("methods", [1, 3, 9])
def test_any_number_of_methods(methods: int, tmp_path: Path, drawn: list[Any]):
    plot_layer_counts({f"m{k}": COUNTS["two-stage"] for k in range(methods)}, tmp_path / "a")
    assert sum(axes.get_visible() for axes in drawn[0].axes) == methods


def test_levels_are_in_order_and_shown_with_their_intervals(tmp_path: Path, drawn: list[Any]):
    plot_levels(CURVES, LOOKS, "units", tmp_path / "a")
    left, right = drawn[0].axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["1", "8"]
    line, _, (bars,) = left.containers[0]
    assert line.get_ydata().tolist() == [0.2, 0]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.1, 0.4], [0, 0]]
    assert right.containers[1][0].get_ydata().tolist() == [0.9]
    assert drawn[0].get_supxlabel() == "noise level, units"


def test_sweeps_are_sorted_and_negative_j_is_visible(tmp_path: Path, drawn: list[Any]):
    plot_sweeps({"activation": POINTS, "gradient": POINTS}, tmp_path / "a")
    scores, _, sizes, _ = drawn[0].axes
    assert [line.get_xdata().tolist() for line in scores.lines] == [[0.5, 2.0]] * 3
    assert [line.get_ydata().tolist() for line in scores.lines] == [[0.8, 0.5], [0.1, 0.9], [-0.1, 0.4]]
    assert scores.get_ylim()[0] < -0.1
    assert sizes.lines[0].get_ydata().tolist() == [40, 10]


def test_curves_have_bands_and_sizes_below(tmp_path: Path, drawn: list[Any]):
    plot_curves({"t": MOVING, "q": replace(MOVING, log=True)}, tmp_path / "a")
    scores, other, sizes, _ = drawn[0].axes
    assert scores.lines[0].get_ydata().tolist() == [0.8, 0.5]
    assert [band.get_label() for band in scores.lines] == ["precision"]
    assert len(scores.collections) == 1
    assert sizes.lines[0].get_ydata().tolist() == [40, 10]
    assert (scores.get_xscale(), other.get_xscale()) == ("linear", "log")


def test_ranking_has_the_best_on_top_and_marks_controls(tmp_path: Path, drawn: list[Any]):
    plot_ranking(RANKING, LOOKS, "J", tmp_path / "a")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["random (control)", LONG]
    assert axes.containers[1][0].get_xydata().tolist() == [[0.5, 1]]
    assert axes.containers[0][0].get_markerfacecolor() == "white"


def test_styles_tell_methods_apart():
    names = [f"m{k}" for k in range(20)]
    found = styles([*names[:3], "random", *names[3:]], ["random"])
    assert list(found) == [*names[:3], "random", *names[3:]]
    assert len({(style.colour, style.marker) for style in found.values()}) == 21
    assert len({found[name].colour for name in names[:7]}) == 7
    assert found["m0"] == styles(names)["m0"]
    assert not found["random"].filled


@pytest.mark.parametrize(
    "plot",
    [
        lambda path: plot_layer_counts({}, path),
        lambda path: plot_layer_ratios({}, WIDTHS, path),
        lambda path: plot_levels({}, {}, "", path),
        lambda path: plot_sweeps({}, path),
        lambda path: plot_curves({}, path),
        lambda path: plot_ranking({}, {}, "", path),
    ],
)
def test_nothing_to_draw_is_refused(plot: Callable[[Path], Any], tmp_path: Path):
    with pytest.raises(InvalidOption, match="is empty: there is nothing to draw"):
        plot(tmp_path / "a")
    assert not list(tmp_path.iterdir())

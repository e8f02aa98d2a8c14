"""Tables II and III, Figure 2, and what they lack: intervals, controls and tests, beside the published numbers.

`render` writes `tables.md`, `tables.json`, and every figure as PNG and SVG under `figures/`. The text shows nothing
that the document does not hold; published numbers, of another model and other images, stand in tables of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluate import Estimate
from ...files import clear_result, output_folder, refusing, write_text
from ...report.markdown import markdown
from ...view.figures import LayerCounts as LayerCounts
from ...view.figures import (
    LevelPoint,
    Written,
    plot_layer_counts,
    plot_layer_ratios,
    plot_levels,
    plot_ranking,
    plot_sweeps,
    styles,
)
from ...view.figures import SweepPoint as SweepPoint
from .compare import Compared
from .compare import Statistics as Statistics
from .numbers import compare_all, document
from .results import CaptionScore as CaptionScore
from .results import GroupTest as GroupTest
from .results import PlantedAgreement as PlantedAgreement
from .results import Results as Results
from .sections import UNITS, sections


def render(results: Results, folder: str | Path, statistics: Statistics | None = None) -> dict[str, Any]:
    """Write tables and figures into a folder, which is made if need be, and return the document of tables.json.

    Figures that an earlier call drew and this one has no numbers for are removed.

    Raises InvalidOption for a folder that cannot be written to, a number that is not finite, and methods whose trials
    do not correspond; RunMismatch for caption scores that were made differently.
    """
    how = statistics or Statistics()
    target = output_folder(folder)
    compared = compare_all(results, how)
    found = document(results, compared, how)
    clear_result(target, "tables.json")
    figures = _draw(results, compared, found, output_folder(target / "figures"))
    shown = {name: f"figures/{png.name}" for name, (png, _) in figures.items()}
    found["figures"] = {name: [f"figures/{path.name}" for path in written] for name, written in figures.items()}
    write_text(target / "tables.md", markdown("Evaluation", sections(found), shown))
    write_text(target / "tables.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return found


def _draw(results: Results, compared: Sequence[Compared], found: Mapping[str, Any], folder: Path) -> dict[str, Written]:
    """Draw every figure that there are numbers for; name -> files."""
    style = styles(results.methods, results.controls)
    curves = _curves(results, compared)
    unit = UNITS.get(str(results.settings.get("scale")), "as set")
    first = compared[0] if compared else None
    scores = {method: first.estimates(method)["j"] for method in first.tables} if first else {}
    j_label = f"J = S_se + S_re - 1, {first.scope.name}" if first else ""
    agreement = _average_precision(found)
    plots: Mapping[str, tuple[object, Callable[[Path], Written]]] = {
        "j": (scores, lambda path: plot_ranking(scores, style, j_label, path, reference="no effect")),
        "levels": (curves, lambda path: plot_levels(curves, style, unit, path)),
        "layers": (results.layers, lambda path: plot_layer_counts(results.layers, path)),
        "layers-ratio": (results.layers, lambda path: plot_layer_ratios(results.layers, results.widths, path)),
        "agreement": (agreement, lambda path: plot_ranking(agreement, style, _PRECISION, path, limits=(-0.02, 1.02))),
        "sweeps": (results.sweeps, lambda path: plot_sweeps(results.sweeps, path)),
    }
    drawn: dict[str, Written] = {}
    for name, (numbers, plot) in plots.items():
        if numbers:
            drawn[name] = plot(folder / name)
        else:
            _remove(folder, name)
    return drawn


_PRECISION = "average precision against the planted neurons"


def _curves(results: Results, compared: Sequence[Compared]) -> dict[str, list[LevelPoint]]:
    """S_se and S_re of every method at every noise level."""
    curves: dict[str, list[LevelPoint]] = {}
    for one in compared:
        level = None if one.scope.pooled else results.level(one.scope.conditions[0])
        for method in one.tables if level is not None else ():
            estimates = one.estimates(method)
            curves.setdefault(method, []).append(LevelPoint(level or 0.0, estimates["s_se"], estimates["s_re"]))
    return curves


def _average_precision(found: Mapping[str, Any]) -> dict[str, Estimate]:
    cells = {method: row["average_precision"] for method, row in found.get("agreement", {}).items()}
    return {method: Estimate(cell["value"], cell["low"], cell["high"]) for method, cell in cells.items() if cell}


def _remove(folder: Path, name: str) -> None:
    """Take away the figure of an earlier state of the run. Raises InvalidOption when it cannot be."""
    for path in (folder / f"{name}.png", folder / f"{name}.svg"):
        with refusing(path):
            path.unlink(missing_ok=True)

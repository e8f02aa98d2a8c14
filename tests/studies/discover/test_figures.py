"""Figures of discovery: what they show, that they are reproducible, and that nothing is not drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from neuronscope.errors import InvalidOption
from neuronscope.evaluate import Estimate
from neuronscope.studies.discover.figures import plot_groups, plot_layer_sizes, plot_matrix, plot_sizes
from neuronscope.view.figures import styles

ONE = Estimate(0.5, 0.4, 0.7)
STYLE = styles(["found", "random"], ["random"])

PLOTS = {
    "layers": lambda path: plot_layer_sizes({1: [0, 3, 1], 10: [5, 12, 100]}, path),
    "sizes": lambda path: plot_sizes({"found": {1: ONE, 10: ONE}, "random": {1: ONE}}, STYLE, "invariance", path),
    "groups": lambda path: plot_groups({"joint": {"found": ONE, "random": ONE}}, STYLE, "shared", path),
    "matrix": lambda path: plot_matrix(np.eye(2), ["bear", "stop sign"], path),
}


@pytest.mark.parametrize("name", PLOTS)
def test_png_and_svg_of_the_same_numbers_are_the_same(name: str, tmp_path):
    first, again = PLOTS[name](tmp_path / "a"), PLOTS[name](tmp_path / "b")
    assert [path.name for path in first] == ["a.png", "a.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert np.asarray(Image.open(first[0]).convert("L")).std() > 1


def test_svg_holds_what_is_written(tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        _, matrix = PLOTS["matrix"](tmp_path / "matrix")
        _, groups = PLOTS["groups"](tmp_path / "groups")
    assert "stop sign" in matrix.read_text(encoding="utf-8")
    assert all(word in groups.read_text(encoding="utf-8") for word in ("joint", "found", "random", "shared"))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda path: plot_layer_sizes({1: [0, 0]}, path), "holds no neurons"),
        (lambda path: plot_sizes({"found": {}}, STYLE, "x", path), "curves is empty"),
        (lambda path: plot_groups({}, STYLE, "x", path), "groups is empty"),
        (lambda path: plot_matrix(np.eye(2), ["bear"], path), r"shape \(2, 2\) has no place for 1 names"),
        (lambda path: plot_matrix(np.zeros((0, 0)), [], path), "no place for 0 names"),
    ],
)
def test_nothing_to_draw(call, reason: str, tmp_path):
    with pytest.raises(InvalidOption, match=reason):
        call(tmp_path / "a")

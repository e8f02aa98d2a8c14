"""The coloured square: a right map passes, also of a tower that sees far, and a wrong one does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.loading.checks.common import NotApplicable
from neuronscope.loading.checks.image import Squares, check_coloured_patch
from neuronscope.tokens import ImageTokens

WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": np.transpose,
    "mirrored": lambda grid: grid[:, ::-1],
    "upside down": lambda grid: grid[::-1],
    "shuffled": lambda grid: np.random.default_rng(1).permutation(grid.ravel()).reshape(grid.shape),
    "shifted by two": lambda grid: np.roll(grid, 2, axis=1),
}


def judged(vlm: ns.VLM) -> bool:
    outcome = check_coloured_patch(vlm)
    assert not isinstance(outcome, NotApplicable)
    return outcome[1]


def turned(tokens: ImageTokens, way: Callable[[np.ndarray], np.ndarray]) -> ImageTokens:
    return replace(tokens, tiles=tuple(replace(tile, tokens=way(tile.tokens)) for tile in tokens.tiles))


@pytest.fixture
def misread(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on the one grid of every picture is read in a wrong way."""

    def install(way: str) -> None:
        prepare = ns.VLM.prepare

        def wrong(self: ns.VLM, *args: Any, **options: Any) -> Any:
            inputs = prepare(self, *args, **options)
            rows = [replace(row, image=turned(row.image, WRONG[way])) for row in inputs.rows]
            return replace(inputs, rows=tuple(rows))

        monkeypatch.setattr(ns.VLM, "prepare", wrong)

    return install


def test_a_peak_beside_the_square_is_enough_where_much_moves():
    far = Squares(above=0.76, beside=1, chance=0.2, own=0.55)
    assert far.ok
    assert str(far) == "the peak is beside 100% of the squares (20% by chance)"
    assert Squares(above=1, beside=0.5, chance=1, own=1).ok


@pytest.mark.parametrize(
    "squares",
    [
        Squares(above=0.76, beside=0.9, chance=0.2, own=0.55),  # not beside all
        Squares(above=0.76, beside=1, chance=1, own=0.9),  # beside them only because the grid is small
        Squares(above=0.76, beside=1, chance=0.2, own=0.1),  # another token moves, and the square's does not
    ],
)
def test_other_peaks_are_not(squares: Squares):
    assert not squares.ok
    assert str(squares) == "its token moves more than 76% of those elsewhere"


def test_a_sound_model_that_sees_far_passes(natural_vlm: ns.VLM):
    assert judged(natural_vlm)


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_map_of_it_fails(natural_vlm: ns.VLM, misread: Callable[[str], None], way: str):
    misread(way)
    assert not judged(natural_vlm)


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_map_of_a_model_that_sees_what_is_there_fails(demo: ns.VLM, misread: Callable[[str], None], way: str):
    assert judged(demo)
    misread(way)
    assert not judged(demo)

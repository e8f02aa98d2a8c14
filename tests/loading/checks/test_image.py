"""The coloured square: a right map passes, also of a tower that sees far, and a wrong one does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.loading.checks import image as checks
from neuronscope.loading.checks.common import NotApplicable
from neuronscope.loading.checks.image import Squares, _off, check_coloured_patch
from neuronscope.tokens import ImageTokens

WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": np.transpose,
    "mirrored": lambda grid: grid[:, ::-1],
    "upside down": lambda grid: grid[::-1],
    "shuffled": lambda grid: np.random.default_rng(1).permutation(grid.ravel()).reshape(grid.shape),
    "shifted by two": lambda grid: np.roll(grid, 2, axis=1),
}


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    """Unlike in the rest of this folder: what is checked here is not the reading."""


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


def test_where_much_moves_more_squares_decide():
    assert Squares(count=36, above=0.76, off=1, fit=0.87).ok
    assert not Squares(count=36, above=0.8, off=1, fit=0.74).ok  # of another picture, a token away
    assert not Squares(count=6, above=0.76, off=0, fit=1).ok  # few may be so by chance
    assert str(Squares(36, 0.76, 1, 0.87)) == "its token moves more than 76% of those elsewhere (64% in 36 needed)"


@pytest.mark.parametrize(
    ("squares", "other"),
    [
        (Squares(36, 0.55, 0, 1.0), False),
        (Squares(36, 0.84, 2, 0.9), True),
        (Squares(36, 0.84, 1, 0.7), True),
        (Squares(36, 0.9, np.inf, 0.9), True),
    ],
)
def test_other_maps_do_not_fit(squares: Squares, other: bool):
    assert not squares.ok
    assert str(squares).endswith("and another map fits better") is other


def test_no_verdict_hangs_on_a_hundredth():
    """A right map and wrong ones are far from what is needed, whichever way a few squares fall."""
    rng = np.random.default_rng(0)
    wrong = rng.uniform(size=(1000, 36)).mean(1)
    assert (wrong < Squares(36, 0, 0, 1).needed - 0.01).mean() > 0.99


def grid(rows: int, columns: int, place: Callable[[int, int], tuple[int, int]]) -> list[tuple[np.ndarray, int, int]]:
    """What squares move under a map that is read in another way: a bump around the place that is really looked at."""
    seen: list[tuple[np.ndarray, int, int]] = []
    down, across = np.indices((rows, columns))
    for row in range(rows):
        for column in range(columns):
            r, c = place(row, column)
            seen.append((1 / (1 + np.hypot(down - r, across - c)), row, column))
    return seen


@pytest.mark.parametrize(
    ("place", "off"),
    [
        (lambda r, c: (r, c), 0),
        (lambda r, c: (min(r + 1, 5), c), 1),
        (lambda r, c: ((r + 2) % 6, c), 2),
        (lambda r, c: (r, (c + 3) % 6), 3),
        (lambda r, c: (5 - r, c), np.inf),
        (lambda r, c: (r, 5 - c), np.inf),
        (lambda r, c: (5 - r, 5 - c), np.inf),
        (lambda r, c: (c, r), np.inf),
        (lambda r, c: (c, 5 - r), np.inf),
        (lambda r, c: (5 - c, r), np.inf),
        (lambda r, c: (5 - c, 5 - r), np.inf),
    ],
)
def test_how_far_a_map_is_off(place: Callable[[int, int], tuple[int, int]], off: float):
    assert _off(grid(6, 6, place))[0] == off


@pytest.fixture(scope="module")
def looked_at() -> dict[bytes, np.ndarray]:
    """Pictures that a model was shown -> what entered its first layer, which no way to read a map changes."""
    return {}


@pytest.fixture
def seen_once(monkeypatch: pytest.MonkeyPatch, looked_at: dict[bytes, np.ndarray]) -> None:
    """A model that takes its time looks at each picture once for all tests of this module."""
    real = checks.entering_states

    def entering(vlm: ns.VLM, shown: Sequence[np.ndarray]) -> np.ndarray:
        key = f"{id(vlm)} ".encode()  # both live as long as the tests
        key += b"".join(str(pixels.shape).encode() + pixels.tobytes() for pixels in shown)
        if key not in looked_at:
            looked_at[key] = real(vlm, shown)
        return looked_at[key]

    monkeypatch.setattr(checks, "entering_states", entering)


@pytest.mark.usefixtures("seen_once")
def test_a_sound_model_that_sees_far_passes(natural_vlm: ns.VLM):
    assert judged(natural_vlm)


@pytest.mark.usefixtures("seen_once")
@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_map_of_it_fails(natural_vlm: ns.VLM, misread: Callable[[str], None], way: str):
    misread(way)
    assert not judged(natural_vlm)


@pytest.mark.usefixtures("seen_once")
def test_a_model_that_sees_what_is_there_passes(demo: ns.VLM):
    assert judged(demo)


@pytest.mark.usefixtures("seen_once")
@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_map_of_a_model_that_sees_what_is_there_fails(demo: ns.VLM, misread: Callable[[str], None], way: str):
    misread(way)
    assert not judged(demo)

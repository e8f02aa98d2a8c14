"""Summaries of specificity matrices, worked by hand, and at chance for what knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.evaluate.discovery import diagonal_margin, diagonal_share, normalised, specificity

TOY = np.array([[4.0, 2.0, -1.0], [1.0, -2.0, 0.0], [0.0, 0.0, 0.0]])


def test_rows_are_divided_by_their_largest_size():
    np.testing.assert_array_equal(normalised(TOY), [[1, 0.5, -0.25], [0.5, -1, 0], [0, 0, 0]])


def test_share_and_margin_by_hand():
    """Row 1: its maximum, 1 - (0.5 - 0.25)/2. Row 2: not, -1 - 0.5/2. Row 3: three equal maxima, 0."""
    np.testing.assert_allclose(diagonal_share(TOY), [1, 0, 1 / 3])
    np.testing.assert_allclose(diagonal_margin(TOY), [0.875, -1.25, 0])
    np.testing.assert_array_equal(diagonal_share(np.eye(4)), np.ones(4))
    np.testing.assert_array_equal(diagonal_margin(np.eye(4)), np.ones(4))


def test_summaries_of_one_matrix_are_over_its_rows():
    found = specificity([TOY], {"random": [[np.eye(3), TOY]]})
    assert found.share.found.value == pytest.approx(4 / 9)
    assert found.share.controls["random"].value == pytest.approx((1 + 4 / 9) / 2)
    assert (found.share.units, found.chance) == (3, pytest.approx(1 / 3))


def test_summaries_of_images_are_over_images():
    """Two images with 2 and 3 nouns: each counts once, however many nouns it has."""
    found = specificity([np.eye(2), TOY], {"random": [[np.eye(2)], [np.eye(3)]]})
    assert found.share.found.value == pytest.approx((1 + 4 / 9) / 2)
    assert (found.share.units, found.chance) == (2, pytest.approx((1 / 2 + 1 / 3) / 2))
    assert found.margin.controls["random"].value == 1


def test_matrices_that_know_nothing_are_at_chance():
    rng = np.random.default_rng(0)
    draws = [rng.normal(size=(10, 10)) for _ in range(300)]
    found = specificity([np.eye(10)], {"random": [draws]})
    assert found.share.controls["random"].value == pytest.approx(found.chance, abs=0.02)
    assert found.margin.controls["random"].value == pytest.approx(0, abs=0.02)
    assert found.share.found.low == 1


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: diagonal_share(np.ones((2, 3))), "square"),
        (lambda: diagonal_share(np.ones((1, 1))), "at least 2 x 2"),
        (lambda: normalised(np.array([[1.0, np.nan], [0.0, 1.0]])), "finite"),
        (lambda: specificity([], {}), "no matrices"),
        (lambda: specificity([TOY], {"random": []}), "control 'random' has draws for 0 matrices; 1"),
        (lambda: specificity([TOY], {"random": [[]]}), "control 'random'"),
    ],
)
def test_bad_input(call, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        call()

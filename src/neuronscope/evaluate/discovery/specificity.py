"""Does a concept's best neuron work for that concept only?

METHODS (f), metric 4; Pan et al., Fig. 5:

    M[a, b]     what the best neuron of concept a contributes to concept b
    M'[a, b]    M[a, b] / max_c |M[a, c]|                                   a row of zeros stays
    share       share of rows whose maximum is on the diagonal              1/n for neurons that know nothing
    margin      mean over rows of M'[a, a] - mean_{b != a} M'[a, b]          0 for neurons that know nothing

A row with m equal maxima counts 1/m where the diagonal is one of them, so that ties do not flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption
from .sets import ControlledMean, measured

#: Square; of any size, as images have different numbers of nouns.
Matrix = Float[np.ndarray, "_rows _columns"]
#: One value for each row of a matrix.
Summary: TypeAlias = Callable[[Matrix], Float[np.ndarray, "_rows"]]


@dataclass(frozen=True)
class Specificity:
    """Summaries of one or several matrices.

    Attributes:
        share: of rows whose maximum is on the diagonal.
        margin: the diagonal minus the mean beside it.
        chance: what `share` is for neurons that know nothing: the mean of 1/n over rows.
    """

    share: ControlledMean
    margin: ControlledMean
    chance: float


def normalised(matrix: Matrix) -> Matrix:
    """Every row divided by its largest absolute value."""
    size = np.abs(_square(matrix)).max(axis=1, keepdims=True)
    return np.divide(matrix, size, out=np.zeros_like(matrix, dtype=np.float64), where=size > 0)


def diagonal_share(matrix: Matrix) -> Float[np.ndarray, "_rows"]:
    """For each row 1 where its maximum is on the diagonal, 1/m where m are equal, else 0."""
    best = _square(matrix) == matrix.max(axis=1, keepdims=True)
    return np.where(best.diagonal(), 1 / best.sum(axis=1), 0.0)


def diagonal_margin(matrix: Matrix) -> Float[np.ndarray, "_rows"]:
    """For each row of the normalised matrix the diagonal minus the mean of the rest."""
    unit = normalised(matrix)
    own = unit.diagonal()
    return own - (unit.sum(axis=1) - own) / (len(unit) - 1)


def specificity(
    found: Sequence[Matrix], controls: Mapping[str, Sequence[Sequence[Matrix]]], seed: int = 0
) -> Specificity:
    """Summaries with intervals.

    Of one matrix, its rows (concepts) are the independent values. Of several (one per image, as in the paper), the
    matrices are: rows of one image share everything but the neuron.

    Args:
        found: one matrix, or one per image.
        controls: name -> for each of `found` the matrices of some draws of random neurons, which are averaged.
        seed: of the intervals.

    Raises InvalidOption for no matrices, matrices that are not square, smaller than 2, not finite, and controls that do
    not correspond.
    """
    for name, draws in controls.items():
        if len(draws) != len(found) or not all(draws):
            raise InvalidOption(f"control {name!r} has draws for {len(draws)} matrices; {len(found)} were given")
    if not found:
        raise InvalidOption("there are no matrices to summarise")

    def values(measure: Summary, draws: Sequence[Sequence[Matrix]]) -> list[float]:
        rows = [np.mean([measure(matrix) for matrix in matrices], axis=0) for matrices in draws]
        return rows[0].tolist() if len(rows) == 1 else [float(row.mean()) for row in rows]

    def both(measure: Summary) -> ControlledMean:
        own = values(measure, [[matrix] for matrix in found])
        return measured(own, {name: values(measure, draws) for name, draws in controls.items()}, seed)

    return Specificity(
        both(diagonal_share), both(diagonal_margin), float(np.mean([1 / len(matrix) for matrix in found]))
    )


def _square(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2 or not np.isfinite(matrix).all():
        raise InvalidOption(
            f"a specificity matrix has to be square, at least 2 x 2 and finite; got shape {matrix.shape}"
        )
    return matrix

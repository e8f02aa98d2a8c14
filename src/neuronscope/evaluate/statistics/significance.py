"""Tests: paired sign flips, a set against random sets, and many sets at once (METHODS G4 ii and iii).

sign flip    p = share of sign patterns s with |sum s_k d_k| >= |sum d_k|      (two-sided)
empirical p  p = (1 + #{J_random >= J}) / (1 + M)                              (one-sided, M random sets)
Benjamini-Hochberg   reject the k smallest p with k = max{ i : p_(i) <= q i / m }
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption

#: Scores that are equal in exact arithmetic differ by less than this; others, being counts of hits, by much more.
_TIE = 1e-9
_CHUNK = 4096


@dataclass(frozen=True)
class SignFlip:
    """Result of a sign-flip test.

    Attributes:
        mean: the mean paired difference.
        p: two-sided.
        exact: whether all sign patterns were counted, or a random choice of them.
        patterns: how many were.
    """

    mean: float
    p: float
    exact: bool
    patterns: int


def sign_flip(
    differences: Sequence[float], *, exact_up_to: int = 40, patterns: int = 100_000, seed: int = 0
) -> SignFlip:
    """Is the mean of paired differences zero? Under that hypothesis each difference could as well have the other sign.

    All 2^n patterns are counted for up to `exact_up_to` differences: the sums over each half of the differences are
    listed, and matched by binary search (2^(n/2) of them instead of 2^n; 30 concepts take milliseconds). Beyond, random
    patterns estimate p as (1 + #{at least as extreme}) / (1 + patterns), which is never 0.

    Args:
        differences: one per concept, the first method's score minus the second's.
        exact_up_to: the largest number of differences that is counted in full; at most 44 (memory).
        patterns: how many random ones are drawn otherwise.
        seed: of the random ones.

    Raises InvalidOption for no differences, values that are not finite, and options out of range.
    """
    values = _numbers("differences", differences)
    if not 0 <= exact_up_to <= 44 or patterns < 1:
        raise InvalidOption(f"exact_up_to={exact_up_to} must be 0 to 44, and patterns={patterns} at least 1")
    n, mean = len(values), float(values.mean())
    bound = abs(float(values.sum())) - _TIE * float(np.abs(values).sum())
    if n <= exact_up_to:
        return SignFlip(mean, 1.0 if bound <= 0 else _extreme(values, bound) / 2**n, True, 2**n)
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, patterns, _CHUNK):
        signs = 2 * rng.integers(0, 2, (min(_CHUNK, patterns - start), n)) - 1
        hits += int((np.abs(signs @ values) >= bound).sum())
    return SignFlip(mean, (1 + hits) / (1 + patterns), False, patterns)


def empirical_p(observed: float, random: Sequence[float], *, least: int = 20) -> float:
    """How often a random set scores at least as high: (1 + #{random >= observed}) / (1 + M).

    The smallest possible value is 1 / (1 + M). To survive Benjamini-Hochberg at level q among m groups, of which k
    are at that minimum, M must be at least m / (q k) - 1: with 20 sets and q = 0.05 nearly all of 90 groups.

    Args:
        observed: J of a group.
        random: J of random sets with the same number of neurons in each layer.
        least: how many random sets are the least that is accepted.

    Raises InvalidOption for fewer sets or values that are not finite.
    """
    values = _numbers("random", random)
    if len(values) < least:
        raise InvalidOption(f"random holds {len(values)} scores of random sets; at least {least} are needed")
    if not math.isfinite(observed):
        raise InvalidOption(f"observed={observed} is not a finite number")
    return float((1 + (values >= observed - _TIE).sum()) / (1 + len(values)))


@dataclass(frozen=True)
class Discoveries:
    """Many tests at a false discovery rate.

    Attributes:
        q: the rate.
        adjusted: for each test the smallest rate at which it is rejected, in the order given.
        rejected: whether adjusted <= q.
    """

    q: float
    adjusted: tuple[float, ...]
    rejected: tuple[bool, ...]


def benjamini_hochberg(p: Sequence[float], q: float = 0.05) -> Discoveries:
    """Control the false discovery rate over many p-values (Benjamini & Hochberg 1995).

    Raises InvalidOption for no p-values, one outside 0 to 1, and q outside (0, 1).
    """
    values = _numbers("p", p)
    if ((values < 0) | (values > 1)).any():
        raise InvalidOption(f"p holds {values[(values < 0) | (values > 1)][0]}, which is not between 0 and 1")
    if not 0 < q < 1:
        raise InvalidOption(f"q={q} must lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]  # p_(n) bounds all, so none exceeds 1
    return Discoveries(q, tuple(adjusted.tolist()), tuple((adjusted <= q * (1 + 1e-12)).tolist()))


def _extreme(values: Float[np.ndarray, "n"], bound: float) -> int:
    """How many sign patterns have |sum| >= bound > 0. Patterns come in pairs of opposite sign."""
    first, second = _sums(values[: len(values) // 2]), np.sort(_sums(values[len(values) // 2 :]))
    return 2 * int((len(second) - np.searchsorted(second, bound - first, side="left")).sum())


def _sums(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "patterns"]:
    """The sums under all 2^n sign patterns."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _numbers(argument: str, values: Sequence[float]) -> Float[np.ndarray, "n"]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data) or not np.isfinite(data).all():
        raise InvalidOption(f"{argument} must be a list of finite numbers, at least one; got {values!r:.200}")
    return data

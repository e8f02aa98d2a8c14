"""Histograms of activations whose bins need no range in advance: two bins to an octave, on both sides of zero.

    bin 0            |a| < 2^-16
    bin +m, -m       a from edge(m) up to edge(m + 1), or minus that, m = 1 ... 64
    edge(m)          2^(-16 + (m - 1) // 2), times 1.5 where m is even; what lies beyond 1.5 * 2^15 is in the last bin

A bin is read off a float32's own bits (exponent and first digit behind the point), which is what makes it cheap enough
to look at every activation. Counts are whole numbers, so the sum of histograms does not depend on their order.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

#: Bins on one side of zero, and in all.
SIDE = 64
BINS = 2 * SIDE + 1
_SMALLEST = -16  # exponent of the first edge
_BIAS = 127
_FIRST = 2 * (_BIAS + _SMALLEST) - 1  # exponent and first digit, as one number, of what is just below the first edge

#: Lower edges of the positive bins.
EDGES = np.array([2.0 ** (_SMALLEST + (m - 1) // 2) * (1.0 if m % 2 else 1.5) for m in range(1, SIDE + 1)])


def bins_of(values: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The bin of each number, 0 to BINS - 1; that of 0 is :data:`SIDE`."""
    bits = values.float().contiguous().view(torch.int32)
    distance = (bits & 0x7FFFFFFF).bitwise_right_shift_(22).sub_(_FIRST).clamp_(0, SIDE)
    return (bits >> 31).bitwise_or_(1).mul_(distance).add_(SIDE)


def counts_of(places: Int[Tensor, "n width"] | UInt8[Tensor, "n width"]) -> Int[Tensor, "width bins"]:
    """How many of each column's numbers are in each bin, from their bins."""
    width = places.shape[1]
    first = torch.arange(width, device=places.device, dtype=torch.int32) * BINS
    return torch.bincount((places.int() + first).flatten(), minlength=width * BINS).view(width, BINS)


def threshold_bins(counts: Int[np.ndarray, "*rows bins"], quantile: float) -> Int[np.ndarray, "*rows"]:
    """Of each histogram the lowest bin above zero from which on there are at most 1 - quantile of its numbers."""
    above = np.flip(np.cumsum(np.flip(counts, -1), -1), -1)
    few = above[..., SIDE + 1 :] <= (1 - quantile) * above[..., :1]
    return np.where(few.any(-1), SIDE + 1 + few.argmax(-1), BINS - 1)


def lower_edge(place: int) -> float:
    """The smallest number of a bin above zero."""
    return float(EDGES[place - SIDE - 1])

"""Scores of several photographs made one: brought to one scale, then joined.

    z_j = scale(a_j)                     a_j: the scores of all neurons on photograph j
    a   = join(z_1 .. z_m)

Which ways carry over to a photograph that was left out is measured in docs/results/natural/carry_over.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InvalidOption, InvalidSample
from ..types import one_of
from .scores import best_first

#: How the scores of photographs are made comparable: not at all; as shares of the edit's effect on the word's
#: log-probability, or of the largest score; in units of their robust spread; by rank, from 0 to 1; or by minus the
#: logarithm of the place, which tells the best ones apart and leaves the rest alike.
Scale: TypeAlias = Literal["none", "effect", "largest", "spread", "rank", "log_rank"]
SCALES: tuple[Scale, ...] = get_args(Scale)

#: How photographs become one: the mean (their sum orders alike), the median, the smallest, so that every photograph
#: must agree, or in how many photographs a neuron is among the best, equals in order of their mean rank.
Join: TypeAlias = Literal["mean", "median", "least", "votes"]
JOINS: tuple[Join, ...] = get_args(Join)

_Scores: TypeAlias = Float[np.ndarray, "photographs neurons"]

_JOINED: Mapping[Join, Callable[[_Scores], Float[np.ndarray, "neurons"]]] = {
    "mean": lambda scores: scores.mean(0),
    "median": lambda scores: np.median(scores, axis=0),
    "least": lambda scores: scores.min(0),
}


def scaled(scores: Float[np.ndarray, "neurons"], scale: Scale, effect: float = 1.0) -> Float[np.ndarray, "neurons"]:
    """The scores of one photograph, on a scale that others can be compared with; float64.

    Args:
        scores: of all neurons.
        scale: see :data:`Scale`; its spread is 1.4826 times the median distance from the median, of the neurons whose
            score is not 0 (inert layers would make it 0).
        effect: of the edit; used by "effect" alone.

    Raises InvalidSample where what is divided by is not positive: there is no effect, or no neuron has a score.
    """
    one_of("scale", scale, SCALES)
    values = scores.astype(np.float64)
    if scale == "none":
        return values
    if scale in ("rank", "log_rank"):
        places = np.empty(len(values))
        places[best_first(values)] = np.arange(1, len(values) + 1)
        return -np.log(places) if scale == "log_rank" else 1 - (places - 1) / max(len(values) - 1, 1)
    unit = {"effect": lambda: effect, "largest": values.max, "spread": lambda: spread(values)}[scale]()
    if not unit > 0:
        raise InvalidSample(f"scale={scale!r} divides by {unit:.4g}, which is not positive; 'rank' divides by nothing")
    return values / unit


def spread(values: Float[np.ndarray, "neurons"]) -> float:
    """The robust spread of those that are not 0: 1.4826 times the median distance from their median; 0 for none."""
    some = values[values != 0]
    return 1.4826 * float(np.median(np.abs(some - np.median(some)))) if len(some) else 0.0


def pooled(scores: _Scores, join: Join, within: int = 200) -> Float[np.ndarray, "neurons"]:
    """One score per neuron from those of photographs on one scale; `within` is used by "votes" alone.

    Raises InvalidOption for an unknown way, or no photographs.
    """
    one_of("join", join, JOINS)
    if not len(scores):
        raise InvalidOption("there is no photograph to pool over")
    if join != "votes":
        return _JOINED[join](scores)
    ranks = np.stack([scaled(one, "rank") for one in scores])
    return held(scores, within).sum(0) + 0.999 * ranks.mean(0)  # below one vote


def held(scores: _Scores, within: int) -> Bool[np.ndarray, "photographs neurons"]:
    """Whether a neuron is among the best `within` of each photograph."""
    found = np.zeros(scores.shape, dtype=bool)
    for row, own in zip(found, scores, strict=True):
        row[best_first(own)[:within]] = True
    return found

"""One set of neurons for a concept, from several photographs of it.

A set found on one photograph is a statement about that photograph. Here a method scores every neuron on each of m
pairs, the scores of each are brought to one scale, and pooled over photographs:

    z_j = scale(a_j)                     a_j: the method's scores of all neurons on photograph j
    a   = pool(z_1 .. z_m)               N = the `count` neurons with the largest a that enough photographs hold

Several edits of one photograph are first averaged, so that every photograph counts once. A photograph, or an edit,
holds a neuron that is among its own best `within`. Which ways carry over to a photograph that was left out is measured
in docs/results/natural/carry_over.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InvalidOption, InvalidSample
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..types import Json, Neurons, one_of, options_of, whole_number
from .difference_x_gradient import DifferenceTimesGradient
from .located import Located, Method, Scores
from .patching import edit_effect
from .scores import Pooled, best_first
from .target import concept_word
from .validity import Validity

#: How the scores of photographs are made comparable: not at all; as shares of the edit's effect on the word's
#: log-probability, or of the largest score; in units of their robust spread; by rank, from 0 to 1; or by minus the
#: logarithm of the place, which tells the best ones apart and leaves the rest alike.
Scale: TypeAlias = Literal["none", "effect", "largest", "spread", "rank", "log_rank"]
SCALES: tuple[Scale, ...] = get_args(Scale)

#: How photographs become one: the mean (their sum orders alike), the median, the smallest, so that every photograph
#: must agree, or in how many photographs a neuron is among the best, equals in order of their mean rank.
Join: TypeAlias = Literal["mean", "median", "least", "votes"]
JOINS: tuple[Join, ...] = get_args(Join)

#: What scores each pair by default.
REFINED = DifferenceTimesGradient.refined()

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
    unit = {"effect": lambda: effect, "largest": values.max, "spread": lambda: _spread(values)}[scale]()
    if not unit > 0:
        raise InvalidSample(f"scale={scale!r} divides by {unit:.4g}, which is not positive; 'rank' divides by nothing")
    return values / unit


def _spread(values: Float[np.ndarray, "neurons"]) -> float:
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


def locate_concept(
    vlm: VLM,
    pairs: Sequence[Counterfactual],
    method: Method = REFINED,
    *,
    count: int = 200,
    scale: Scale = "effect",
    join: Join = "mean",
    within: int = 200,
    least_held: int = 1,
    validities: Sequence[Validity] | None = None,
) -> Neurons:
    """The neurons that hold a concept in several photographs.

    Args:
        vlm: the model.
        pairs: photographs of one concept and their edits. Pairs with the same original are edits of one photograph.
        method: what scores the neurons of each pair; its own `count` and thresholds are not used.
        count: how many neurons are kept at most.
        scale: how photographs are made comparable.
        join: how they become one.
        within: a photograph holds a neuron that is among its own best so many.
        least_held: neurons that fewer photographs hold are left out.
        validities: what :func:`check_validity` gave for each pair, where it is known.

    Returns the set, best first, with the scores "pooled" and, as numbers of photographs and of edits, "held" and
    "held_edits". The provenance says of each pair which picture it was, its edit, captions and effect, and how many of
    the members it holds.

    Raises InvalidOption for no pairs, an option that is not among the choices or a `least_held` that is more than the
    photographs; InvalidSample for pairs of several concepts, and what the method raises for a pair it cannot use.
    """
    _check(pairs, count, within, validities)
    one_of("scale", scale, SCALES)
    one_of("join", join, JOINS)
    known = validities if validities is not None else [None] * len(pairs)
    found = [method.locate(vlm, pair, validity=validity) for pair, validity in zip(pairs, known, strict=True)]
    effects = [
        edit_effect(vlm, pair, concept_word(one.validity), Decoding()) for pair, one in zip(pairs, found, strict=True)
    ]
    edits = np.stack(
        [
            scaled(one.scores.arrays[one.ranked_by].values, scale, effect)
            for one, effect in zip(found, effects, strict=True)
        ]
    )
    names = [hashlib.sha256(pair.original.tobytes()).hexdigest()[:16] for pair in pairs]
    photographs = list(dict.fromkeys(names))
    if not 1 <= least_held <= len(photographs):
        raise InvalidOption(f"least_held={least_held} must be from 1 to the number of photographs, {len(photographs)}")
    each = np.stack([edits[[own == name for own in names]].mean(0) for name in photographs])
    of_photographs, of_edits = held(each, within), held(edits, within)
    values = pooled(each, join, within)
    order = best_first(values)
    order = order[of_photographs.sum(0)[order] >= least_held][:count]
    layout = found[0].scores.layout
    arrays = {
        "pooled": Pooled(values),
        "held": Pooled(of_photographs.sum(0).astype(np.float64)),
        "held_edits": Pooled(of_edits.sum(0).astype(np.float64)),
    }
    members, scores = Scores(layout, arrays).members(order)
    sources: list[Json] = [
        _source(pair, one, effect, name, int(holds[order].sum()))
        for pair, one, effect, name, holds in zip(pairs, found, effects, names, of_edits, strict=True)
    ]
    return Neurons(
        members,
        scores,
        site=found[0].neurons.site,
        concept=pairs[0].sample.concept,
        method=f"{method.name}, pooled",
        options={
            "method": options_of(method),
            "count": count,
            "scale": scale,
            "join": join,
            "within": within,
            "least_held": least_held,
        },
        provenance={"ranked_by": "pooled", "photographs": len(photographs), "pairs": sources},
        model=vlm.identity(),
    )


def _source(pair: Counterfactual, one: Located, effect: float, name: str, members: int) -> Json:
    return {
        "image": pair.sample.image_id,
        "pixels": name,
        "edit": {"method": pair.method, **dict(pair.options)},
        "caption": one.validity.original.text,
        "edited_caption": one.validity.edited.text,
        "effect": effect,
        "holds": members,
    }


def _check(pairs: Sequence[Counterfactual], count: int, within: int, validities: Sequence[Validity] | None) -> None:
    whole_number("count", count, 0)
    whole_number("within", within, 1)
    if not pairs:
        raise InvalidOption("there are no pairs to locate a concept in")
    concepts = sorted({pair.sample.concept for pair in pairs})
    if len(concepts) > 1:
        raise InvalidSample(f"the pairs are of several concepts: {', '.join(concepts)}; give those of one")
    if validities is not None and len(validities) != len(pairs):
        raise InvalidOption(f"{len(validities)} validities for {len(pairs)} pairs")

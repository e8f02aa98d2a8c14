"""Top pictures: the pictures that move some neurons most, beside those that move random ones (METHODS n10).

    a[i, j]   activation of neuron i in picture j, pooled over the image tokens
    score     mean over the set's neurons of a, each in standard deviations over the pictures, so that none is louder
    AUC       chance that a picture that shows the concept scores higher than one that does not; ties count half

Any set has top pictures. Random sets of the same layers, read in the same forward pass, say what those are worth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InvalidOption
from ..frames import data_frame
from ..intervene.capture import activations
from ..loading import VLM
from ..locate.matched import layer_matched_sets
from ..models.decoding import Decoding
from ..models.origin import require_own
from ..reprs import short_repr
from ..samples.image import ImageSource
from ..types import Neurons, one_of, whole_number

if TYPE_CHECKING:
    from pandas import DataFrame

#: How a neuron's activations at the image tokens of a picture become one number.
PicturePool: TypeAlias = Literal["max", "mean"]
ALPHA = 0.05


@dataclass(frozen=True)
class Moved:
    """A picture: its place in the list, and how much it moves a set, in standard deviations over the pictures."""

    number: int
    score: float


@dataclass(frozen=True)
class TopPictures:
    """The pictures that move a set most, and what random sets make of the same pictures.

    Attributes:
        top: of the set, most first.
        random: of the first random set.
        pictures: how many were looked at.
        shown: how many of them show the concept; None where it is not known.
        auc: of the set; None where it is not known which pictures show the concept, or all or none do.
        random_auc: of every random set.
        concept, pool, seed: the settings.
    """

    top: tuple[Moved, ...]
    random: tuple[Moved, ...]
    pictures: int
    shown: int | None = None
    auc: float | None = None
    random_auc: tuple[float, ...] = ()
    concept: str = ""
    pool: PicturePool = "max"
    seed: int = 0

    __repr__ = short_repr

    @property
    def p(self) -> float | None:
        """(1 + random sets with at least this AUC) / (1 + all)."""
        if self.auc is None:
            return None
        return (1 + sum(other >= self.auc for other in self.random_auc)) / (1 + len(self.random_auc))

    @property
    def sentence(self) -> str:
        """What the pictures say, in words."""
        if self.auc is None or self.p is None:
            if self.shown is not None:
                how = "none" if not self.shown else "every one"
                return f"Of {self.pictures} pictures {how} shows “{self.concept}”: there is nothing to tell apart."
            return (
                "Which pictures show the concept is not known: look whether the set's are more alike than those of "
                "random neurons."
            )
        return (
            f"{self.shown} of {self.pictures} pictures show “{self.concept}”; the set ranks them above the others with "
            f"AUC {self.auc:.2f}, random neurons of the same layers with {np.mean(self.random_auc):.2f} "
            f"({min(self.random_auc):.2f} to {max(self.random_auc):.2f}; p = {self.p:.2f}): top pictures "
            f"{'read' if self.p < ALPHA else 'do not read'} the concept in these neurons better than in random ones."
        )

    def to_dataframe(self) -> DataFrame:
        """Top pictures of the set and of a random set with pandas, by their place in the list; the rest in `attrs`.

        Raises InvalidOption where pandas is not installed.
        """
        rows = [
            (of, k + 1, one) for of, tops in (("set", self.top), ("random", self.random)) for k, one in enumerate(tops)
        ]
        columns: dict[str, list[Any]] = {
            "of": [of for of, _, _ in rows],
            "place": [k for _, k, _ in rows],
            "number": [one.number for *_, one in rows],
            "score": [one.score for *_, one in rows],
        }
        return data_frame(columns, **{k: value for k, value in self.to_dict().items() if k not in ("top", "random")})

    def to_dict(self) -> dict[str, Any]:
        """All of it as a file can hold it, with the sentence."""
        return {"sentence": self.sentence, "p": self.p, **dataclasses.asdict(self)}


def top_pictures(
    vlm: VLM,
    pictures: Sequence[ImageSource],
    neurons: Neurons,
    *,
    showing: Sequence[bool] | None = None,
    count: int = 6,
    pool: PicturePool = "max",
    draws: int = 20,
    seed: int = 0,
    decoding: Decoding = Decoding(),
    force: bool = False,
    step: Callable[[int], None] = lambda _: None,
) -> TopPictures:
    """Look through pictures for those that move a set of neurons most; one forward pass for each.

    Args:
        vlm: the model.
        pictures: where to look; leave out the one that the neurons were located in.
        neurons: the set.
        showing: which of the pictures show the concept, where it is known.
        count: top pictures kept.
        pool: over image tokens.
        draws: random sets of the same layers; 20 or more for a p-value of 0.05.
        seed: of the random sets.
        decoding: what is asked about each picture.
        force: take neurons of other weights at their addresses.
        step: told the number of every picture that is looked at.

    Raises RunMismatch for neurons of other weights; InvalidOption for fewer than two pictures, an empty set, another
    number of labels, and a layer with too few other neurons; InvalidSample for a picture that cannot be read.
    """
    one_of("pool", pool, get_args(PicturePool))
    for name, value, least in (("count", count, 1), ("draws", draws, 1), ("seed", seed, 0)):
        whole_number(name, value, least)
    if len(pictures) < 2 or not len(neurons):
        raise InvalidOption(f"{len(neurons)} neurons and {len(pictures)} pictures: need a neuron and two pictures")
    if showing is not None and len(showing) != len(pictures):
        raise InvalidOption(f"showing has {len(showing)} labels for {len(pictures)} pictures")
    neurons = neurons.anywhere() if force else neurons
    require_own(vlm, neurons)
    seeds = [int(own) for own in np.random.SeedSequence(seed).generate_state(draws)]
    sets = [neurons, *layer_matched_sets(vlm, neurons, seeds)]
    every = tuple(dict.fromkeys(neuron for one in sets for neuron in one))
    column = {neuron: k for k, neuron in enumerate(every)}
    read = Neurons(every, site=neurons.site, part=neurons.part)
    values = np.zeros((len(pictures), len(every)), dtype=np.float64)
    for number, picture in enumerate(pictures):
        step(number)
        found = activations(vlm, picture, read, decoding=decoding)
        values[number] = found.max(axis=0) if pool == "max" else found.mean(axis=0)
    scores = [set_scores(values[:, [column[neuron] for neuron in one]]) for one in sets]
    labels = None if showing is None else np.asarray(showing, dtype=bool)
    known = labels is not None and bool(labels.any() and not labels.all())
    aucs = [auc(one, labels) for one in scores] if labels is not None and known else [None]
    return TopPictures(
        top=_best(scores[0], count),
        random=_best(scores[1], count),
        pictures=len(pictures),
        shown=None if labels is None else int(labels.sum()),
        auc=aucs[0],
        random_auc=tuple(one for one in aucs[1:] if one is not None),
        concept=neurons.concept,
        pool=pool,
        seed=seed,
    )


def set_scores(values: Float[np.ndarray, "pictures neurons"]) -> Float[np.ndarray, "pictures"]:
    """The mean over neurons, each in standard deviations over the pictures; one that never changes counts 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return (centred / np.where(spread > 0, spread, 1)).mean(axis=1)


def auc(scores: Float[np.ndarray, "pictures"], showing: Bool[np.ndarray, "pictures"]) -> float:
    """Chance that a picture with the concept scores higher than one without; ties count half.

    Raises InvalidOption where all pictures or none show it.
    """
    own, others = scores[showing], scores[~showing]
    if not len(own) or not len(others):
        raise InvalidOption("an AUC needs pictures with the concept and pictures without")
    return float(np.mean((own[:, None] > others) + 0.5 * (own[:, None] == others)))


def _best(scores: Float[np.ndarray, "pictures"], count: int) -> tuple[Moved, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(Moved(int(number), float(scores[number])) for number in order)

"""One set of neurons for a concept, from several photographs of it.

A set found on one photograph is a statement about that photograph. Here a method scores every neuron on each of m
pairs, and the scores are pooled over photographs (pooling.py):

    a = join(scale(a_1) .. scale(a_m)) - weight * the same of other concepts, their mean, where some are given
    N = the `count` neurons with the largest a that enough photographs hold

Several edits of one photograph, and views of it (views.py), are first averaged, so that every photograph counts once. A
photograph, or an edit, holds a neuron that is among its own best `within`. Whether the set is one of the concept shows
on photographs that were left out: :meth:`ScoredConcept.left_out`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from ..errors import InvalidOption, InvalidSample, RunMismatch
from ..fields import check_fields
from ..given import checked, checked_methods
from ..loading import VLM
from ..reprs import short_repr
from ..samples.inpaint import Counterfactual
from ..types import Json, Neurons, Site, one_of, options_of, whole_number
from .difference_x_gradient import DifferenceTimesGradient
from .located import Located, Method, Scores, decoding_of
from .matched import layer_matched
from .patching import Exchange, edit_effect
from .pooling import JOINS, SCALES, Join, Scale, held, pooled, scaled
from .scores import Layout, Pooled, best_first
from .target import concept_word, token_of
from .validity import Validity
from .views import CORNERS, corner, is_view, photograph_of

#: What scores each pair by default.
REFINED = DifferenceTimesGradient.refined()
#: A view whose edit does less to the word's log-probability says nothing of the concept; in natural logarithms.
LEAST_EFFECT = 0.5


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How several photographs become one set.

    Attributes:
        count: how many neurons are kept at most.
        scale: how photographs are made comparable.
        join: how they become one.
        within: a photograph holds a neuron that is among its own best so many.
        least_held: neurons that fewer photographs hold are left out.
        weight: of what is subtracted where other concepts are given. The more, the less the set does in their
            photographs, and the less it does in the concept's own (docs/results/natural/carry_over.md).
    """

    count: int = 200
    scale: Scale = "largest"
    join: Join = "mean"
    within: int = 200
    least_held: int = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        whole_number("count", self.count, 0)
        whole_number("within", self.within, 1)
        whole_number("least_held", self.least_held, 1)
        if self.weight < 0:
            raise InvalidOption(f"weight={self.weight} must be at least 0")
        one_of("scale", self.scale, SCALES)
        one_of("join", self.join, JOINS)


@dataclass(frozen=True)
class LeftOut:
    """What a set from the other photographs recovers on one that it was not found on.

    Attributes:
        image: the photograph, as its sample calls it.
        share: of the effect of its edit on the word's log-probability; the mean over its edits.
        random: the same of a random set of as many neurons of each layer.
    """

    image: str
    share: float
    random: float


@checked_methods
@dataclass(frozen=True)
class ScoredConcept:
    """What a method says of every neuron on each of several pairs of one concept.

    Attributes:
        vlm, pairs, method: what was scored.
        located: what the method found on each pair.
        effects: of each edit on the word's log-probability.
        unseen: views that could not be used, and why.
    """

    vlm: VLM
    pairs: tuple[Counterfactual, ...]
    method: Method
    located: tuple[Located, ...]
    effects: tuple[float, ...]
    unseen: tuple[str, ...] = ()

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)
        counts = {len(self.pairs), len(self.located), len(self.effects)}
        if counts == {0} or len(counts) > 1:
            raise InvalidOption(
                f"pairs, located and effects have {len(self.pairs)}, {len(self.located)} and {len(self.effects)} "
                "entries; one of each is needed for every pair, and at least one pair"
            )
        for one in self.located[1:]:
            self.located[0].neurons.require_like(one.neurons)

    @classmethod
    def of(
        cls,
        vlm: VLM,
        pairs: Sequence[Counterfactual],
        method: Method = REFINED,
        *,
        validities: Sequence[Validity] | None = None,
        views: int = 0,
    ) -> ScoredConcept:
        """Score every pair; `validities` are what :func:`check_validity` gave, where it is known.

        With `views` as many corners of each pair are scored as well, each for the price of a pair, where the model
        names the concept in them and the edit takes it away; `unseen` says where not.

        Raises InvalidOption for no pairs, or more views than corners, InvalidSample for pairs of several concepts, and
        what the method raises for a pair that it cannot use.
        """
        if not pairs:
            raise InvalidOption("there are no pairs to locate a concept in")
        concepts = sorted({pair.sample.concept for pair in pairs})
        if len(concepts) > 1:
            raise InvalidSample(f"the pairs are of several concepts: {', '.join(concepts)}; give those of one")
        if validities is not None and len(validities) != len(pairs):
            raise InvalidOption(f"{len(validities)} validities for {len(pairs)} pairs")
        whole_number("views", views, 0)
        if views > len(CORNERS):
            raise InvalidOption(f"views={views}: a picture has {len(CORNERS)} corners")
        known = validities if validities is not None else [None] * len(pairs)
        unseen: list[str] = []
        found: list[tuple[Counterfactual, Located, float]] = []
        for pair, own in zip(pairs, known, strict=True):
            one = method.locate(vlm, pair, validity=own)
            found.append((pair, one, _effect(vlm, pair, one, method)))
            found += _views(vlm, pair, method, list(CORNERS)[:views], unseen)
        scored, located, effects = zip(*found, strict=True)
        return cls(vlm, scored, method, located, effects, tuple(unseen))

    @property
    def photographs(self) -> tuple[str, ...]:
        """Of each pair, which photograph it is."""
        return tuple(photograph_of(pair) for pair in self.pairs)

    def without(self, photograph: str) -> ScoredConcept:
        """All edits of one photograph left out. Raises InvalidOption where nothing is left."""
        keep = [k for k, name in enumerate(self.photographs) if name != photograph]
        if not keep:
            raise InvalidOption("a single photograph cannot be left out")
        return ScoredConcept(
            self.vlm,
            tuple(self.pairs[k] for k in keep),
            self.method,
            tuple(self.located[k] for k in keep),
            tuple(self.effects[k] for k in keep),
            self.unseen,
        )

    def scaled(self, scale: Scale) -> Float[np.ndarray, "edits neurons"]:
        """The scores of each edit, on one scale. Raises InvalidSample where there is nothing to scale by."""
        each = zip(self.located, self.effects, strict=True)
        return np.stack([scaled(one.scores.arrays[one.ranked_by].values, scale, effect) for one, effect in each])

    def neurons(self, pooling: Pooling = Pooling(), against: Sequence[ScoredConcept] = ()) -> Neurons:
        """The set, best first; see :func:`locate_concept`. Raises RunMismatch for `against` of another model."""
        edits, names = self.scaled(pooling.scale), self.photographs
        each = _averaged(edits, names)
        if pooling.least_held > len(each):
            raise InvalidOption(f"least_held={pooling.least_held} is more than the {len(each)} photographs")
        values = pooled(each, pooling.join, pooling.within)
        for one in against:
            self.located[0].neurons.require_like(one.located[0].neurons)
            if one.vlm.widths != self.vlm.widths:
                raise RunMismatch(
                    f"against holds scores of {one.vlm.id!r}, whose neurons are not those of {self.vlm.id!r}"
                )
        if against:
            rivals = [_averaged(one.scaled(pooling.scale), one.photographs) for one in against]
            values = values - pooling.weight * np.mean([pooled(one, pooling.join, pooling.within) for one in rivals], 0)
        of_photographs, of_edits = held(each, pooling.within), held(edits, pooling.within)
        order = best_first(values)
        order = order[of_photographs.sum(0)[order] >= pooling.least_held][: pooling.count]
        arrays = {
            "pooled": Pooled(values),
            "held": Pooled(of_photographs.sum(0).astype(np.float64)),
            "held_edits": Pooled(of_edits.sum(0).astype(np.float64)),
        }
        members, scores = Scores(Layout(self.vlm.widths), arrays).members(order)
        sources: list[Json] = [self._source(k, int(of_edits[k, order].sum())) for k in range(len(edits))]
        rival_names: list[Json] = [one.pairs[0].sample.concept for one in against]
        sent = self.vlm.sent(decoding_of(self.method))
        return Neurons(
            members,
            scores,
            site=self.located[0].neurons.site,
            concept=self.pairs[0].sample.concept,
            method=f"{self.method.name}, pooled",
            options={"method": options_of(self.method), **asdict(pooling), "against": rival_names},
            provenance={
                "ranked_by": "pooled",
                "photographs": len(each),
                "pairs": sources,
                "sent": sent,
                "unseen": list(self.unseen),
            },
            model=dict(self.located[0].neurons.model),  # of the scores: the weights may be edited by now
        )

    def left_out(
        self, pooling: Pooling = Pooling(), seed: int = 0, against: Sequence[ScoredConcept] = ()
    ) -> list[LeftOut]:
        """For each photograph: what the set from the others recovers of its edit, patched at the image tokens.

        `against` is as for :meth:`neurons`.

        Raises InvalidOption for fewer than two photographs.
        """
        layout, names, found = Layout(self.vlm.widths), self.photographs, list[LeftOut]()
        for number, name in enumerate(dict.fromkeys(names)):
            neurons = self.without(name).neurons(pooling, against)
            control = layer_matched(self.vlm, neurons, seed=seed + number)
            masks = [layout.mask(some) for some in (neurons, control)]
            own = [k for k, one in enumerate(names) if one == name and not is_view(self.pairs[k])]
            shares = np.mean([self._exchange(k, neurons.site).effects(masks) / self.effects[k] for k in own], axis=0)
            found.append(LeftOut(self.pairs[own[0]].sample.image_id, *map(float, shares)))
        return found

    def _exchange(self, k: int, site: Site) -> Exchange:
        pair, word = self.pairs[k], concept_word(self.located[k].validity, token_of(self.method))
        return Exchange.of(self.vlm, pair.original, pair.edited, word, decoding_of(self.method), site=site)

    def _source(self, k: int, members: int) -> Json:
        pair, validity = self.pairs[k], self.located[k].validity
        return {
            "image": pair.sample.image_id,
            "photograph": self.photographs[k],
            "edit": {"method": pair.method, **dict(pair.options)},
            "caption": validity.original.text,
            "edited_caption": validity.edited.text,
            "effect": self.effects[k],
            "holds": members,
        }


@checked
def locate_concept(
    vlm: VLM,
    pairs: Sequence[Counterfactual],
    method: Method = REFINED,
    pooling: Pooling = Pooling(),
    *,
    against: Sequence[ScoredConcept] = (),
    validities: Sequence[Validity] | None = None,
    views: int = 0,
) -> Neurons:
    """The neurons that hold a concept in several photographs.

    Args:
        vlm: the model.
        pairs: photographs of one concept and their edits. Pairs with the same original are edits of one photograph.
        method: what scores the neurons of each pair; its own `count` and thresholds are not used.
        pooling: how the photographs become one set.
        against: other concepts; the mean of what each of them gives, pooled in the same way, is subtracted with the
            pooling's weight.
        validities: what :func:`check_validity` gave for each pair, where it is known.
        views: so many corners of each pair are scored with it; see :meth:`ScoredConcept.of`.

    Returns the set, best first, with the scores "pooled" and, as numbers of photographs and of edits, "held" and
    "held_edits". The provenance says of each pair which picture it was, its edit, captions and effect, and how many of
    the members it holds.

    Raises InvalidOption for no pairs, or a `least_held` that is more than the photographs; InvalidSample for pairs of
    several concepts or without an effect to scale by, and what the method raises for a pair it cannot use.
    """
    return ScoredConcept.of(vlm, pairs, method, validities=validities, views=views).neurons(pooling, against)


def _views(
    vlm: VLM, pair: Counterfactual, method: Method, names: Sequence[str], unseen: list[str]
) -> Iterator[tuple[Counterfactual, Located, float]]:
    for name in names:
        try:
            seen = corner(pair, name)
            one = method.locate(vlm, seen)
        except InvalidSample as error:
            unseen.append(f"{pair.sample.image_id}, {name}: {type(error).__name__}: {error}")
            continue
        effect = _effect(vlm, seen, one, method)
        if effect < LEAST_EFFECT:
            unseen.append(
                f"{pair.sample.image_id}, {name}: the edit does {effect:.2f} to the word, at least 0.5 is asked"
            )
            continue
        yield seen, one, effect


def _effect(vlm: VLM, pair: Counterfactual, one: Located, method: Method) -> float:
    return edit_effect(vlm, pair, concept_word(one.validity, token_of(method)), decoding_of(method))


def _averaged(edits: Float[np.ndarray, "edits n"], names: Sequence[str]) -> Float[np.ndarray, "photographs n"]:
    rows = [[k for k, own in enumerate(names) if own == name] for name in dict.fromkeys(names)]
    return np.stack([edits[own].mean(0) for own in rows])

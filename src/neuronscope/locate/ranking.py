"""Methods that score every neuron and keep the best: what they share.

    N = the `count` neurons with the largest scores; ties by (score descending, layer ascending, unit ascending)

or, with a `cut`, the fewest of them that recover what the edit does (METHODS n5).

A baseline is compared with two-stage filtering at equal size: `count` is then |N_k| of the same sample (METHODS c).
Each such method is one short file with one function of its own, :meth:`Ranking.score`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.lexicon import MODES, Mode
from ..types import SITES, Json, Neurons, Site, one_of, options_of, whole_number
from .located import Clock, Located, Scores
from .picture_row import PictureRow
from .recovery import Recovery
from .scores import Layout, Pooled, best_first
from .target import token_of
from .validity import Validity, check_validity


@dataclass(frozen=True)
class Ranked:
    """What a method gives for one sample.

    Attributes:
        by: name of the score array that orders the neurons.
        arrays: score name -> scores of all neurons; `by` is one of them.
        site: where the neurons were read, and where changes and maps of the set act.
        keep: how many neurons are kept, where that is not the method's `count`.
        provenance: what is saved with the neurons beside the options.
        notes: what a reader should know.
        rows: of the original and the edited picture, where the method has read them.
    """

    by: str
    arrays: Mapping[str, Pooled]
    site: Site = "neuron"
    keep: int | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict[str, Json])
    notes: tuple[str, ...] = ()
    rows: tuple[PictureRow, ...] = ()


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Ranking(ABC):
    """A method that keeps the best neurons by one score.

    Attributes:
        count: how many are kept; 0 keeps none.
        address: where changes and maps of the set act, whatever the score reads; None for where it reads.
        cut: chooses the number instead, from what the best neurons do to the model.
        match: when a caption counts as naming the concept.
        decoding: caption settings.
        name: what results call it.
    """

    count: int = 100
    address: Site | None = None
    cut: Recovery | None = None
    match: Mode = "lexicon"
    decoding: Decoding = field(default_factory=Decoding)
    name: str = ""

    #: option -> the values it may have.
    choices: ClassVar[Mapping[str, Sequence[str]]] = {}
    #: whether the method reads image tokens.
    needs_image: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)
        whole_number("count", self.count, 0)
        for option, values in {"match": MODES, **self.choices}.items():
            one_of(option, getattr(self, option), values)
        if self.address is not None:
            one_of("address", self.address, SITES)

    @abstractmethod
    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """The scores of all neurons."""

    @in_turn
    def locate(self, vlm: VLM, pair: Counterfactual, *, validity: Validity | None = None) -> Located:
        """The best neurons for `pair.sample.concept`; `validity` saves the captions where they are known.

        Raises InvalidSample (ConceptNotNamed, ConceptStillNamed) for a sample that breaks a
        condition, InvalidOption when the model has fewer than `count` neurons, and NoImagePositions where the method
        needs image tokens and the decoder has none.
        """
        layout = Layout(vlm.widths)
        if self.count > layout.total:
            raise InvalidOption(f"count={self.count} is more than the {layout.total} neurons of {vlm.id}")
        if self.needs_image:
            vlm.require_image_positions()
        clock = Clock()
        validity = validity or check_validity(vlm, pair, mode=self.match, decoding=self.decoding)
        clock.lap("captions")
        ranked = self.score(vlm, pair, validity)
        clock.lap("scores")
        scores = Scores(layout, ranked.arrays)
        values = ranked.arrays[ranked.by].values
        keep, notes, provenance = self.count if ranked.keep is None else ranked.keep, ranked.notes, ranked.provenance
        if self.cut is not None:
            cut = self.cut.choose(
                vlm,
                pair,
                validity,
                values,
                site=self.address or ranked.site,
                concept_token=token_of(self),
                mode=self.match,
                decoding=self.decoding,
                rows=ranked.rows,
            )
            clock.lap("cut")
            keep, notes, provenance = cut.count, (*notes, *cut.notes()), {**provenance, "recovery": cut.to_dict()}
        order = best_first(values)[:keep]
        if low := int(np.count_nonzero(values[order] <= 0)):
            notes += (f"{low} of the {len(order)} neurons have a {ranked.by} score of 0 or less",)
        members, kept = scores.members(order)
        neurons = Neurons(
            members,
            kept,
            site=self.address or ranked.site,
            concept=pair.sample.concept,
            method=self.name,
            options=self.to_dict(),
            provenance={
                "ranked_by": ranked.by,
                "sent": vlm.sent(self.decoding),
                "edit": {"method": pair.method, **dict(pair.options)},
                "notes": list(notes),
                **provenance,
            },
            model=vlm.identity(),
        )
        return Located(neurons, scores, validity, ranked.by, notes, clock.laps)

    def to_dict(self) -> dict[str, Json]:
        """All options, as a file can hold them."""
        return options_of(self)

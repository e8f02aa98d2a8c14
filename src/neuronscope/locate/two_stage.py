"""Two-stage filtering (Sato & Takagi, III-B; METHODS b).

    V = O_original - O_edited                                 activations at the image tokens, [L, P, d_f]
    C = { (l, i) : exists p, V[l, p, i] > t_a }               stage 1: what the object's removal switches off
    g = O_original * d y_c / d O_original                     y_c: logit of the concept's token where it is predicted
    N = { (l, i) in C : exists p, g[l, p, i] > t_g }          stage 2: what pushes the concept's word

That is the paper's form: two filters, whose thresholds are given or chosen per sample. The recommended form is both
stages as one product, sum_p V[l, p, i] dy_c/dO'[l, p, i], cut where the best neurons carry the edit (METHODS n3 to n5):
raw differences are not compared between layers of different scale, and no null is needed. On a model in which nothing
was planted the filters keep nothing, the product does (docs/results/natural).

Every fork that the paper leaves open is an option; `TwoStage.paper(...)` and `TwoStage()` are the two presets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..intervene import activations
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.lexicon import Mode, published_thresholds
from ..types import SITES, Json, Neurons, Site, one_of, options_of, whole_number
from .decoys import CONTROL_SCALES, ControlDifference, ControlScale, Differences, decoy_tokens
from .difference_x_gradient import DifferenceTimesGradient
from .emptied import emptied
from .located import Clock, Located, Scores
from .recovery import Recovery
from .scores import (
    SCORES,
    SIGNS,
    TARGETS,
    Entry,
    Layout,
    Pool,
    Pooled,
    Score,
    Sign,
    Target,
    best_first,
    grad_times_activation,
    patch_scores,
)
from .target import CONCEPT_TOKENS, ConceptToken, concept_word
from .thresholds import Cut, Fixed, TargetDecoy, Threshold
from .validity import Validity, check_validity

#: What a filter asks of the patches: that any exceeds the threshold, or their mean or sum does.
Quantifier: TypeAlias = Literal["any", "mean", "sum"]
#: The score that is compared: some patch exceeds a threshold exactly when the largest does.
_POOLED: Mapping[Quantifier, Pool] = {"any": "max", "mean": "mean", "sum": "sum"}
PatchRule: TypeAlias = Literal["any", "same_patch"]

#: Options that only filters have.
_OF_FILTERS = (
    *("diff_sign", "diff_pool", "grad_pool", "grad_score", "patch_rule"),
    *("controls", "control_scale", "photographs", "decoys", "seed"),
)


@checked_methods
@dataclass(frozen=True)
class TwoStage:
    """Two-stage filtering with every fork of METHODS (b) as an option; the defaults are the recommended preset.

    Attributes:
        activation, gradient: how each filter's threshold is chosen. Where neither is given and both stages apply, the
            stages are one product and `cut` chooses; where one is, the other is chosen by `TargetDecoy()`.
        stages: which stages apply: (1, 2), (1,) or (2,); one alone is a filter.
        cut: of the product.
        also, points, until, rounds: of the product's gradient; see :class:`neuronscope.locate.DifferenceTimesGradient`.
        site: where activations are compared in stage 1 (stage 2 is the same at `act` and `neuron`).
        diff_sign: signed differences, or their size (B7).
        diff_pool, grad_pool: over patches; "any" is the paper's "at least one patch". For the gradient the sum is the
            default: small effects of either sign cancel, where the largest of many patches always finds some; against
            the bundled model's planted neurons it is the more precise (docs/usage.md).
        grad_target: raw logit, log-probability, log-odds, probability, or contrast: with the decoys' mean logit (B6),
            in the product with the logit of what the edited picture is said to show.
        grad_score: n * dy/dn, or Schwettmann's pre-activation form.
        patch_rule: both conditions at any patches, or at one and the same patch (B1).
        concept_token: which sub-tokens of the word y_c belongs to (B3).
        controls: how many other parts of the picture are inpainted as stage-1 decoys; see
            :func:`neuronscope.samples.controls_of`.
        control_scale: stage-1 decoys are brought to the pair's amount of change by the robust spread of V over neurons
            ("spread"), or taken as they are ("none").
        photographs: files of pictures without the concept; the region of the edit is inpainted in each, and these are
            the stage-1 decoys instead.
        decoys: how many other nouns serve as stage-2 decoys.
        match: when a caption counts as naming the concept.
        seed: of control boxes and decoy nouns.
        decoding: caption settings.
    """

    activation: Threshold | None = None
    gradient: Threshold | None = None
    stages: tuple[int, ...] = (1, 2)
    cut: Recovery = field(default_factory=Recovery)
    also: Target | None = "logprob"
    points: int = 2
    until: float | None = 0.75
    rounds: int = 3
    site: Site = "neuron"
    diff_sign: Sign = "signed"
    diff_pool: Quantifier = "any"
    grad_pool: Quantifier = "sum"
    grad_target: Target = "logit"
    grad_score: Score = "gradcam"
    patch_rule: PatchRule = "any"
    concept_token: ConceptToken = "first"
    controls: int = 6
    control_scale: ControlScale = "spread"
    photographs: tuple[str, ...] = ()
    decoys: int = 8
    match: Mode = "lexicon"
    seed: int = 0
    decoding: Decoding = field(default_factory=Decoding)
    name: str = "two-stage"

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("activation", "gradient"):
            rule = getattr(self, name)
            if rule is not None and not isinstance(rule, Threshold):
                raise InvalidOption(f"{name}={rule!r} is no threshold: give Fixed(number), or another rule")
        one_of("site", self.site, SITES)
        one_of("diff_sign", self.diff_sign, SIGNS)
        one_of("diff_pool", self.diff_pool, list(_POOLED))
        one_of("grad_pool", self.grad_pool, list(_POOLED))
        one_of("grad_target", self.grad_target, TARGETS)
        one_of("grad_score", self.grad_score, SCORES)
        one_of("patch_rule", self.patch_rule, get_args(PatchRule))
        one_of("concept_token", self.concept_token, CONCEPT_TOKENS)
        one_of("control_scale", self.control_scale, CONTROL_SCALES)
        whole_number("controls", self.controls, 0)
        whole_number("decoys", self.decoys, 1)
        if self.stages not in ((1, 2), (1,), (2,)):
            raise InvalidOption(f"stages={self.stages} is not one of (1, 2), (1,), (2,)")
        if self.patch_rule == "same_patch" and (self.stages != (1, 2) or {self.diff_pool, self.grad_pool} != {"any"}):
            raise InvalidOption(
                "patch_rule='same_patch' compares patches of both stages: it needs both, pooled by 'any'"
            )
        given = [name for name in _OF_FILTERS if getattr(self, name) != getattr(TwoStage, name)]
        if given and not self.filters:
            raise InvalidOption(
                f"{', '.join(given)}: of the two filters, where `activation` or `gradient` is given, or one stage; "
                "without thresholds both stages are one product"
            )
        if not self.filters:
            self._product()

    @property
    def filters(self) -> bool:
        """Whether stages are filters with thresholds; otherwise they are one product."""
        return self.activation is not None or self.gradient is not None or self.stages != (1, 2)

    @property
    def thresholds(self) -> tuple[Threshold, Threshold]:
        """Of the two filters: those given, and target-decoy control."""
        return self.activation or TargetDecoy(), self.gradient or TargetDecoy()

    def _product(self) -> DifferenceTimesGradient:
        return DifferenceTimesGradient(
            target=self.grad_target,
            also=self.also,
            points=self.points,
            until=self.until,
            rounds=self.rounds,
            site=self.site,
            concept_token=self.concept_token,
            cut=self.cut,
            match=self.match,
            decoding=self.decoding,
            name=self.name,
        )

    @classmethod
    def paper(cls, concept: str, **changes: object) -> TwoStage:
        """The literal reading of the paper, with the thresholds of its Table IV.

        Raises InvalidOption for a concept the table does not have.
        """
        table = published_thresholds()
        one_of("concept", concept, sorted(table))
        t_a, t_g = table[concept]
        literal = cls(activation=Fixed(t_a), gradient=Fixed(t_g), site="act", grad_pool="any", name="two-stage (paper)")
        return dataclasses.replace(literal, **changes)  # pyright: ignore[reportArgumentType]

    @in_turn
    def locate(self, vlm: VLM, pair: Counterfactual, *, validity: Validity | None = None) -> Located:
        """Find the neurons for `pair.sample.concept`; `validity` saves the captions where they are known.

        Raises InvalidSample (ConceptNotNamed, ConceptStillNamed) for a sample that breaks a
        condition of the method, and NoImagePositions where the decoder has no image tokens.
        """
        if not self.filters:
            found = self._product().locate(vlm, pair, validity=validity)
            return dataclasses.replace(found, neurons=dataclasses.replace(found.neurons, options=self.to_dict()))
        vlm.require_image_positions()
        clock = Clock()
        validity = validity or check_validity(vlm, pair, mode=self.match, decoding=self.decoding)
        clock.lap("captions")
        layout = Layout(vlm.widths)
        keep = np.ones(layout.total, dtype=bool)
        arrays: dict[str, Pooled] = {}
        cuts: dict[str, Cut] = {}

        difference, controls = self._differences(vlm, pair)
        arrays["activation"] = difference
        if 1 in self.stages:
            decoys = np.stack([one.values for one in controls]) if controls else np.zeros((0, len(keep)))
            cuts["activation"] = self.thresholds[0].choose(difference.values, decoys)
            keep &= difference.values > cuts["activation"].threshold
        passed = int(keep.sum())
        clock.lap("stage 1")

        target, rivals = self._gradients(vlm, pair, validity)
        arrays["gradient"] = target
        if 2 in self.stages:
            # Stage 2 chooses among the survivors of stage 1, so its controls are counted among them too.
            decoys = np.stack([p.values[keep] for p in rivals]) if rivals else np.zeros((0, int(keep.sum())))
            rule = self.thresholds[1]
            cuts["gradient"] = rule.choose(target.values[keep], decoys) if keep.any() else Cut(np.inf, "empty")
            keep &= target.values > cuts["gradient"].threshold
        if self.patch_rule == "same_patch":
            keep = self._same_patch(vlm, pair, validity, layout, keep, cuts)
        clock.lap("stage 2")

        notes = () if keep.any() else emptied(arrays, cuts, controls, passed, len(rivals))
        scores = Scores(layout, arrays)
        ranked_by = "gradient" if 2 in self.stages else "activation"
        neurons = self._neurons(vlm, pair, scores, ranked_by, cuts, controls, keep, notes)
        return Located(neurons, scores, validity, ranked_by, notes, clock.laps)

    def _differences(self, vlm: VLM, pair: Counterfactual) -> tuple[Pooled, list[ControlDifference]]:
        """V of the pair, and of every control."""
        how = Differences(self.site, self.diff_sign, _POOLED[self.diff_pool], self.decoding, self.control_scale)
        wanted = 1 in self.stages and self.thresholds[0].needs_decoys
        return how.of(vlm, pair, self.controls if wanted else 0, self.seed, self.photographs if wanted else ())

    def _gradients(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> tuple[Pooled, list[Pooled]]:
        """g of the concept's token, and of each decoy noun's at the same position."""
        word = concept_word(validity, self.concept_token)
        targets: list[tuple[Entry, ...]] = [word.entries]
        if (2 in self.stages and self.thresholds[1].needs_decoys) or self.grad_target == "contrast":
            place = word.entries[0][0]
            nouns = decoy_tokens(vlm, validity, pair.sample.concept, self.decoys, self.seed, decoding=self.decoding)
            targets += [((place, token),) for token in nouns]
        pooled = grad_times_activation(
            vlm,
            word.inputs(vlm, pair.original, self.decoding),
            targets,
            target=self.grad_target,
            score=self.grad_score,
            pool=_POOLED[self.grad_pool],
            average=word.average,
        )
        return pooled[0], pooled[1:]

    def _same_patch(
        self,
        vlm: VLM,
        pair: Counterfactual,
        validity: Validity,
        layout: Layout,
        keep: Bool[np.ndarray, "n"],
        cuts: dict[str, Cut],
    ) -> Bool[np.ndarray, "n"]:
        """Of the neurons that pass both stages somewhere, those that pass both at one patch."""
        members = [layout.split(int(flat)) for flat in np.nonzero(keep)[0]]
        chosen = Neurons.of(members, site=self.site)
        original, edited = (
            activations(vlm, image, chosen, decoding=self.decoding) for image in (pair.original, pair.edited)
        )
        difference = original - edited
        if self.diff_sign == "abs":
            difference = np.abs(difference)
        word = concept_word(validity, self.concept_token)
        slope = patch_scores(
            vlm,
            word.inputs(vlm, pair.original, self.decoding),
            word.entries,
            members,
            target=self.grad_target,
            score=self.grad_score,
            average=word.average,
        )
        both = (difference > cuts["activation"].threshold) & (slope > cuts["gradient"].threshold)
        result = keep.copy()
        result[np.nonzero(keep)[0][~both.any(axis=0)]] = False
        return result

    def _neurons(
        self,
        vlm: VLM,
        pair: Counterfactual,
        scores: Scores,
        ranked_by: str,
        cuts: dict[str, Cut],
        controls: list[ControlDifference],
        keep: Bool[np.ndarray, "n"],
        notes: tuple[str, ...],
    ) -> Neurons:
        kept = np.nonzero(keep)[0]
        members, values = scores.members(kept[best_first(scores.arrays[ranked_by].values[kept])])
        return Neurons(
            members=members,
            scores=values,
            site=self.site,
            concept=pair.sample.concept,
            method=self.name,
            options=self.to_dict(),
            provenance={
                "sent": vlm.sent(self.decoding),
                "thresholds": {name: cut.to_dict() for name, cut in cuts.items()},
                "controls": [one.to_dict() for one in controls],
                "edit": {"method": pair.method, **dict(pair.options)},
                "notes": list(notes),
            },
            model=vlm.identity(),
        )

    def to_dict(self) -> dict[str, Json]:
        """All options, as a file can hold them."""
        return options_of(self)

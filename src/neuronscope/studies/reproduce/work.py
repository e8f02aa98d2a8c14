"""The whole evaluation of Sato & Takagi as units of work in a run directory (METHODS b to e).

Which units there are, and in which order, is in units.py; here is how each is done. A unit depends only on the settings
and on units before it, so a run that is killed goes on where it was, and several processes on one directory share the
work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ...caption import Captioner
from ...cluster.schedule import Failure
from ...cluster.task import Rows
from ...cluster.units import Unit
from ...errors import InvalidOption, InvalidSample, NotFinite
from ...evaluate.aggregate import check_clean
from ...evaluate.captions import compare, metric
from ...evaluate.effect import counts, named
from ...evaluate.truth import agreement, average_precision, planted
from ...held import in_turn
from ...intervene import Mean, Noise, Patch, Zero, activations, mean_activations
from ...intervene.operations import Intervention
from ...loading import VLM
from ...locate import Located, equal_size
from ...locate.matched import layer_matched_sets
from ...locate.registry import takes_size
from ...run.directory import Run
from ...run.understood import only_row
from ...samples.lexicon import MODES
from ...samples.sample import Sample
from ...types import Json, Neurons
from ...view.heatmap import heatmap
from .dataset import Dataset, build
from .failures import carried_out
from .kept import CandidateSource, Kept, Rejection
from .record import kept_row, read_candidate, read_dataset, read_set, to_row
from .rows import TRUTH, localisation_rows, located_row, refused_row
from .settings import Condition, Experiment
from .ties import Counting
from .units import CANDIDATE, DATASET, Cost, sample_key, units

_BATCH = 128


class Reproduction:
    """An experiment on a model and some data, in a run directory.

    Args:
        vlm: the model.
        source: where candidates come from.
        experiment: the settings.
        run: the directory, opened with :func:`neuronscope.studies.reproduce.opening.open_run`.
        step: told what is being done, for progress displays; once for every unit.
    """

    def __init__(
        self,
        vlm: VLM,
        source: CandidateSource,
        experiment: Experiment,
        run: Run,
        *,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._vlm = vlm
        self._source = source
        self.experiment = experiment
        self.run = run
        self.step = step
        self._written: dict[object, list[dict[str, Any]]] = {}  # captions of the sample that is being worked on,
        self._writing = ""  # whose image is this
        self._metrics: dict[str, Any] = {}
        self.ties = Counting(vlm)
        self._doing: dict[str, Callable[[Mapping[str, Any]], Rows]] = {
            "located": lambda key: [self._locate(key["method"], self._sample(key))],
            "captions": lambda key: self._caption(key["method"], self._sample(key), self._conditions[key["condition"]]),
            "localisation": lambda key: self._localise(key["method"]),
            "random": lambda key: self._random(self._sample(key)),
            "similarity": lambda key: self._similar(key["metric"], key["method"]),
        }

    @cached_property
    def found(self) -> Dataset:
        """What was found of every concept that was asked for, whether or not it is enough."""
        if not self.run.done(DATASET.kind, DATASET.key):
            plan = self.experiment
            found = build(
                self._vlm,
                self._source,
                plan.concepts,
                per_concept=plan.images,
                seed=plan.seed,
                edit=plan.edit,
                reach=plan.reach,
                max_other_share=plan.max_other_share,
                distinct=plan.distinct,
                match=plan.match,
                decoding=plan.decoding,
                limits=plan.limits,
                limit=plan.limit,
                step=self.step,
                known=self._candidate,
                keep=self._keep,
            )
            self.run.write(DATASET.kind, DATASET.key, [to_row(found)])
        return read_dataset(self.run, self._vlm, self._source, self.experiment)

    def _candidate(self, sample: Sample) -> Kept | Rejection | None:
        """What an earlier start found of a candidate."""
        key = {"concept": sample.concept, "image": sample.image_id}
        if not self.run.done(CANDIDATE, key):
            return None
        return read_candidate(self.run, key, self._vlm, sample, self.experiment)

    def _keep(self, found: Kept | Rejection) -> None:
        self.run.write(CANDIDATE, {"concept": found.concept, "image": found.image_id}, [kept_row(found)])

    @cached_property
    def dataset(self) -> Dataset:
        """The samples of the concepts that have enough, or with `allow_missing` of all that have some.

        Raises TooFewSamples, with the counts of what was rejected, when a concept has too few, unless that is allowed.
        """
        return self.found.complete(allow_missing=self.experiment.allow_missing)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Those that have samples enough."""
        return self.dataset.concepts

    @cached_property
    def samples(self) -> tuple[Kept, ...]:
        """All samples, concept by concept."""
        return self.dataset.samples

    @cached_property
    def captioner(self) -> Captioner:
        """Captions the samples' original images. Raises InvalidSample when an image does not name its concept."""
        images = [kept.pair.original for kept in self.samples]
        captioner = Captioner(self._vlm, images, decoding=self.experiment.decoding, batch_size=_BATCH)
        texts = [row[0].text for row in captioner.captions()]
        concepts = [kept.concept for kept in self.samples]
        hits = [named(text, concept, self.experiment.match) for text, concept in zip(texts, concepts, strict=True)]
        check_clean([kept.image_id for kept in self.samples], concepts, hits, texts)
        return captioner

    def units(self) -> Iterator[Unit]:
        """Everything there is to do, in an order in which each unit finds what it needs."""
        return units(self.experiment, [(kept.concept, kept.image_id) for kept in self.samples])

    def rows(self, unit: Unit) -> Rows:
        """Do a unit; its rows are returned and not kept."""
        return self._doing[unit.kind](unit.key)

    @in_turn
    def work(self) -> tuple[Failure, ...]:
        """Do every unit that is not done; those are returned whose numbers are not finite, without what needs them."""
        return carried_out(self.units(), self.run, self._try, self._do)

    def left(self) -> int:
        """How many units are not done."""
        return sum(not self.run.done(unit.kind, unit.key) for unit in self.units())

    def cost(self) -> Cost:
        """Time and disk space of the captions that are left, measured on one of them; the rest takes little."""
        left = [unit for unit in self.units() if unit.kind == "captions" and not self.run.done(unit.kind, unit.key)]
        cost = Cost.of(self.experiment, len(self.samples), left)
        if not left:
            return replace(cost, seconds=0.0)
        self.neurons(str(left[0].key["method"]), self._sample(left[0].key))
        self.captioner.captions()  # whatever is done once is not counted
        start = time.perf_counter()
        try:
            rows = self.rows(left[0])
        except NotFinite:
            return cost  # it is told of in its turn
        return replace(cost, seconds=(time.perf_counter() - start) * cost.captions / len(rows))

    def _try(self, unit: Unit) -> bool:
        """Do a unit unless another process is at it; whether it is done."""
        if self.run.done(unit.kind, unit.key):
            return True
        with self.run.claim(unit.kind, unit.key) as ours:
            if ours:
                self._do(unit)
        return ours

    def _do(self, unit: Unit) -> bool:
        if not self.run.done(unit.kind, unit.key):
            self.step(str(unit))
            self.run.write(unit.kind, unit.key, self.rows(unit))
            self.ties.keep(self.run)
        return True

    def key(self, text: str, kept: Kept) -> dict[str, Json]:
        """What a method's unit for a sample is called."""
        return sample_key(text, kept.concept, kept.image_id)

    def captions_key(self, text: str, kept: Kept, condition: Condition) -> dict[str, Json]:
        """What the captions under a condition on such a unit's neurons are called."""
        return {**self.key(text, kept), "condition": condition.name}

    def _sample(self, key: Mapping[str, Any]) -> Kept:
        """The sample that a unit's key names."""
        return next(k for k in self.samples if (k.concept, k.image_id) == (key["concept"], key["image"]))

    @cached_property
    def _conditions(self) -> dict[str, Condition]:
        return {condition.name: condition for condition in self.experiment.conditions}

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer of the model."""
        return self._vlm.widths

    def located(self, text: str, kept: Kept) -> Mapping[str, Any]:
        """The row of a method on a sample, from its part; located now where another process has it in work."""
        key = self.key(text, kept)
        if not self.run.done("located", key):
            self.run.write("located", key, [self._locate(text, kept)])
        return only_row(self.run, "located", key)

    def neurons(self, text: str, kept: Kept) -> Neurons | None:
        """A located set; None where the method refused the sample."""
        return read_set(self.run, self.key(text, kept), self.located(text, kept))

    def _locate(self, text: str, kept: Kept) -> dict[str, Any]:
        plan = self.experiment
        chosen = plan.method(text, kept.concept)
        if text != plan.reference and "count" not in plan.specs[text].options:
            reference = self.located(plan.reference, kept)
            if reference["refused"] is not None and takes_size(chosen):
                return refused_row(f"{plan.reference}, whose size it takes, refused: {reference['refused']}")
            like = self.neurons(plan.reference, kept)
            chosen = chosen if like is None else equal_size(chosen, like)
        try:
            found = chosen.locate(self._vlm, kept.pair, validity=kept.validity)
        except (InvalidOption, InvalidSample, NotFinite) as error:  # such as too few neurons for a random set
            return refused_row(f"{type(error).__name__}: {error}")
        seconds = float(sum(found.seconds.values()))
        neurons = replace(found.neurons, site=plan.site)
        return located_row(neurons, found.notes, seconds) | self._truth(found, kept.concept)

    def _truth(self, found: Located, concept: str) -> dict[str, float | None]:
        truth = self._planted.get(concept)
        if truth is None:
            return dict.fromkeys(TRUTH)
        shares = agreement(found.neurons, truth)
        area = average_precision(found.scores.arrays[found.ranked_by].values, found.scores.layout, truth)
        return dict(zip(TRUTH, (shares.precision, shares.recall, area), strict=True))

    @cached_property
    def _planted(self) -> dict[str, Neurons]:
        return planted(self._vlm)

    @cached_property
    def _means(self) -> tuple[Any, ...]:
        images = [kept.pair.original for kept in self.samples]
        return mean_activations(self._vlm, images, site=self.experiment.site, decoding=self.experiment.decoding)

    def change(self, neurons: Neurons, kept: Kept, condition: Condition) -> Intervention | None:
        """What a condition does to a set that was located in a sample; None where its level has no unit there."""
        plan = self.experiment
        if condition.level is None:
            if condition.name == "zero":
                return Zero(neurons)
            if condition.name == "patch":
                return self._patch(neurons, kept)
            return Mean(neurons, means=tuple(float(self._means[n.layer][n.unit]) for n in neurons))
        level = condition.level
        if plan.scale == "difference":
            unit = self._median_difference(kept)
            if unit is None:
                return None
            level *= unit
        relative = plan.scale == "deviation"
        return Noise(neurons, level=level, draws=plan.draws, seed=plan.seed, sharing=plan.sharing, relative=relative)

    def _patch(self, neurons: Neurons, kept: Kept) -> Patch:
        """The edited picture's activations; from their beginning again where another image has more tokens."""
        source = activations(self._vlm, kept.pair.edited, neurons, decoding=self.experiment.decoding)
        return Patch(neurons, source=np.resize(source, (max(self._tokens, len(source)), len(neurons))))

    @cached_property
    def _tokens(self) -> int:
        """Image tokens of the image that has most."""
        images = [kept.pair.original for kept in self.samples]
        return max(row.count for row in self._vlm.prepare(images, self.experiment.decoding).images)

    def _median_difference(self, kept: Kept) -> float | None:
        """None where the reference method refused the sample."""
        reference = self.neurons(self.experiment.reference, kept)
        if reference is None:
            return None
        differences = reference.scores["activation"]
        return float(np.median(differences)) if differences else 0.0

    def _caption(self, text: str, kept: Kept, condition: Condition) -> list[dict[str, Any]]:
        if self._writing != kept.image_id:
            self._writing, self._written = kept.image_id, {}
        neurons = self.neurons(text, kept)
        if neurons is None:
            return []
        same = (frozenset(neurons), neurons.site, condition)  # two methods may find the same set
        if same not in self._written:
            change = self.change(neurons, kept, condition)
            if change is None:
                return []
            captions = self.captioner.captions(change)
            draws = self.experiment.draws if condition.level is not None else 1
            rows: list[dict[str, Any]] = []
            for sample, row in zip(self.samples, captions, strict=True):
                for draw, caption in enumerate(row * draws if len(row) < draws else row):
                    hits = {f"hit_{mode}": named(caption.text, sample.concept, mode) for mode in MODES}
                    rows.append(
                        {
                            "of": sample.image_id,
                            "names": sample.concept,
                            "draw": draw,
                            "caption": caption.text,
                            "hit": hits[f"hit_{self.experiment.match}"],
                            **hits,
                        }
                    )
            self._written[same] = rows
        return self._written[same]

    def _random(self, kept: Kept) -> list[dict[str, Any]]:
        """J of random sets with as many neurons in each layer, set to zero; the set's own zero condition beside."""
        neurons = self.neurons(self.experiment.reference, kept)
        if neurons is None:
            return []
        rows: list[dict[str, Any]] = []
        sets = layer_matched_sets(self._vlm, neurons, range(self.experiment.random_sets))
        for number, chosen in enumerate([neurons, *sets]):
            texts = [row[0].text for row in self.captioner.captions(Zero(chosen))]
            pairs = zip(texts, self.samples, strict=True)
            own, match = np.array([one.concept == kept.concept for one in self.samples]), self.experiment.match
            hits = np.array([counts(t, one.concept, match, erased=one.concept == kept.concept) for t, one in pairs])
            others = np.array([kept.concept not in sample.shown for sample in self.samples])
            rows.append({"set": number - 1, "j": float(hits[others].mean() - hits[own].mean())})
        return rows

    def _localise(self, text: str) -> list[dict[str, Any]]:
        found = [(kept, self.neurons(text, kept)) for kept in self.samples]
        asked = self.experiment.decoding
        maps = [
            (kept, heatmap(self._vlm, kept.pair.original, neurons, decoding=asked))
            for kept, neurons in found
            if neurons
        ]
        return localisation_rows(maps)

    def _similar(self, name: str, text: str) -> list[dict[str, Any]]:
        """Captions of each concept's own images under each condition against those of the edited images."""
        judge = self._metric(name)
        rows: list[dict[str, Any]] = []
        for kept in self.samples:
            own = {sample.image_id: sample for sample in self.samples if sample.concept == kept.concept}
            for condition in self.experiment.conditions:
                written = [row for row in self.captions(text, kept, condition) if row["names"] == kept.concept]
                if not written:  # the method refused the sample
                    continue
                pairs = [own[row["of"]] for row in written]
                texts = [row["caption"] for row in written]
                given = [
                    sample.pair.edited if judge.against == "image" else sample.validity.edited.text for sample in pairs
                ]
                scored = compare(judge, texts, given, prompt=self.experiment.decoding.beginning)
                rows.append(
                    {
                        "concept": kept.concept,
                        "image": kept.image_id,
                        "condition": condition.name,
                        "value": scored.mean(),
                        "pairs": len(scored),
                        "provenance": json.dumps(dict(scored.provenance)),
                    }
                )
        return rows

    def _metric(self, name: str) -> Any:
        """One metric, made when it is asked for: it may have a model to load, which should not stop the others."""
        if name not in self._metrics:
            self._metrics[name] = metric(name, **dict(self.experiment.metrics[name]))
        return self._metrics[name]

    def captions(self, text: str, kept: Kept, condition: Condition) -> list[dict[str, Any]]:
        """Rows of one set under one condition. Raises RunMismatch when they are not there yet."""
        return self.run.read("captions", self.captions_key(text, kept, condition)).to_pylist()

"""The main job on a handful of images: locate a concept's neurons, look at them, and test them against controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InvalidSample, NotFinite
from ...evaluate.effect import Effect, Labelled, measure
from ...evaluate.truth import Agreement, agreement, planted
from ...held import in_turn
from ...intervene import Noise, Zero, recommended_level
from ...loading import VLM
from ...locate import Located, Method, TwoStage, layer_matched
from ...locate.located import decoding_of
from ...locate.validity import valid_pair
from ...report.evidence import Evidence
from ...report.gather import Origin, Test, gather
from ...samples.inpaint import Counterfactual
from ...samples.sample import Sample
from ...types import Neurons

#: What the sets are put under.
CONDITIONS = ("noise", "zero", "random noise", "random zero")


@dataclass(frozen=True)
class Finding:
    """One image of the concept.

    Attributes:
        located: what was found in it.
        evidence: what a page shows of it, with the captions under noise and without the neurons.
        effects: "noise", "zero", "random noise", "random zero" -> scores over all images, beside those of a
            layer-matched random set; empty where no neurons were found.
        truth: against the planted neurons, where the model has some.
    """

    located: Located
    evidence: Evidence
    effects: Mapping[str, Effect]
    truth: Agreement | None

    def caption(self, condition: str) -> str:
        """The first caption under a condition, or that of the image as it is where nothing was tested."""
        texts = self.evidence.texts(condition)
        return f"{self.evidence.prompt} {texts[0]}" if texts else self.located.validity.original.full


@dataclass(frozen=True)
class Study:
    """All images of a concept. `refused` holds the samples that broke a condition, with the reason."""

    concept: str
    model: dict[str, str]
    findings: tuple[Finding, ...]
    refused: tuple[tuple[str, str], ...]
    seconds: float

    def mean(self, condition: str, score: str) -> float | None:
        """Mean of "s_se", "s_re" or "j" under a condition over the images; None when nothing was tested."""
        values = [getattr(f.effects[condition], score) for f in self.findings if f.effects]
        return float(np.mean(values)) if values else None

    def to_dict(self) -> dict[str, Any]:
        """The document of `neuronscope demo --json`; single values are of the first image, scores are means."""
        first = self.findings[0]
        words = first.evidence.words
        scores = first.located.neurons.scores
        truths = [f.truth for f in self.findings if f.truth is not None]
        return {
            "verdict": first.evidence.verdict,
            "concept": self.concept,
            "model": self.model,
            "images": len(self.findings),
            "refused": [{"image": name, "reason": reason} for name, reason in self.refused],
            "caption_before": first.located.validity.original.full,
            "caption_edited": first.located.validity.edited.full,
            "caption_after": first.caption("noise"),
            "caption_control": first.caption("random noise"),
            "n_neurons": len(first.located.neurons),
            "neurons": [
                {
                    "layer": n.layer,
                    "unit": n.unit,
                    "scores": {name: values[i] for name, values in scores.items()},
                    "tokens": list(words[i].tokens),
                    "strengths": list(words[i].strengths),
                }
                for i, n in enumerate(first.located.neurons)
            ],
            "words": words.to_dict(),
            "thresholds": first.located.neurons.provenance.get("thresholds"),
            "notes": list(first.located.notes),
            "noise_level": first.evidence.level,
            "scores": {name: {s: self.mean(name, s) for s in ("s_se", "s_re", "j")} for name in CONDITIONS},
            "S_se": self.mean("noise", "s_se"),
            "S_re": self.mean("noise", "s_re"),
            "J": self.mean("noise", "j"),
            "J_zero": self.mean("zero", "j"),
            "J_random": self.mean("random noise", "j"),
            "precision": float(np.mean([t.precision for t in truths])) if truths else None,
            "recall": float(np.mean([t.recall for t in truths])) if truths else None,
            "seconds": self.seconds,
        }


@in_turn
def study(
    vlm: VLM,
    samples: Sequence[Sample],
    bystanders: Sequence[Labelled],
    *,
    method: Method | None = None,
    edit: str = "telea",
    draws: int = 5,
    level: float | None = None,
    seed: int = 0,
    step: Callable[[str], None] = lambda _: None,
) -> Study:
    """Locate and test the neurons of one concept in several images.

    Args:
        vlm: the model.
        samples: images of one concept.
        bystanders: images without it, which should keep their captions.
        method: how to locate; two-stage filtering with its defaults.
        edit: how the object is taken out of the picture.
        draws: noise draws per caption.
        level: noise level in activation units; :func:`recommended_level` of each set when not given.
        seed: of noise and of the random control sets.
        step: told what is being done, for progress displays; called `steps_of(len(samples))` times.

    Raises InvalidSample when every sample is refused, with the reasons.
    """
    start = time.perf_counter()
    locator: Method = method or TwoStage()
    concept = samples[0].concept
    found: list[tuple[Counterfactual, Located]] = []
    refused: list[tuple[str, str]] = []
    for sample in samples:
        step(f"locating {concept!r} in image {sample.image_id}")
        try:
            pair, validity = valid_pair(vlm, sample, edit, decoding=decoding_of(locator))
            found.append((pair, locator.locate(vlm, pair, validity=validity)))
        except (InvalidSample, NotFinite) as error:
            refused.append((sample.image_id, f"{type(error).__name__}: {error}"))
    if not found:
        raise InvalidSample(f"no image of {concept!r} can be used: " + " | ".join(why for _, why in refused))
    images = [Labelled(pair.original, concept, (concept,)) for pair, _ in found] + list(bystanders)
    truth = planted(vlm).get(concept)
    findings: list[Finding] = []
    for index, (pair, located) in enumerate(found):
        step(f"testing {len(located.neurons)} neurons of image {index + 1}")
        neurons = located.neurons
        test = None
        if len(neurons):
            test = Test(recommended_level(neurons) if level is None else level, draws, seed + index)
        findings.append(
            Finding(
                located,
                gather(vlm, pair, located, {}, test=test, origin=Origin(pair.sample.image_id)),
                _effects(vlm, neurons, images, test) if test is not None else {},
                agreement(neurons, truth) if truth is not None else None,
            )
        )
    model = {**vlm.identity(), "family": vlm.family.title}
    return Study(concept, model, tuple(findings), tuple(refused), time.perf_counter() - start)


def steps_of(samples: int) -> int:
    """How often :func:`study` calls `step` when no sample is refused."""
    return 2 * samples


def _effects(vlm: VLM, neurons: Neurons, images: Sequence[Labelled], test: Test) -> dict[str, Effect]:
    """Scores of the set and of the control that the evidence shows."""
    found: dict[str, Effect] = {}
    for name, members in (("", neurons), ("random ", layer_matched(vlm, neurons, test.seed))):
        noise = Noise(members, level=test.level or 0.0, draws=test.draws, seed=test.seed)
        found[f"{name}noise"] = measure(vlm, neurons.concept, images, noise)
        found[f"{name}zero"] = measure(vlm, neurons.concept, images, Zero(members))
    return found

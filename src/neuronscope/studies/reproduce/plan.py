"""What an experiment will do, before anything is done: without a model, and what one unit of it takes on this machine.

    samples    = concepts x images of each
    captions   = methods x samples x (levels x draws + ablations) x samples

At the published size, 30 x 3 samples, three methods, three levels and ten draws, that is 729,000 (METHODS h).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import InvalidSample
from ...types import options_of
from .settings import Experiment
from .units import Cost, units

if TYPE_CHECKING:
    from ...loading import VLM
    from .kept import CandidateSource, Kept

#: Pictures that a unit is measured on, and candidates that are looked at for the one that is located in.
_PICTURES, _TRIED = 8, 24

#: Of the arguments of `generate`, those that the published protocol names.
_SHOWN = (
    *("do_sample", "temperature", "num_beams", "min_length", "top_p", "repetition_penalty", "length_penalty"),
    "max_new_tokens",
)


@dataclass(frozen=True)
class Plan:
    """What an experiment will do.

    Attributes:
        experiment: the settings.
    """

    experiment: Experiment

    @property
    def samples(self) -> int:
        """How many are wanted."""
        return len(self.experiment.concepts) * self.experiment.images

    def to_dict(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        plan = self.experiment
        named = [(concept, str(k)) for concept in plan.concepts for k in range(plan.images)]
        todo = list(units(plan, named))
        cost = Cost.of(plan, self.samples, todo)
        return {
            "preset": plan.preset,
            "samples": {
                "concepts": list(plan.concepts),
                "each": plan.images,
                "wanted": self.samples,
                "edit": plan.edit,
                "reach": plan.reach,
                "max_other_share": plan.max_other_share,
                "distinct": plan.distinct,
                "match": plan.match,
                "limits": asdict(plan.limits),
            },
            "methods": {text: self._method(text) for text in plan.methods},
            "site": plan.site,
            "conditions": [one.name for one in plan.conditions],
            "noise": {
                "levels": list(plan.levels),
                "scale": plan.scale,
                "draws": plan.draws,
                "sharing": plan.sharing,
                "operation": "added at the image tokens while the prompt is read",
            },
            "decoding": plan.decoding.to_dict(),
            "generate": self.generate(),
            "captions": {"under conditions": cost.captions, "of candidates, at least": 2 * self.samples},
            "units": dict(Counter(unit.kind for unit in todo)),
            "bytes": cost.bytes,
        }

    @property
    def verdict(self) -> str:
        """How much is to be done, in a sentence."""
        plan, found = self.experiment, self.to_dict()
        return (
            f"{self.samples} samples of {len(plan.concepts)} concepts: {len(plan.methods)} methods are compared by "
            f"{found['captions']['under conditions']:,} captions; nothing was done yet."
        )

    def _method(self, text: str) -> dict[str, Any]:
        """The options of a method; of thresholds that differ between concepts, those of each."""
        from ...locate.registry import takes_size

        plan = self.experiment
        made = {concept: options_of(plan.method(text, concept)) for concept in plan.concepts}
        first = next(iter(made.values()))
        differing = [name for name in first if any(one[name] != first[name] for one in made.values())]
        same = {name: value for name, value in first.items() if name not in (*differing, "decoding")}
        own = text == plan.reference or "count" in plan.specs[text].options
        if not own and takes_size(plan.method(text, plan.concepts[0])):
            same["count"] = f"as many as {plan.reference} keeps"
        return {**same, **{name: {concept: one[name] for concept, one in made.items()} for name in differing}}

    def generate(self) -> dict[str, Any]:
        """The arguments of transformers' `generate` that decide about captions."""
        from ...models.greedy import neutral

        decoding = self.experiment.decoding
        told = {**neutral(), **decoding.generation, "max_new_tokens": decoding.max_new_tokens}
        return {name: told.get(name) for name in _SHOWN}

    def lines(self) -> list[str]:
        """The same for people."""
        found, plan = self.to_dict(), self.experiment
        limits = ", ".join(f"{name} {value:g}" for name, value in found["samples"]["limits"].items())
        told = ", ".join(f"{name} {value}" for name, value in found["generate"].items())
        asked = ", ".join(f"{name} {value!r}" for name, value in found["decoding"].items() if value)
        return [
            f"preset      {plan.preset}",
            f"samples     {self.samples}: {len(plan.concepts)} concepts x {plan.images}; {', '.join(plan.concepts)}",
            f"edit        {plan.edit} of {plan.reach}; another object taken away: {plan.max_other_share}; {limits}",
            f"pictures    {'one concept each' if plan.distinct else 'for every concept that they show'}",
            *(f"method      {text}: {_said(options)}" for text, options in found["methods"].items()),
            f"site        {plan.site}",
            f"noise       levels {', '.join(f'{n:g}' for n in plan.levels)} ({plan.scale}), {plan.draws} draws, "
            f"{plan.sharing}",
            f"conditions  {', '.join(found['conditions'])}",
            f"asked       {asked}",
            f"generate    {told}",
            f"captions    {found['captions']['under conditions']:,} under conditions, at least "
            f"{found['captions']['of candidates, at least']:,} of candidates",
            f"units       {', '.join(f'{kind} {n}' for kind, n in found['units'].items())}",
            f"disk        {found['bytes'] / 2**20:.0f} MiB",
        ]


def _said(options: Mapping[str, Any]) -> str:
    """Options in one line; a threshold of each concept as how many there are."""
    parts: list[str] = []
    for name, value in options.items():
        if name in ("name", "kind"):
            continue
        several = isinstance(value, dict) and "kind" not in value
        fixed = isinstance(value, dict) and value.get("kind") == "Fixed"
        shown = f"one of each of {len(value)} concepts" if several else value["value"] if fixed else value
        parts.append(f"{name} {shown}")
    return ", ".join(parts)


@dataclass(frozen=True)
class UnitTiming:
    """What one unit took on this machine, and what that makes of the whole.

    Attributes:
        concept, image: the sample that was located in.
        sent: what the model was sent.
        seconds_located: by the reference method.
        seconds_caption: of one caption under noise, of `captions` that were written together.
        captions: how many were.
        seconds: of all captions under conditions, and of locating in all samples.
        memory: the most that the process, or the GPU, held, in bytes.
        device: where.
    """

    concept: str
    image: str
    sent: str
    seconds_located: float
    seconds_caption: float
    captions: int
    seconds: float
    memory: int
    device: str

    def lines(self) -> list[str]:
        """For people."""
        hours = self.seconds / 3600
        return [
            f"sent        {self.sent!r}",
            f"measured    located in {self.image} ({self.concept}) in {self.seconds_located:.2f} s; "
            f"{self.captions} captions in {self.captions * self.seconds_caption:.2f} s on {self.device}",
            f"time        {hours:.1f} h for one process ({self.seconds_caption * 1000:.1f} ms a caption)",
            f"memory      {self.memory / 2**30:.2f} GiB",
        ]


def measure(plan: Plan, vlm: VLM, source: CandidateSource) -> UnitTiming:
    """Locate in one sample, caption a few pictures under its noise, and say what all of it would take.

    Raises InvalidSample where none of the first candidates meets the conditions.
    """
    import torch

    from ...caption import Captioner
    from ...intervene import Noise

    asked = plan.experiment
    kept, pictures = _found(plan, vlm, source)
    start = time.perf_counter()
    located = asked.method(asked.reference, kept.concept).locate(vlm, kept.pair, validity=kept.validity)
    seconds_located = time.perf_counter() - start
    neurons = replace(located.neurons, site=asked.site)
    if not len(neurons):  # thresholds may keep none: any few neurons cost the same
        neurons = replace(neurons, members=located.scores.members(range(min(20, sum(vlm.widths))))[0], scores={})
    level = max(asked.levels, default=1.0)
    noise = Noise(neurons, level=level, draws=asked.draws, sharing=asked.sharing)
    captioner = Captioner(vlm, pictures, decoding=asked.decoding)
    captioner.captions()  # what is done once for a picture is not counted
    start = time.perf_counter()
    written = sum(map(len, captioner.captions(noise)))
    each = (time.perf_counter() - start) / written
    total = plan.to_dict()["captions"]["under conditions"]
    gpu = vlm.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated(vlm.device) if gpu else _resident()
    return UnitTiming(
        kept.concept,
        kept.image_id,
        vlm.sent(asked.decoding),
        seconds_located,
        each,
        written,
        total * each + plan.samples * len(asked.methods) * seconds_located,
        int(memory),
        str(vlm.device),
    )


def _found(plan: Plan, vlm: VLM, source: CandidateSource) -> tuple[Kept, list[Any]]:
    """A sample that meets the conditions, and some pictures of the data."""
    from .dataset import build

    asked, pictures = plan.experiment, list[Any]()
    for concept in asked.concepts:
        pictures += [sample.load() for sample in _first(source, concept, asked.seed, _PICTURES - len(pictures))]
        found = build(
            vlm,
            source,
            [concept],
            seed=asked.seed,
            edit=asked.edit,
            reach=asked.reach,
            max_other_share=asked.max_other_share,
            match=asked.match,
            decoding=asked.decoding,
            limits=asked.limits,
            limit=_TRIED,
            per_concept=1,
        )
        if found.samples:
            return found.samples[0], [found.samples[0].pair.original, *pictures][:_PICTURES]
    raise InvalidSample(
        f"none of the first {_TRIED} candidates of any concept meets the conditions: nothing to measure"
    )


def _first(source: CandidateSource, concept: str, seed: int, count: int) -> Iterator[Any]:
    stream = iter(source.samples(concept, seed=seed))
    while count > 0:
        try:
            yield next(stream)
        except StopIteration:
            return
        except InvalidSample:
            continue
        count -= 1


def _resident() -> int:
    """The most that this process has held, in bytes."""
    import resource  # which not every system has

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

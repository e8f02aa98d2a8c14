"""What a discovery run is asked for: its command line and its plan."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import (
    MISSING,
    PICTURES,
    SIZES,
    Asking,
    Loading,
    Reading,
    Scorers,
    as_python,
    comma_separated,
    option,
    options_in,
    words,
)
from ...types import Json, one_of

if TYPE_CHECKING:
    from ...evaluate.captions import CaptionMetric
    from ...loading import VLM
    from ...locate.discovery import Discovery
    from ...samples.picture_files import Pictures

#: Options of :class:`Discovery` that the command line gives by themselves.
_OF_DISCOVERY = ("top", "nouns", "exclude", "norm", "site")

#: Sizes of the k sweeps, as far as so many neurons are kept.
KS = (1, 5, 10, 50, 100, 500, 1000)


def _spelling(noun: str) -> str:
    """A noun as the finders spell it, so that Right and right are one setting."""
    from ...words import fold

    return fold(noun)


@dataclass(frozen=True, kw_only=True)
class Discover(Loading, Reading, Asking):
    """Pictures, and how neurons are found in them; None stands for the preset's option of :class:`Discovery`."""

    sources: tuple[str, ...] = option(MISSING, help=PICTURES, repeated=True, metavar="IMAGE")
    images: Path | None = option(None, "--images", help="Folder that tables' file names are in.")
    preset: str = option("recommended", "--preset", help="recommended, or published.")
    top: int | None = option(None, "--top", "-k", help="Neurons kept for each noun; 100.")
    nouns: str | None = option(None, "--nouns", help="tagger, compounds, lexicon, or auto: the tagger if installed.")
    exclude: tuple[str, ...] | None = option(
        None, "--exclude", help="Nouns to leave out, separated by commas.", form=comma_separated(_spelling, "nouns")
    )
    norm: str | None = option(
        None, "--norm", help="scale (shares of the logit), gain of the final norm, or none as published."
    )
    site: str | None = option(None, "--site", help="neuron, or act as published.")

    def __post_init__(self) -> None:
        check_fields(self)

    def gather(self) -> Pictures:
        """The pictures. Raises as :func:`neuronscope.samples.picture_files.gather` does."""
        from ...samples.picture_files import gather

        return gather(self.sources, self.images, split=self.split, allow_outside=self.allow_outside)

    def discovery(self) -> Discovery:
        """How neurons are found. Raises InvalidOption for a preset, an option or a value that is not known."""
        from ...locate.discovery import Discovery

        presets: dict[str, Any] = {"recommended": Discovery, "published": Discovery.as_published}
        one_of("--preset", self.preset, list(presets))
        made: Discovery = presets[self.preset]()
        changed = {name: v for name in _OF_DISCOVERY if (v := getattr(self, name)) is not None}
        asked = {n: v for n, v in vars(Asking.of(self)).items() if v != getattr(Asking, n)}
        return replace(made, **changed, decoding=replace(made.decoding, **asked))


def _discovery() -> Discovery:
    from ...locate.discovery import Discovery

    return Discovery()


@dataclass(frozen=True, kw_only=True)
class DiscoveryPlan:
    """What a discovery run computes.

    Attributes:
        discovery: how neurons are found.
        ks: sizes at which layers are counted and region invariance is measured; none takes 1, 5, 10, 50, 100, ... up to
            the number of neurons kept.
        shuffles: permutations of the image tokens for region invariance; 0 leaves it out.
        group: images of a concept that cross-image invariance compares, N.
        group_k: neurons of each; none takes 100, or as many as are kept.
        described: (neurons, tokens of each) behind the texts; 0 neurons takes 10, or as many as are kept.
        draws: random sets behind each control of specificity.
        metrics: caption metrics by name, with their options, which the texts are scored by.
        seed: of permutations, controls and intervals.
    """

    discovery: Discovery = field(default_factory=_discovery)
    ks: tuple[int, ...] = option((), "--ks", help="Sizes of the k sweeps, separated by commas.", form=SIZES)
    shuffles: int = option(1, "--shuffles", help="Permutations of image tokens; 0 for none.")
    group: int = option(5, "--group", help="Images of a concept that are compared.")
    group_k: int = 0
    described: tuple[int, int] = (0, 10)
    draws: int = 20
    metrics: Mapping[str, Mapping[str, Json]] = field(default_factory=dict[str, Mapping[str, Json]])
    seed: int = option(0, "--seed", help="Of permutations, controls and intervals.")

    def __post_init__(self) -> None:
        check_fields(self)
        top = self.discovery.top
        least = {"shuffles": 0, "group": 2, "group_k": 0, "draws": 1, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InvalidOption(f"{name}={getattr(self, name)} must be at least {bound}")
        object.__setattr__(self, "ks", self.ks or tuple(k for k in KS if k <= top))
        object.__setattr__(self, "group_k", self.group_k or min(100, top))
        object.__setattr__(self, "described", (self.described[0] or min(10, top), self.described[1]))
        for k in (*self.ks, self.group_k):
            if not 1 <= k <= top:
                raise InvalidOption(f"k={k} must be 1 to {top}, the number of neurons that are kept (top)")
        if min(self.described) < 1 or self.described[0] > top:
            raise InvalidOption(
                f"described={self.described} must be at least 1 each, and the first at most {top} (top)"
            )
        for name in self.metrics:
            self.metric(name)

    def metric(self, name: str) -> CaptionMetric:
        """A metric of the plan, its model not loaded yet."""
        from ...evaluate.captions import metric

        return metric(name, **self.metrics[name])

    def scorer(self, name: str) -> str:
        """A hash of what decides a metric's numbers: options, packages, and every byte of its model's files."""
        from ...evaluate.captions import releases, scorer
        from ...run.settings import canonical

        made_by = {**scorer(name, **self.metrics[name]), "releases": releases(name)}
        return hashlib.sha256(canonical(made_by, "metric").encode()).hexdigest()[:16]

    def settings(self, vlm: VLM) -> dict[str, Json]:
        """What decides what the parts hold: the model, how nouns are found on this installation, and these options.

        Sizes that are only counted at the end, metrics and the number of permutations may change from start to start;
        what a metric's numbers hang on is in the key of its units.
        """
        from ...samples.nouns import noun_finder

        return {
            "job": "discovery",
            "model": vlm.record(),
            "finder": noun_finder(self.discovery.nouns).provenance(),
            "discovery": self.discovery.to_dict(),
            "sent": vlm.sent(self.discovery.decoding),
            "described": list(self.described),
            "draws": self.draws,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class DiscoveryJob:
    """Pictures, how neurons are found in them, and what is measured.

    Raises InvalidOption where `plan` finds neurons in another way than `asked` says.
    """

    asked: Discover
    plan: DiscoveryPlan

    def __post_init__(self) -> None:
        check_fields(self)
        if self.plan.discovery != self.asked.discovery():
            raise InvalidOption(f"plan.discovery={self.plan.discovery} is not what asked={self.asked} says")

    def recipe(self) -> dict[str, str]:
        """The command and the Python that make the run again; no command for what it has no option for."""
        own = {one.name for one, _ in options_in(DiscoveryPlan)} | {"discovery", "metrics"}
        usual = DiscoveryPlan(discovery=self.plan.discovery)
        plain = all(getattr(self.plan, name) == getattr(usual, name) for name in vars(usual).keys() - own)
        return {"command": self.command() if plain else "", "python": self.python()}

    def command(self) -> str:
        """One line for a shell."""
        measured = words(self.plan, vars(DiscoveryPlan(discovery=self.plan.discovery)))
        given = [*words(self.asked), *measured, *words(Scorers.of(self.plan.metrics))]
        return shlex.join(["neuronscope", "discover", *given])

    def python(self) -> str:
        """The same with the library."""
        usual = DiscoveryPlan(discovery=self.plan.discovery)
        said = [f"{name}={value!r}" for name, value in vars(self.plan).items() if value != getattr(usual, name)]
        return "\n".join(
            [
                "import neuronscope as ns",
                "from neuronscope.studies.discover.settings import Discover, DiscoveryJob, DiscoveryPlan",
                "from neuronscope.studies.discover.study import discover_into",
                "",
                f"asked = {as_python(self.asked, but=Loading)}",
                f"plan = DiscoveryPlan({', '.join(['discovery=asked.discovery()', *said])})",
                f'discover_into("neuronscope-discover", {self.asked.load_expression()}, '
                "DiscoveryJob(asked=asked, plan=plan))",
            ]
        )

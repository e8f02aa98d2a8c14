"""What a reproduction does: all settings of the paper's evaluation, and the two presets (METHODS b to e).

The command line is read from here (options.py), so that importing this loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import NUMBERS, WORDS, Form, Taking, option
from ...types import SITES, Json, Site, one_of

if TYPE_CHECKING:
    from ...locate import Method as Locator
    from ...models.decoding import Decoding
    from ...samples.lexicon import Mode
    from .specs import MethodSpec

#: What a noise level counts in: activation units (the paper); the median activation difference of the sample's
#: two-stage set, the same for every method; or each neuron's own standard deviation over the image tokens (D6).
Scale: TypeAlias = Literal["absolute", "difference", "deviation"]
SCALES: tuple[Scale, ...] = get_args(Scale)
Sharing: TypeAlias = Literal["per_neuron", "shared"]
Ablation: TypeAlias = Literal["zero", "mean", "patch"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

#: How many random sets an empirical p is the least made of (METHODS G4 iii).
MIN_RANDOM_SETS = 20

#: The method whose sets say how many neurons the others keep.
REFERENCE = "two-stage"


#: What the published protocol has instead of the defaults: every method at `act`, two-stage filtering by the thresholds
#: of Table IV; absolute levels 40, 80, 120, ten draws of one vector shared by all neurons; boxes inpainted as they are,
#: samples refused of which another object was taken away with them, and one picture for several concepts.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "recommended": {},
        "paper": {
            "methods": ("schwettmann", "pan", REFERENCE),
            "site": "act",
            "levels": (40.0, 80.0, 120.0),
            "scale": "absolute",
            "draws": 10,
            "sharing": "shared",
            "ablations": (),
            "reach": "auto",
            "max_other_share": 0.1,
            "distinct": False,
        },
    }
)

#: Of :class:`neuronscope.options.Asking`: the beginning of the answer right behind the image, without a conversation.
ASKED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"recommended": {}, "paper": {"prefix": "The image shows a", "chat": "never", "max_new_tokens": 32}}
)

#: Of :class:`Limits`: the paper has none.
BOUNDS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"recommended": {}, "paper": {"min_area": 0.0, "max_area": 1.0, "min_side": 0.0}}
)


@dataclass(frozen=True)
class Limits:
    """Which objects are neither too small nor too large.

    Attributes:
        min_area: smallest share of the image that the object's pixels fill (its boxes where it has no mask).
        max_area: the largest.
        min_side: shorter side of the largest instance's box, in pixels of the image as the model sees it where it sees
            it finest; 0 for any.
    """

    min_area: float = option(0.02, "--min-area", help="Smallest share of the picture that an object fills.")
    max_area: float = option(0.6, "--max-area", help="Largest share.")
    min_side: float = option(32, "--min-side", help="Smallest object, pixels as the model sees it; 0 for any.")

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.min_area <= self.max_area <= 1 or self.min_side < 0:
            raise InvalidOption(
                f"min_area={self.min_area}, max_area={self.max_area}, min_side={self.min_side}: need "
                "0 <= min_area <= max_area <= 1 and a min_side that is not negative"
            )


def _methods(text: str) -> tuple[str, ...]:
    """Specifications hold commas themselves: a new one begins where a word is not OPTION=VALUE."""
    found: list[str] = []
    for word in text.replace(" ", ",").split(","):
        if "=" in word and ":" not in word:
            if not found:
                raise InvalidOption(f"--methods {text!r} begins with an option: {word!r}")
            found[-1] += f",{word}"
        elif word:
            found.append(word)
    return tuple(found)


def _metrics(text: str) -> dict[str, dict[str, Json]]:
    return {name: {} for name in WORDS.read(text)}


METHODS = Form(_methods, ",".join)
#: Metrics with a model have options of their own (options.py).
PLAIN_METRICS = Form(_metrics, lambda found: WORDS.write([name for name in found if "model" not in found[name]]))


def _decoding() -> Decoding:
    from ...models.decoding import Decoding

    return Decoding()


@dataclass(frozen=True)
class Condition:
    """One thing that is done to every set of neurons: noise of a level, or an ablation (level None)."""

    name: str
    level: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Experiment(Taking):
    """Settings of one reproduction; the defaults are the recommended preset.

    Attributes:
        concepts: in the order in which they take images.
        images: samples of each concept.
        methods: specifications such as "two-stage" or "two-stage:site=act,gradient=0.001" (see specs.py). Rankings
            keep as many neurons as the reference set of the same sample has, unless a specification gives `count`.
        site: where every method reads, if it has the choice, and where changes of all sets act.
        levels, scale: noise levels and what they count in.
        draws: noise draws of each level, the same for all methods, samples and images.
        sharing: one noise vector per neuron, or one for all.
        ablations: deterministic conditions beside the noise.
        metrics: caption metrics by name, each with its options.
        random_sets: layer-matched random sets for each reference set's empirical p; 0 for none.
        edit, reach, max_other_share, distinct, match, seed, limits, limit, decoding: see studies/reproduce/dataset.py.
        allow_missing: go on with what there is where concepts have too few samples, which every table says. Results do
            not hang on it beyond that, and it is not among the settings that a run compares: a run that was refused can
            be gone on with.
        preset: name of the preset, for the record.
    """

    concepts: tuple[str, ...] = option(
        MISSING,
        "--concepts",
        help="Names separated by commas, or how many of the paper's thirty.",
        form=WORDS,
        optional=True,
    )
    images: int = option(3, "--images", "-n", help="Samples of each concept.")
    methods: tuple[str, ...] = option(
        (REFERENCE, "schwettmann", "pan", "random-layer-matched"),
        "--methods",
        help="Names separated by commas; NAME:OPTION=VALUE,... changes options.",
        form=METHODS,
    )
    site: Site = option("neuron", "--site", help="Where all sets are read and changed: neuron, act or pre.")
    levels: tuple[float, ...] = option(
        (1.0, 2.0, 4.0), "--levels", help="Separated by commas; none for none.", form=NUMBERS
    )
    scale: Scale = option("difference", "--scale", help="absolute, difference or deviation.")
    draws: int = option(3, "--draws", help="Noise draws of each level.")
    sharing: Sharing = option("per_neuron", "--sharing", help="Noise vectors: per_neuron or shared.")
    ablations: tuple[Ablation, ...] = option(
        ABLATIONS, "--ablations", help="zero,mean,patch; none for none.", form=WORDS
    )
    metrics: Mapping[str, Mapping[str, Json]] = option(
        None,
        "--metrics",
        help="Captions against those of the edited images; none for none.",
        form=PLAIN_METRICS,
        factory=lambda: {name: {} for name in ("bleu-1", "bleu-4", "rouge-1", "rouge-l")},
    )
    random_sets: int = option(0, "--random-sets", help="Random sets behind each empirical p.")
    edit: str = option("telea", "--edit", help="telea, navier_stokes, mean_fill, diffusion:DIRECTORY, or exact.")
    distinct: bool = option(True, "--distinct/--shared", help="Each picture for one concept, or for any that it shows.")
    match: Mode = option("lexicon", "--match", help="When a caption names a concept: lexicon, strict or substring.")
    seed: int = option(0, "--seed", help="Of image order, controls and noise.")
    limits: Limits = field(default_factory=Limits)
    limit: int | None = option(None, "--limit", least=1, help="Candidates looked at per concept.")
    decoding: Decoding = field(default_factory=_decoding)
    allow_missing: bool = option(
        False, "--allow-missing", help="Go on with what there is where concepts have too few samples."
    )
    preset: str = option(
        "recommended", "--preset", help="recommended, whose defaults these are, or paper (levels 40,80,120 ...)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        from ...evaluate.captions import METRICS
        from ...samples.inpainters import require_edit
        from ...samples.lexicon import MODES

        one_of("preset", self.preset, list(PRESETS))
        one_of("scale", self.scale, SCALES)
        one_of("site", self.site, SITES)
        one_of("sharing", self.sharing, ("per_neuron", "shared"))
        require_edit("edit", self.edit, "exact")
        one_of("match", self.match, MODES)
        for name in self.ablations:
            one_of("ablations", name, ABLATIONS)
        for name in self.metrics:
            one_of("metrics", name, list(METRICS))
        for name, values in (("concepts", self.concepts), ("methods", self.methods), ("levels", self.levels)):
            if len(set(values)) < len(values) or (not values and name != "levels"):
                raise InvalidOption(f"{name}={list(values)} must list at least one, each once")
        if not self.levels and not self.ablations:
            raise InvalidOption("levels and ablations are both empty: nothing would be done to the neurons")
        if any(level <= 0 for level in self.levels):
            raise InvalidOption(f"levels={list(self.levels)} must be positive")
        if len({f"{level:g}" for level in self.levels}) < len(self.levels):  # by which conditions and results are named
            raise InvalidOption(f"levels={list(self.levels)}: two of them are alike in their first six digits")
        if self.images < 1 or self.draws < 1 or self.random_sets < 0:
            raise InvalidOption(
                f"images={self.images} and draws={self.draws} must be at least 1, random_sets={self.random_sets} at "
                "least 0"
            )
        if 0 < self.random_sets < MIN_RANDOM_SETS:
            raise InvalidOption(
                f"random_sets={self.random_sets}: an empirical p needs at least {MIN_RANDOM_SETS}, or none"
            )
        if len(self.concepts) < 2:
            raise InvalidOption(
                "one concept alone has no other images whose captions could be kept; give at least two concepts"
            )
        for text in dict.fromkeys([self.reference, *self.methods]):
            # The paper's thresholds are there for some concepts only.
            published = self._spec(text).options.get("preset", self.preset) == "paper"
            for concept in self.concepts if published else self.concepts[:1]:
                self.method(text, concept)

    @classmethod
    def paper(cls, concepts: tuple[str, ...], **changes: object) -> Experiment:
        """The published protocol: what :data:`PRESETS`, :data:`ASKED` and :data:`BOUNDS` have of it."""
        from ...models.decoding import Decoding

        made = {"decoding": Decoding(**ASKED["paper"]), "limits": Limits(**BOUNDS["paper"]), "preset": "paper"}
        return cls(concepts, **{**PRESETS["paper"], **made, **changes})  # pyright: ignore[reportArgumentType]

    def method(self, text: str, concept: str) -> Locator:
        """The method of a specification for a concept, as this run has it."""
        return self._spec(text).make(concept, preset=self.preset, site=self.site, decoding=self.decoding)

    def _spec(self, text: str) -> MethodSpec:
        return self.specs.get(text) or self.specs_of(text)

    @staticmethod
    def specs_of(text: str) -> MethodSpec:
        """A specification read."""
        from .specs import MethodSpec

        return MethodSpec.parse(text)

    @cached_property  # asked for every unit of a plan, of which there are thousands
    def specs(self) -> Mapping[str, MethodSpec]:
        """Specification -> method, in order."""
        return {text: self.specs_of(text) for text in self.methods}

    @cached_property
    def reference(self) -> str:
        """The specification whose sets say how many neurons the others keep: the first of two-stage filtering."""
        return next((text for text, spec in self.specs.items() if spec.name == REFERENCE), REFERENCE)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Everything that is done to each set."""
        return (
            *(Condition(f"noise {level:g}", level) for level in self.levels),
            *(Condition(name) for name in self.ablations),
        )

    def settings(self) -> dict[str, Json]:
        """What a run directory keeps, and compares before it goes on."""
        from ...samples.inpainters import recorded

        found = asdict(self) | {"edit": recorded(self.edit)}
        del found["allow_missing"]
        for name in ("concepts", "methods", "levels", "ablations"):
            found[name] = list(found[name])
        found["decoding"] = {**self.decoding.to_dict(), "use_cache": self.decoding.use_cache}
        found["metrics"] = {name: dict(options) for name, options in self.metrics.items()}
        return found

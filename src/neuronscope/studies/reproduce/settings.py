"""What a reproduction does: all settings of the paper's evaluation, and the two presets (METHODS b to e)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias, get_args

from ...caption import Decoding
from ...errors import InvalidOption
from ...evaluate.captions import METRICS
from ...locate.validity import MAX_OTHER_SHARE, REACHES, Reach
from ...samples.inpaint import INPAINTERS, Method
from ...samples.lexicon import MODES, Mode
from ...types import Json, one_of
from .conditions import Limits
from .specs import MethodSpec

#: What a noise level counts in: activation units (the paper); the median activation difference of the sample's
#: two-stage set, the same for every method; or each neuron's own standard deviation over the image tokens (D6).
Scale: TypeAlias = Literal["absolute", "difference", "deviation"]
SCALES: tuple[Scale, ...] = get_args(Scale)
Sharing: TypeAlias = Literal["per_neuron", "shared"]
Ablation: TypeAlias = Literal["zero", "mean"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

#: How many random sets an empirical p is the least made of (METHODS G4 iii).
MIN_RANDOM_SETS = 20

#: The method whose sets say how many neurons the others keep.
REFERENCE = "two-stage"


@dataclass(frozen=True)
class Condition:
    """One thing that is done to every set of neurons: noise of a level, or an ablation (level None)."""

    name: str
    level: float | None = None


@dataclass(frozen=True)
class Experiment:
    """Settings of one reproduction; the defaults are the recommended preset.

    Attributes:
        concepts: in the order in which they take images.
        images: samples of each concept.
        methods: specifications such as "two-stage" or "two-stage:site=act,gradient=0.001" (see specs.py). Rankings
            keep as many neurons as the reference set of the same sample has, unless a specification gives `count`.
        levels, scale: noise levels and what they count in.
        draws: noise draws of each level, the same for all methods, samples and images.
        sharing: one noise vector per neuron, or one for all.
        ablations: deterministic conditions beside the noise.
        metrics: caption metrics by name, each with its options.
        random_sets: layer-matched random sets for each reference set's empirical p; 0 for none.
        edit, reach, max_other_share, match, seed, limits, limit, decoding: see studies/reproduce/dataset.py.
        allow_missing: go on without the concepts that have too few samples. Results do not hang on it beyond that, and
            it is not among the settings that a run compares: a run that was refused can be gone on with.
        preset: name of the preset, for the record.
    """

    concepts: tuple[str, ...]
    images: int = 3
    methods: tuple[str, ...] = (REFERENCE, "schwettmann", "pan", "random-layer-matched")
    levels: tuple[float, ...] = (1.0, 2.0, 4.0)
    scale: Scale = "difference"
    draws: int = 3
    sharing: Sharing = "per_neuron"
    ablations: tuple[Ablation, ...] = ABLATIONS
    metrics: Mapping[str, Mapping[str, Json]] = field(
        default_factory=lambda: {name: {} for name in ("bleu-1", "bleu-4", "rouge-1", "rouge-l")}
    )
    random_sets: int = 0
    edit: Method = "telea"
    reach: Reach = "grown"
    max_other_share: float | None = None
    match: Mode = "lexicon"
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    limit: int | None = None
    decoding: Decoding = field(default_factory=Decoding)
    allow_missing: bool = False
    preset: str = "recommended"

    def __post_init__(self) -> None:
        one_of("scale", self.scale, SCALES)
        one_of("sharing", self.sharing, ("per_neuron", "shared"))
        one_of("edit", self.edit, [*INPAINTERS, "exact"])
        one_of("reach", self.reach, REACHES)
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
        if any(not 0 < level < math.inf for level in self.levels):
            raise InvalidOption(f"levels={list(self.levels)} must be positive, finite numbers")
        if self.images < 1 or self.draws < 1 or self.random_sets < 0:
            raise InvalidOption(
                f"images={self.images} and draws={self.draws} must be at least 1, random_sets={self.random_sets} at "
                "least 0"
            )
        if 0 < self.random_sets < MIN_RANDOM_SETS:
            raise InvalidOption(
                f"random_sets={self.random_sets}: an empirical p needs at least {MIN_RANDOM_SETS}, or none"
            )
        if self.max_other_share is not None and not 0 <= self.max_other_share <= 1:
            raise InvalidOption(f"max_other_share={self.max_other_share} must be between 0 and 1, or None for any")
        if len(self.concepts) < 2:
            raise InvalidOption(
                "one concept alone has no other images whose captions could be kept; give at least two concepts"
            )
        for text in self.methods:
            MethodSpec.parse(text)

    @classmethod
    def paper(cls, concepts: tuple[str, ...], **changes: object) -> Experiment:
        """The published protocol: absolute levels 40, 80, 120, ten draws of one vector shared by all neurons.

        Boxes are inpainted as they are, and samples refused of which another object was taken away with them.
        """
        published = {
            "methods": ("schwettmann", "pan", f"{REFERENCE}:preset=paper"),
            "levels": (40.0, 80.0, 120.0),
            "scale": "absolute",
            "draws": 10,
            "sharing": "shared",
            "ablations": (),
            "reach": "auto",
            "max_other_share": MAX_OTHER_SHARE,
            "preset": "paper",
        }
        return cls(concepts, **{**published, **changes})  # pyright: ignore[reportArgumentType]

    @property
    def specs(self) -> dict[str, MethodSpec]:
        """Specification -> method, in order."""
        return {text: MethodSpec.parse(text) for text in self.methods}

    @property
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
        found = asdict(self)
        del found["allow_missing"]
        for name in ("concepts", "methods", "levels", "ablations"):
            found[name] = list(found[name])
        found["metrics"] = {name: dict(options) for name, options in self.metrics.items()}
        return found

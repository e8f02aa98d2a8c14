"""What can be done to neurons: plain data, applied by apply.py.

Each operation is a formula over the activations of its neurons at the positions of its span. `rank` numbers the span's
positions within a row from 0, so a result never depends on padding, batching or order.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked
from ..models.decoding import Decoding
from ..models.finite import within
from ..models.loaded import LoadedModel
from ..samples.image import ImageSource
from ..types import PHASES, SITES, SPANS, Neuron, Neurons, Phase, Site, Span, one_of

Values: TypeAlias = Float[Tensor, "batch positions units"]


@dataclass(frozen=True)
class Moment:
    """Where in a forward pass an operation is applied.

    Attributes:
        layer: the layer.
        units: [n] the units concerned, matching the last axis of the values.
        rank: [batch, positions] number of the position within its row's span; -1 outside the span.
        draw: [batch] which draw each row belongs to.
    """

    layer: int
    units: tuple[int, ...]
    rank: Int[Tensor, "batch positions"]
    draw: Int[Tensor, "batch"]


@runtime_checkable
class Intervention(Protocol):
    """What the engine needs to know of an operation."""

    @property
    def neurons(self) -> Neurons:
        """Which neurons are changed."""
        ...

    @property
    def span(self) -> Span:
        """At which positions."""
        ...

    @property
    def phase(self) -> Phase:
        """While the prompt is read, while tokens are written, or both."""
        ...

    @property
    def site(self) -> Site:
        """Where the neurons are changed."""
        ...

    def change(self, values: Values, at: Moment) -> Values:
        """New activations; positions outside the span are discarded by the caller."""
        ...


@dataclass(frozen=True)
class _Operation:
    neurons: Neurons
    span: Span = field(default="image", kw_only=True)
    phase: Phase = field(default="prefill", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.neurons, Neurons):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"neurons={self.neurons!r} is no set of neurons; Neurons.of makes one of pairs")
        check_fields(self)
        one_of("span", self.span, SPANS)
        one_of("phase", self.phase, PHASES)
        one_of("site", self.site, SITES)

    @property
    def site(self) -> Site:
        """Where the neurons are changed: where they were found."""
        return self.neurons.site


@dataclass(frozen=True)
class Scale(_Operation):
    """Multiply the activations by a factor."""

    factor: float = 1.0

    def change(self, values: Values, at: Moment) -> Values:
        """factor * a."""
        within("factor", self.factor, values.dtype)
        return values * self.factor


@dataclass(frozen=True)
class Zero(_Operation):
    """Set the activations to 0."""

    def change(self, values: Values, at: Moment) -> Values:
        """0."""
        return torch.zeros_like(values)


@dataclass(frozen=True)
class Mean(_Operation):
    """Set each neuron to a constant, usually its mean over image tokens of other images (see :meth:`over`).

    Attributes:
        means: one number per member of `neurons`, in its order.
    """

    means: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.means) != len(self.neurons):
            raise InvalidOption(f"Mean needs one value per neuron: {len(self.means)} for {len(self.neurons)} neurons")

    @classmethod
    @checked
    def over(
        cls,
        vlm: LoadedModel,
        neurons: Neurons,
        images: Sequence[ImageSource],
        *,
        span: Span = "image",
        decoding: Decoding = Decoding(),
    ) -> Mean:
        """The mean of each neuron over the span's positions of some images. Raises InvalidOption without images."""
        from .capture import activations

        if not images:
            raise InvalidOption("Mean.over needs at least one image, got images=[]")
        taken = [activations(vlm, image, neurons, span=span, decoding=decoding) for image in images]
        means = np.concatenate(taken).mean(0)
        return cls(neurons, span=span, means=tuple(float(m) for m in means))

    def change(self, values: Values, at: Moment) -> Values:
        """mean_i."""
        table = dict(zip(self.neurons, self.means, strict=True))
        means = [table[neuron] for neuron in _members(at)]
        within("the largest of means", max(map(abs, means), default=0.0), values.dtype)
        row = torch.tensor(means, dtype=values.dtype, device=values.device)
        return row.expand_as(values)


@dataclass(frozen=True)
class Patch(_Operation):
    """Replace the activations by those of another image at the same positions (activation patching).

    Attributes:
        source: [positions, neurons] activations to write, columns in the order of `neurons`.
    """

    source: Float[np.ndarray, "positions neurons"] = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        super().__post_init__()
        source = np.asarray(self.source)
        if not (np.issubdtype(source.dtype, np.floating) or np.issubdtype(source.dtype, np.integer)):
            raise InvalidOption(f"Patch source holds values of type {source.dtype}, not numbers")
        if not np.isfinite(source).all():
            raise InvalidOption(
                f"Patch source holds {int((~np.isfinite(source)).sum())} values that are not finite numbers"
            )
        if self.source.ndim != 2 or self.source.shape[1] != len(self.neurons):
            raise InvalidOption(
                f"Patch source has shape {self.source.shape}; expected [positions, {len(self.neurons)}]"
            )

    @classmethod
    @checked
    def take(cls, vlm: LoadedModel, neurons: Neurons, image: ImageSource, *, decoding: Decoding = Decoding()) -> Patch:
        """The activations of `image` at its image tokens."""
        from .capture import activations

        return cls(neurons, source=activations(vlm, image, neurons, decoding=decoding))

    def change(self, values: Values, at: Moment) -> Values:
        """a_source[rank, i]."""
        longest = int(at.rank.max()) + 1
        if longest > len(self.source):
            raise InvalidOption(f"Patch source has {len(self.source)} positions, the image has {longest}")
        column = {neuron: i for i, neuron in enumerate(self.neurons)}
        picked = self.source[:, [column[n] for n in _members(at)]]
        within("the largest activation of Patch source", float(np.abs(picked).max(initial=0.0)), values.dtype)
        table = torch.as_tensor(picked, dtype=values.dtype, device=values.device)
        return table[at.rank.clamp_min(0)]


@dataclass(frozen=True)
class Noise(_Operation):
    """Gaussian noise n * eps (METHODS d; Sato & Takagi III-C).

    The random numbers are counter-based: eps depends on (seed, level, draw, layer, unit, position rank) only.

    Attributes:
        level: n, in activation units, or in units of the neuron's own standard deviation over the span if `relative`.
        draws: how many independent draws.
        sharing: "per_neuron" draws a vector over the positions for each neuron; "shared" uses one for all (the
            literal reading of the paper).
        op: add the noise, or replace the activation by it.
    """

    level: float = 0.0
    draws: int = 1
    seed: int = 0
    relative: bool = False
    sharing: Literal["per_neuron", "shared"] = "per_neuron"
    op: Literal["add", "replace"] = "add"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("sharing", self.sharing, ("per_neuron", "shared"))
        one_of("op", self.op, ("add", "replace"))
        if self.level < 0 or self.draws < 1 or not 0 <= self.seed < 2**64:
            raise InvalidOption(
                "Noise needs level >= 0, draws >= 1 and 64-bit seed >= 0, "
                f"got level={self.level}, draws={self.draws}, seed={self.seed}"
            )

    @classmethod
    @checked
    def paper(cls, neurons: Neurons, level: float = 40.0, draws: int = 10, seed: int = 0) -> Noise:
        """The published protocol: absolute level 40, 80 or 120, one vector shared by all neurons."""
        return cls(neurons, level=level, draws=draws, seed=seed, sharing="shared")

    def change(self, values: Values, at: Moment) -> Values:
        """a + n * eps[draw, i, rank]."""
        within("level", self.level, values.dtype)
        length = int(at.rank.max()) + 1
        table = np.stack([self.epsilon(draw, at.layer, at.units, length) for draw in range(self.draws)])
        eps = torch.as_tensor(table, dtype=torch.float32, device=values.device)
        noise = eps[at.draw[:, None].to(values.device), at.rank.clamp_min(0)]
        noise = noise * self.level
        if self.relative:
            noise = noise * _spread(values, at.rank)
        noise = noise.to(values.dtype)
        return values + noise if self.op == "add" else noise

    def epsilon(self, draw: int, layer: int, units: Sequence[int], length: int) -> Float[np.ndarray, "length units"]:
        """Standard normal numbers of one draw; a longer `length` extends the same sequence."""
        level = struct.unpack("<Q", struct.pack("<d", self.level))[0]
        if self.sharing == "shared":
            one = _stream(self.seed, level, draw, 2**63, 2**63, length)
            return np.repeat(one[:, None], len(units), axis=1)
        return np.stack([_stream(self.seed, level, draw, layer, unit, length) for unit in units], axis=1)


@lru_cache(maxsize=2**15)  # every batch of the same intervention asks for the same numbers
def _stream(seed: int, level: int, draw: int, layer: int, unit: int, length: int) -> Float[np.ndarray, "length"]:
    bits = np.random.Philox(counter=[0, unit, layer, draw], key=[seed, level])
    return np.random.Generator(bits).standard_normal(length)


def _members(at: Moment) -> list[Neuron]:
    return [Neuron(at.layer, unit) for unit in at.units]


def _spread(values: Values, rank: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch 1 units"]:
    """Standard deviation of each neuron over its row's span, in float32."""
    inside = (rank >= 0)[..., None].to(torch.float32)
    wide = values.float()
    count = inside.sum(1, keepdim=True).clamp_min(1)
    mean = (wide * inside).sum(1, keepdim=True) / count
    return (((wide - mean) * inside).square().sum(1, keepdim=True) / count).sqrt()


@checked
def recommended_level(neurons: Neurons) -> float:
    """Noise level for a located set: twice the median of its activation differences, in activation units.

    Large enough that the signal no longer stands out, small enough that the residual stream's norm, and with it every
    other object's share of it, is not swamped; the published levels of 40 to 120 belong to one 7B model. Raises
    InvalidOption for a set without differences: an empty one, or one of a method that measures none.
    """
    differences = neurons.scores.get("activation")
    if not differences:
        raise InvalidOption(
            f"the {len(neurons)} neurons located by {neurons.method!r} have no activation differences to measure a "
            "noise level in: choose a level"
        )
    return 2.0 * float(np.median(differences))


def insisted(change: Intervention) -> Intervention:
    """The same operation on neurons that are not asked where they were found.

    Raises InvalidOption for an operation of the user's own that is no dataclass: its neurons cannot be replaced.
    """
    if not dataclasses.is_dataclass(change):
        raise InvalidOption(f"force=True: give {type(change).__name__} neurons.anywhere(), it is no dataclass")
    made: Any = change
    return dataclasses.replace(made, neurons=change.neurons.anywhere())


#: What an operation is, besides its neurons, span, phase and site. Operations that are not listed are never equal.
_SETTINGS: dict[type, Callable[[Any], object]] = {
    Zero: lambda _: (),
    Scale: lambda change: change.factor,
    Noise: lambda change: (
        change.level,
        change.draws,
        change.seed,
        change.relative,
        change.sharing,
        change.op,
    ),
    Mean: lambda change: tuple(sorted(zip(change.neurons, change.means, strict=True))),
    Patch: lambda change: tuple(
        (neuron, change.source[:, i].tobytes())
        for i, neuron in sorted(enumerate(change.neurons), key=lambda pair: pair[1])
    ),
}


def identity(change: Intervention) -> tuple[object, ...] | None:
    """A key that is equal for interventions that do the same; None for an operation of the user's own."""
    settings = _SETTINGS.get(type(change))
    if settings is None:
        return None
    where = (change.neurons.part, change.site, change.span, change.phase)
    return (type(change), tuple(sorted(change.neurons)), where, settings(change))

"""When two interventions are the same: equal neurons and settings, in whatever order the neurons are listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .operations import Intervention, Mean, Noise, Patch, Scale, Zero

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

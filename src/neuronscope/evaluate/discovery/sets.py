"""Random neurons as controls of a ranking, and a number that stands beside those of its controls.

    random          any neurons of the model
    layer-matched   the neuron of every rank from the same layer as the ranking's, so every top-k has the same layers

Unlike those of :func:`neuronscope.locate.layer_matched`, the drawn neurons may be members of the ranking: what is asked
here is how often two sets meet by chance, and sets that are kept apart never do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ...errors import InvalidOption
from ...locate.scores import Layout
from ...types import Neuron
from ..statistics import Estimate, bootstrap_mean

#: Neurons, best first.
Order: TypeAlias = Sequence[Neuron]


def uniform(widths: Sequence[int], like: Order, rng: np.random.Generator) -> tuple[Neuron, ...]:
    """As many different neurons, any of the model. Raises InvalidOption where it has fewer."""
    layout = Layout(tuple(widths))
    if len(like) > layout.total:
        raise InvalidOption(f"{len(like)} random neurons were asked for; the model has {layout.total}")
    return tuple(Neuron(*layout.split(int(f))) for f in rng.choice(layout.total, len(like), replace=False))


def layer_like(widths: Sequence[int], like: Order, rng: np.random.Generator) -> tuple[Neuron, ...]:
    """For every neuron of `like` a random one of its layer, all different.

    Raises InvalidOption for neurons that the model does not have.
    """
    for neuron in like:
        if not (0 <= neuron.layer < len(widths) and 0 <= neuron.unit < widths[neuron.layer]):
            raise InvalidOption(f"{neuron} is not a neuron of a model with layers of {list(widths)} units")
    units = {layer: iter(rng.permutation(widths[layer]).tolist()) for layer in sorted({n.layer for n in like})}
    return tuple(Neuron(neuron.layer, next(units[neuron.layer])) for neuron in like)


#: Name -> how a control of a ranking is drawn.
CONTROLS: Mapping[str, Callable[[Sequence[int], Order, np.random.Generator], tuple[Neuron, ...]]] = MappingProxyType(
    {"random": uniform, "layer-matched": layer_like}
)


@dataclass(frozen=True)
class ControlledMean:
    """A mean with its interval, and those of the controls.

    Attributes:
        found: of the discovered neurons.
        controls: name -> of random ones.
        units: how many independent values the mean is over.
    """

    found: Estimate
    controls: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    units: int = 0


def measured(found: Sequence[float], controls: Mapping[str, Sequence[float]], seed: int = 0) -> ControlledMean:
    """Means of independent values (images, or concepts) with percentile bootstrap intervals.

    Raises InvalidOption for no values.
    """
    return ControlledMean(
        bootstrap_mean(found, seed=seed),
        {name: bootstrap_mean(values, seed=seed) for name, values in controls.items()},
        len(found),
    )

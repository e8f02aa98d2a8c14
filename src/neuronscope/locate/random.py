"""Random neurons: the control that every number needs (METHODS d, oracle 18).

random                 any neurons of the model
random-layer-matched   as many of each layer as a given set has there, none of them a member of it
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..errors import InvalidOption
from ..given import checked_methods
from ..loading import VLM
from ..samples.inpaint import Counterfactual
from ..types import Json, Neurons, options_of, whole_number
from .matched import layer_matched
from .ranking import Ranked, Ranking
from .scores import Layout, Pooled
from .validity import Validity


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Random(Ranking):
    """Random neurons; the score is a uniform random number.

    Attributes:
        seed: the same seed gives the same neurons for every image of a model.
    """

    seed: int = 0
    name: str = "random"

    needs_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("seed", self.seed, 0)

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """A number in [0, 1) for each neuron."""
        return Ranked("random", {"random": Pooled(_uniform(vlm, self.seed))})


@checked_methods
@dataclass(frozen=True, kw_only=True)
class RandomLayerMatched(Ranking):
    """:func:`layer_matched` as a method.

    Attributes:
        like: the set whose layers are matched, such as what two-stage filtering found in the same sample.
        seed: the same seed gives the same neurons for the same set.
        count: the size of `like`; no option here.
    """

    like: Neurons | None = None
    seed: int = 0
    count: int = field(init=False, default=0)
    name: str = "random-layer-matched"

    needs_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "count", len(self.like or ()))
        whole_number("seed", self.seed, 0)

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """A number in [1, 2) for the drawn neurons and in [0, 1) for all others."""
        if self.like is None:
            raise InvalidOption("random-layer-matched needs like=..., the set of neurons whose layers it matches")
        layout = Layout(vlm.widths)
        values = _uniform(vlm, self.seed)
        for neuron in layer_matched(vlm, self.like, self.seed):
            values[layout.at(neuron)] += 1
        return Ranked("random", {"random": Pooled(values)}, site=self.like.site)

    def to_dict(self) -> dict[str, Json]:
        """All options; of `like` the method and the addresses."""
        result = options_of(dataclasses.replace(self, like=None)) | {"count": self.count}
        if self.like is not None:
            addresses: list[Json] = [[neuron.layer, neuron.unit] for neuron in self.like]
            result["like"] = {"method": self.like.method, "neurons": addresses}
        return result


def _uniform(vlm: VLM, seed: int) -> Float[np.ndarray, "neurons"]:
    return np.random.default_rng(seed).random(Layout(vlm.widths).total)

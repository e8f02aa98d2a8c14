"""Editors without words: switch neurons off, scale them, or disturb their value vectors.

    Ablate    w' = 0                     the neuron writes nothing, at every position (Dai et al.: erase)
    Amplify   w' = factor w              (Dai et al.: x 2)
    RowNoise  w' = w + sigma N(0, I_h)   the weight perturbation of Pan et al.'s code (METHODS f)

Unlike the interventions of `neuronscope.intervene`, which change activations, these change weights, and so act at all
positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidOption
from ..given import checked_methods
from ..loading import VLM
from .editor import ColumnEditor
from .words import WordPair


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Ablate(ColumnEditor):
    """Set the value vectors to zero."""

    name: ClassVar[str] = "ablate"

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """0."""
        return torch.zeros_like(w)


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Amplify(ColumnEditor):
    """Multiply the value vectors by a factor."""

    factor: float = 2.0
    name: ClassVar[str] = "amplify"

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """factor * w."""
        return self.factor * w


@checked_methods
@dataclass(frozen=True, kw_only=True)
class RowNoise(ColumnEditor):
    """Add Gaussian noise to the value vectors.

    The numbers are counter-based: they depend on (seed, layer, unit) only, not on which other neurons are edited.

    Attributes:
        sigma: standard deviation, in the weights' own units.
        seed: of the numbers.
    """

    sigma: float = 0.1
    seed: int = 0
    name: ClassVar[str] = "row-noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma < 0 or not 0 <= self.seed < 2**64:
            raise InvalidOption(
                f"RowNoise needs sigma >= 0 and a 64-bit seed >= 0, got sigma={self.sigma}, seed={self.seed}"
            )

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """w + sigma * noise."""
        noise = np.stack([self.noise(layer, unit, len(w)) for unit in units], axis=1)
        return w + self.sigma * torch.as_tensor(noise, dtype=w.dtype, device=w.device)

    def noise(self, layer: int, unit: int, hidden: int) -> Float[np.ndarray, "hidden"]:
        """Standard normal numbers of one neuron."""
        bits = np.random.Philox(counter=[0, unit, layer, 0], key=[self.seed, 0])
        return np.random.Generator(bits).standard_normal(hidden)

"""Editors in closed form: the value vectors' projections on two words are exchanged, or one word is written over.

Swap (METHODS f, E1). With U = [u_s u_t], the minimal-norm change that exchanges the two projections at alpha = 1:

    w' = w + alpha U (U^T U)^-1 (P - I) U^T w           P exchanges s and t

Several pairs of tokens are exchanged at once by the same formula, with U of all of them. At alpha = 1 applying it twice
is no change: (w')' = w.

Embed (E2; Dai et al. 2022, "update fact"). Source subtracted, target added, each at the vector's own length:

    w' = w - lambda1 |w|/|u_s| u_s + lambda2 |w|/|u_t| u_t
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..given import checked_methods
from ..loading import VLM
from .editor import WordEditor
from .words import WordPair, require_apart, require_words


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Swap(WordEditor):
    """Exchange what the value vectors add to two words' logits; see the formula above.

    Attributes:
        alpha: 1 exchanges, 0.5 makes both equal, 0 changes nothing, 2 goes as far beyond.
    """

    alpha: float = 1.0
    name: ClassVar[str] = "swap"

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """w'. Raises InvalidOption where the words' directions depend on each other linearly."""
        words = require_words(words)
        s, t = (side.to(w.device) for side in self.directions(vlm, layer, words))
        require_apart(torch.cat([s, t], 1), words)
        return swapped(w, s, t, self.alpha)


def swapped(
    w: Float[Tensor, "hidden units"],
    s: Float[Tensor, "hidden pairs"],
    t: Float[Tensor, "hidden pairs"],
    alpha: float = 1.0,
) -> Float[Tensor, "hidden units"]:
    """The formula of Swap, for value vectors w and pairs of directions s and t; computed in float64."""
    u = torch.cat([s, t], 1).double()
    exchanged = torch.cat([t, s], 1).double()
    wanted = (exchanged - u).T @ w.double()
    return (w.double() + alpha * (u @ torch.linalg.solve(u.T @ u, wanted))).to(w.dtype)


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Embed(WordEditor):
    """Subtract the source's direction and add the target's, scaled to each value vector's length.

    Attributes:
        lambda1, lambda2: how much; the published values are 1 and 8.
    """

    lambda1: float = 1.0
    lambda2: float = 8.0
    name: ClassVar[str] = "embed"

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """w'; with several pairs of tokens the mean of their directions, each of length 1, is used."""
        s, t = (side.to(w.device) for side in self.directions(vlm, layer, words))
        source, target = ((side / side.norm(dim=0)).mean(1, keepdim=True) for side in (s, t))
        return w + w.norm(dim=0) * (self.lambda2 * target - self.lambda1 * source)

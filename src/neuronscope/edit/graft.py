"""What the target's own neurons write, grafted onto the source's.

    w_i' = |w_i| (lambda_t t_l - lambda_s s_l + lambda_u u)        for the neurons i of layer l of a set

    t_l = unit mean of w_j / |w_j| over the donors j of layer l, or over all donors where that layer has none
    s_l = the same of the set's own neurons of layer l                       (unit mean: the mean, scaled to length 1)
    u   = the target's direction in the unembedding, scaled to length 1

`Embed` knows the words by the unembedding only: how a vector reads at the last layer. Neurons that are found at image
tokens also write for the layers in between, whose directions are not the words'. Neurons found for the target write in
these, so that they need not be learned by gradient (METHODS g: G3). The defaults were chosen on four pairs of concepts
of the bundled model (docs/results/editing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ..errors import InvalidOption
from ..given import checked_methods
from ..loading import VLM
from ..types import Neurons
from .columns import read_columns, require_editable
from .editor import WordEditor
from .words import WordPair


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Graft(WordEditor):
    """Write what the donors write, in place of what the neurons of the set write; see the formula above.

    Attributes:
        donors: neurons of the target, found as those of the source were. They stay as they are.
        lambda_s: how much of what the set writes is taken away.
        lambda_t: how much of what the donors write is added.
        lambda_u: how much of the target's direction in the unembedding is added.
    """

    donors: Neurons
    lambda_s: float = 1.0
    lambda_t: float = 1.0
    lambda_u: float = 4.0
    name: ClassVar[str] = "graft"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.donors):
            raise InvalidOption("donors is an empty set: Graft needs neurons of the target")

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """w'; with several pairs of tokens u is the mean of their directions, each of length 1.

        Raises what columns.require_editable raises, for the donors.
        """
        require_editable(vlm, self.donors)
        found = self.donors.by_layer()
        layers = [layer] if layer in found else sorted(found)
        given = torch.cat([read_columns(vlm, one, found[one]).to(w) for one in layers], 1)
        u = normalize(self.directions(vlm, layer, words)[1].to(w), dim=0).mean(1)
        written = self.lambda_t * unit_mean(given) - self.lambda_s * unit_mean(w) + self.lambda_u * u
        return w.norm(dim=0) * written[:, None]


def unit_mean(w: Float[Tensor, "hidden units"]) -> Float[Tensor, "hidden"]:
    """The mean of vectors that were scaled to length 1, itself scaled to length 1; vectors of zeros count as zeros."""
    return normalize(normalize(w, dim=0).mean(1), dim=0)

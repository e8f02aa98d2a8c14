"""What the target's own neurons write, grafted onto the source's.

    w_i' = |w_i| (lambda2 t_l - lambda1 s_l)        for the neurons i of layer l of a set

    t_l = unit mean of w_j / |w_j| over the donors j of layer l, or over all donors where that layer has none
    s_l = the same of the set's own neurons of layer l                       (unit mean: the mean, scaled to length 1)

It is `Embed` with another dictionary. The unembedding says how a vector reads at the last layer; neurons that are found
at image tokens write for the layers in between, whose directions are not the words'. Neurons found for the target
write in these directions, so no gradient is needed to learn them (METHODS g: G3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidOption
from ..types import Neurons
from .columns import read_columns, require_editable
from .editor import ColumnEditor
from .ledger import ledger_of
from .words import WordPair, pair_words

if TYPE_CHECKING:
    from ..models.vlm import VLM


@dataclass(frozen=True, kw_only=True)
class Graft(ColumnEditor):
    """Write what the donors write, in place of what the neurons of the set write; see the formula above.

    Attributes:
        source, target: the words, for `Edit.before` and for results; the value vectors depend on the donors only.
        donors: neurons of the target, found as those of the source were. They stay as they are.
        lambda1, lambda2: how much of the source is taken away and of the target is added.
    """

    source: str
    target: str
    donors: Neurons
    lambda1: float = 1.0
    lambda2: float = 4.0
    name: ClassVar[str] = "graft"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lambda1) and math.isfinite(self.lambda2)):
            raise InvalidOption(f"lambda1={self.lambda1} and lambda2={self.lambda2} must be finite numbers")
        if not len(self.donors):
            raise InvalidOption("donors is an empty set: Graft needs neurons of the target")

    def words(self, vlm: VLM) -> WordPair:
        """The words' tokens. Raises InvalidOption where they are the same or cannot be spelled."""
        return pair_words(vlm, self.source, self.target, "each", self.decoding.prompt)

    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """w'. Raises what columns.require_editable raises, for the donors."""
        require_editable(vlm, self.donors, ledger_of(vlm))
        found = self.donors.by_layer()
        layers = [layer] if layer in found else sorted(found)
        given = torch.cat([read_columns(vlm, one, found[one]).to(w) for one in layers], 1)
        written = self.lambda2 * unit_mean(given) - self.lambda1 * unit_mean(w)
        return w.norm(dim=0) * written[:, None]


def unit_mean(w: Float[Tensor, "hidden units"]) -> Float[Tensor, "hidden"]:
    """The mean of vectors that were scaled to length 1, itself scaled to length 1; vectors of zeros count as zeros."""
    mean = torch.nn.functional.normalize(w, dim=0).mean(1)
    return torch.nn.functional.normalize(mean, dim=0)

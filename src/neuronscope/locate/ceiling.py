"""What FFN neurons at the image tokens can do at all in one pair: the ceiling of every method that locates them.

    r(N) = E_N / E for N = all neurons, the lower, middle and upper third of the layers, and each layer    METHODS n2

patched from the edited picture, which says what of the object they carry, and zeroed, which says what the model needs
to say anything. Where r(all) is small the object reaches the word by another way, and no set of neurons can recover it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.origin import require_own
from ..samples.inpaint import Counterfactual
from ..types import Json, Neurons, Site
from .patching import Change, Exchange
from .picture_row import picture_rows
from .scores import Layout
from .target import ConceptToken, concept_word
from .validity import Validity, check_validity

#: Names of the sets that are not single layers.
PARTS = ("all layers", "lower third", "middle third", "upper third")


@dataclass(frozen=True)
class Ceiling:
    """Shares of the edit's effect.

    Attributes:
        effect: E, what the edit takes from the log-probability of the concept's word, in natural logarithms.
        shares: change -> set ("all layers", "lower third" ..., "layer 3") -> r.
    """

    effect: float
    shares: Mapping[Change, Mapping[str, float]]

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def share(self) -> float:
        """r of all neurons, patched from the edited picture."""
        return self.shares["patch"][PARTS[0]]

    def to_dict(self) -> dict[str, Json]:
        """For a file."""
        return {"effect": self.effect, "shares": {change: dict(of) for change, of in self.shares.items()}}

    def __str__(self) -> str:
        """In one sentence."""
        of = self.shares["patch"]
        thirds = ", ".join(f"{name} {of[name]:.0%}" for name in PARTS[1:])
        return f"all FFN neurons at the image's positions recover {self.share:.0%} of what the edit does ({thirds})"


@checked
def ceiling(
    vlm: VLM,
    pair: Counterfactual,
    *,
    validity: Validity | None = None,
    changes: Sequence[Change] = ("patch", "zero"),
    layers: bool = True,
    sets: Mapping[str, Neurons] = MappingProxyType({}),
    site: Site = "neuron",
    concept_token: ConceptToken = "first",
    decoding: Decoding = Decoding(),
) -> Ceiling:
    """What all FFN neurons, thirds of the layers and single layers recover of the edit's effect.

    Args:
        vlm: the model.
        pair: the image and its counterfactual.
        validity: the captions, where they are known.
        changes: "patch" from the edited picture, "zero", "mean"; patching is always among them.
        layers: whether single layers are asked as well, one more row of a batch each.
        sets: name -> neurons that are asked beside them.
        site: where activations are exchanged.
        concept_token: which sub-tokens of the word the effect is on.
        decoding: caption settings.

    Raises RunMismatch for sets of other weights, InvalidOption for another part's or one that is named like a built-in
    one, what :func:`check_validity` raises, InvalidSample where the edit has no effect to take shares of, and
    NoImagePositions where the decoder has no image tokens.
    """
    vlm.require_image_positions()
    for of in sets.values():
        require_own(vlm, of, "text")
    validity = validity or check_validity(vlm, pair, decoding=decoding)
    word = concept_word(validity, concept_token)
    rows = picture_rows(vlm, pair, word, decoding, site)
    effect = Exchange.between(vlm, *rows).require_edit(pair.sample.concept)
    layout = Layout(vlm.widths)
    masks = _sets(layout, vlm.structure.studied, layers)
    if taken := sorted(sets.keys() & masks.keys()):
        raise InvalidOption(f"sets={taken}: these names stand for neurons already")
    masks |= {name: layout.mask(of) for name, of in sets.items()}
    shares: dict[Change, dict[str, float]] = {}
    for change in dict.fromkeys(("patch", *changes)):
        exchange = Exchange.between(vlm, *rows, change=change)
        found = exchange.effects(list(masks.values())) / effect
        shares[change] = dict(zip(masks, (float(share) for share in found), strict=True))
    return Ceiling(effect, shares)


def _sets(layout: Layout, studied: Sequence[int], single: bool) -> dict[str, Bool[np.ndarray, "neurons"]]:
    owner = np.repeat(np.arange(len(layout.widths)), layout.widths)
    thirds = np.array_split(np.array(studied), 3)
    sets = {name: np.isin(owner, part) for name, part in zip(PARTS, [np.array(studied), *thirds], strict=True)}
    return sets | ({f"layer {layer}": owner == layer for layer in studied} if single else {})

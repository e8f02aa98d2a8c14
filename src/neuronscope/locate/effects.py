"""What single neurons do, exactly: each is really exchanged, and the concept's score read again (METHODS n2).

    E_(l,i)     = s(o) - s(o | O'_(l,i) <- values)            exchanged alone, at all image tokens
    E_(l,i) | N = E_N - E_(N without (l,i))                    what leaving it out takes from a set

Nothing is estimated: one forward pass per neuron, of which only the layers above its own, at the image tokens and
behind them, are run (exchanged.py). In float32 an effect is known to about 1e-5 of the score's own size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InvalidOption, NeuronOutOfRange
from ..fields import check_fields
from ..frames import data_frame, neuron_columns
from ..given import checked, checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.origin import require_own
from ..notebook import ROWS
from ..samples.inpaint import Counterfactual
from ..types import Neuron, Neurons, Site, one_of, whole_number
from .exchanged import ROWS as PASSES
from .patching import Change, Exchange
from .scores import Layout, Target, best_first
from .target import ConceptToken, concept_word
from .validity import Validity, check_validity

if TYPE_CHECKING:
    from pandas import DataFrame

#: With what a neuron is exchanged: with nothing else, or as a member of the set, of which it is left out.
Among: TypeAlias = Literal["alone", "set"]
AMONG: tuple[Among, ...] = get_args(Among)
#: The largest set of which members are left out one by one.
LARGEST_SET = 500


@checked_methods
@dataclass(frozen=True)
class Effects:
    """Exact effects of single neurons in one pair.

    Attributes:
        layout: how layers follow each other on the flat axis.
        flat: which neurons, [n] indices on that axis.
        values: [n] their effects, in units of the measure: logits, or natural logarithms.
        edit: what the edit itself does to the score, s(o) - s(e).
        whole: E_N of all these neurons together; None where they were exchanged alone.
        change, measure, site, among: how they were exchanged and what was read.
        plain: why passes were made from the beginning, where they were.
    """

    layout: Layout
    flat: Int[np.ndarray, "n"]
    values: Float[np.ndarray, "n"]
    edit: float
    whole: float | None
    change: Change
    measure: Target
    site: Site
    among: Among
    plain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def __len__(self) -> int:
        return len(self.flat)

    def __repr__(self) -> str:
        return f"Effects({len(self)} neurons, {self.change}, {self.measure}, largest {self._largest():.3g})"

    def _largest(self) -> float:
        return float(self.values.max()) if len(self.values) else 0.0

    def best(self, count: int | None = None) -> Neurons:
        """The neurons with the largest effects, which are their scores; all where no count is given."""
        if count is not None:
            whole_number("count", count, 0)
        order = best_first(self.values)[:count]
        members = tuple(Neuron(*self.layout.split(int(self.flat[k]))) for k in order)
        scores = {"effect": tuple(float(self.values[k]) for k in order)}
        return Neurons(members, site=self.site, scores=scores)

    def to_dataframe(self) -> DataFrame:
        """The neurons that were asked for with pandas, and the effect of each; how it was measured in `attrs`.

        Raises InvalidOption where pandas is not installed.
        """
        columns = neuron_columns(Neuron(*self.layout.split(int(flat))) for flat in self.flat)
        about = {name: getattr(self, name) for name in ("edit", "whole", "change", "measure", "site", "among", "plain")}
        return data_frame({**columns, "effect": self.values}, **about)

    def _repr_html_(self) -> str:
        return self.best(ROWS).to_html()

    def layer(self, layer: int) -> Float[np.ndarray, "width"]:
        """Of one layer; NaN for neurons that were not asked for. Raises NeuronOutOfRange for no such layer."""
        if layer >= len(self.layout.widths):
            raise NeuronOutOfRange(f"layer={layer} does not exist: there are {len(self.layout.widths)} layers")
        start, width = self.layout.starts[layer], self.layout.widths[layer]
        found = np.full(width, np.nan)
        inside = (self.flat >= start) & (self.flat < start + width)
        found[self.flat[inside] - start] = self.values[inside]
        return found


@checked
@in_turn
def effects(
    vlm: VLM,
    pair: Counterfactual,
    neurons: Neurons | None = None,
    *,
    change: Change = "patch",
    measure: Target = "logprob",
    among: Among = "alone",
    validity: Validity | None = None,
    site: Site = "neuron",
    concept_token: ConceptToken = "first",
    decoding: Decoding = Decoding(),
    batch_size: int = PASSES,
    step: Callable[[int], None] = lambda _: None,
) -> Effects:
    """The exact effect of every neuron, or of some, on the concept's score where it is said.

    Args:
        vlm: the model.
        pair: the image and its counterfactual.
        neurons: which; all of the decoder's FFN neurons where none are named.
        change: "patch" from the edited picture, "zero", or "mean" over the image tokens.
        measure: s: "logit", "logprob", "logodds", "prob", or "contrast" with what the edited picture is said to show.
        among: "alone": exchanged by itself. "set": what leaving it out takes from exchanging all of `neurons`, of which
            there are at most LARGEST_SET; beside "alone" it shows which members stand in for each other.
        validity: the captions of the pair, where they are known.
        site: where activations are exchanged.
        concept_token: which sub-tokens of the word count.
        decoding: caption settings.
        batch_size: neurons per forward pass at most; no effect on the result.
        step: told how many more are done, for progress displays.

    Raises RunMismatch for neurons of other weights, InvalidOption for another part's, for values that are not among the
    choices and for a set that is too large, what :func:`check_validity` raises, and NoImagePositions where the decoder
    has no image tokens.
    """
    one_of("among", among, AMONG)
    vlm.require_image_positions()
    layout = Layout(vlm.widths)
    if neurons is not None:
        require_own(vlm, neurons, "text")
    if among == "set" and (neurons is None or not 0 < len(neurons) <= LARGEST_SET):
        size = "all" if neurons is None else str(len(neurons))
        raise InvalidOption(f"among='set' leaves out one member after the other: of 1 to {LARGEST_SET}, not {size}")
    validity = validity or check_validity(vlm, pair, decoding=decoding)
    word = concept_word(validity, concept_token)
    exchange = Exchange.of(
        vlm, pair.original, pair.edited, word, decoding, change=change, target=measure, site=site, batch_size=batch_size
    )
    asked = np.arange(layout.total) if neurons is None else np.nonzero(layout.mask(neurons))[0]
    base, whole = np.zeros(layout.total, dtype=bool), None
    if among == "set":
        base[asked] = True
        whole = float(exchange.effects([base])[0])
    values = np.zeros(len(asked))
    for start in range(0, len(asked), batch_size):
        some = asked[start : start + batch_size]
        values[start : start + len(some)] = exchange.effects([_turned(base, int(flat)) for flat in some])
        step(len(some))
    if whole is not None:
        values = whole - values
    plain = tuple(dict.fromkeys(why for why in (exchange.kept.why, *exchange.kept.plain.values()) if why))
    return Effects(layout, asked, values, exchange.edit, whole, change, measure, site, among, plain)


def _turned(base: Bool[np.ndarray, "neurons"], flat: int) -> Bool[np.ndarray, "neurons"]:
    """A set with one neuron more, or one less where it is a member."""
    result = base.copy()
    result[flat] = not result[flat]
    return result

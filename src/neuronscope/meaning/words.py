"""Promoted words beside those of random neurons of the same layers (METHODS n10).

    strength    of a neuron's strongest word, in standard deviations over the vocabulary (:mod:`.view.decode`)
    rank        of the concept's best word among all tokens
    quantile    share of the random neurons of its layer with a weaker word, or a worse rank; ties count half

Whether a set as a whole differs is a permutation test within layers: the set's sum of ranks against that of as many
neurons drawn from the set and its control together. In a large vocabulary the strongest words of most neurons are the
same rare fragments, whatever the concept: they look like a finding until random neurons stand beside them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float

from ..frames import data_frame, neuron_columns
from ..given import checked
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.lens import DecodeNorm
from ..notebook import ROWS, table_html
from ..samples.lexicon import Lexicon
from ..tokens.words import added_tokens
from ..types import Neuron, Neurons, whole_number
from ..view.decode import Decoded, promoted

if TYPE_CHECKING:
    from pandas import DataFrame

#: Random neurons of each layer at least, as far as there are so many.
LEAST = 20
#: Permutations behind a p-value, and below which value a set is said to differ.
PERMUTATIONS, ALPHA = 999, 0.05


@dataclass(frozen=True)
class BesideRandom:
    """One figure of a set beside random neurons.

    Attributes:
        found: its mean over the set.
        random: over random neurons, each layer weighted as in the set.
        quantile: mean quantile of the set's neurons among the random ones of their layers; 0.5 is chance.
        p: two-sided, by permutation within layers; never 0.
    """

    found: float
    random: float
    quantile: float
    p: float

    def differs(self, alpha: float = ALPHA) -> int:
        """1 or -1 where the set has more or less than random neurons, 0 where it is not told apart from them."""
        return 0 if self.p >= alpha or self.quantile == 0.5 else 1 if self.quantile > 0.5 else -1


@dataclass(frozen=True)
class Words(Sequence[Decoded]):
    """The words of some neurons, each beside a random neuron of its layer.

    Attributes:
        decoded: of the neurons, in their order.
        beside: of one random neuron of the same layer for each; None where the layer has no other neuron.
        quantiles: of each neuron's strongest word among the random ones of its layer; None likewise.
        concept: whose words were looked for; empty for none.
        strength: of the strongest words, in standard deviations; None without random neurons.
        rank: of the concept's words, as -log(rank); None without a concept or random neurons.
        naming: share of neurons with a word of the concept among the tokens shown; None likewise.
        drawn: random neurons behind the comparison.
    """

    decoded: tuple[Decoded, ...]
    beside: tuple[Decoded | None, ...]
    quantiles: tuple[float | None, ...]
    concept: str = ""
    strength: BesideRandom | None = None
    rank: BesideRandom | None = None
    naming: BesideRandom | None = None
    drawn: int = 0

    def __len__(self) -> int:
        return len(self.decoded)

    @overload
    def __getitem__(self, index: int) -> Decoded: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Decoded, ...]: ...
    def __getitem__(self, index: int | slice) -> Decoded | tuple[Decoded, ...]:
        return self.decoded[index]

    @property
    def sentence(self) -> str:
        """Whether these words say anything, in words."""
        if not self.decoded:
            return "There are no neurons, so there are no words."
        if self.strength is None:
            return "There are no other neurons in these layers to compare with: the words say nothing by themselves."
        said = ""
        if self.rank is not None and self.naming is not None:
            total, apart = len(self), ALPHA / 2  # two questions, one answer
            more = self.rank.differs(apart) == 1 or self.naming.differs(apart) == 1
            said = (
                f"{round(self.naming.found * total)} of {total} neurons promote a word for “{self.concept}”, "
                f"{self.naming.random * total:.1f} of as many random neurons of the same layers would: these words "
                f"{'speak' if more else 'do not speak'} of it more than random ones do "
                f"(p = {min(1.0, 2 * min(self.rank.p, self.naming.p)):.3f}). "
            )
        how = {1: "stronger than", -1: "weaker than", 0: "no stronger than"}[self.strength.differs()]
        return (
            f"{said}Strongest words stand {self.strength.found:.1f} sd out of the vocabulary, those of random neurons "
            f"{self.strength.random:.1f}: {how} chance (p = {self.strength.p:.3f})."
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as a file can hold it, with the sentence; every neuron holds the random one beside it."""
        rows = zip(self.decoded, self.quantiles, self.beside, strict=True)
        figures = {name: getattr(self, name) for name in _FIGURES}
        return {
            "sentence": self.sentence,
            "concept": self.concept,
            "drawn": self.drawn,
            **{name: None if one is None else dataclasses.asdict(one) for name, one in figures.items()},
            "neurons": [
                {**_row(one), "quantile": quantile, "random": None if other is None else _row(other)}
                for one, quantile, other in rows
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Words:
        """The inverse of :meth:`to_dict`. Raises KeyError or TypeError for other documents."""
        rows = data["neurons"]
        figures = {name: None if data[name] is None else BesideRandom(**data[name]) for name in _FIGURES}
        return cls(
            tuple(map(_decoded, rows)),
            tuple(None if row["random"] is None else _decoded(row["random"]) for row in rows),
            tuple(row["quantile"] for row in rows),
            str(data["concept"]),
            drawn=int(data["drawn"]),
            **figures,
        )

    def __repr__(self) -> str:
        return f"<Words of {len(self)} neurons: {self.sentence}>"

    def to_dataframe(self) -> DataFrame:
        """The words with pandas, strongest first: a row for each token of each neuron, and of the random one beside it.

        `random` tells them apart, `beside` names whose control it is; comparisons of the set are in `attrs`. Raises
        InvalidOption where pandas is not installed.
        """
        rows: list[tuple[Decoded, int, float | None, bool, str]] = []
        for one, other, quantile in zip(self.decoded, self.beside, self.quantiles, strict=True):
            rows += [(one, k, quantile, False, str(one.neuron)) for k in range(len(one.tokens))]
            rows += [] if other is None else [(other, k, None, True, str(one.neuron)) for k in range(len(other.tokens))]
        columns: dict[str, list[Any]] = {
            **neuron_columns(one.neuron for one, *_ in rows),
            "random": [random for *_, random, _ in rows],
            "beside": [address for *_, address in rows],
            "place": [k + 1 for _, k, *_ in rows],
            "token": [one.tokens[k] for one, k, *_ in rows],
            "logit": [one.logits[k] for one, k, *_ in rows],
            "strength": [one.strengths[k] for one, k, *_ in rows],
            "rank": [one.rank for one, *_ in rows],
            "quantile": [quantile for _, _, quantile, *_ in rows],
        }
        return data_frame(columns, **{name: value for name, value in self.to_dict().items() if name != "neurons"})

    def _repr_html_(self) -> str:
        rows = [
            (str(one), "-" if quantile is None else f"{quantile:.2f}", "-" if other is None else str(other))
            for one, quantile, other in zip(self.decoded, self.quantiles, self.beside, strict=True)
        ]
        names = ("promotes, strength in sd", "quantile among random", "a random neuron of its layer")
        return table_html(self.sentence, names, rows[:ROWS], len(rows) - ROWS)


#: What a set and its control are compared by.
_FIGURES = ("strength", "rank", "naming")


def _row(one: Decoded) -> dict[str, Any]:
    lists = {"tokens": list(one.tokens), "logits": list(one.logits), "strengths": list(one.strengths)}
    return {"layer": one.neuron.layer, "unit": one.neuron.unit, **lists, "rank": one.rank}


def _decoded(row: Mapping[str, Any]) -> Decoded:
    neuron, rank = Neuron(int(row["layer"]), int(row["unit"])), row["rank"]
    return Decoded(neuron, tuple(row["tokens"]), tuple(row["logits"]), tuple(row["strengths"]), rank)


@checked
def decode(
    vlm: VLM,
    neurons: Neurons,
    *,
    top: int = 5,
    norm: DecodeNorm = "gain",
    sign: int = 1,
    seed: int = 0,
    least: int = LEAST,
    decoding: Decoding | None = None,
    force: bool = False,
) -> Words:
    """The `top` tokens of each neuron, W_U (gain * w_i) in float32, beside random neurons of the same layers.

    Args:
        vlm: the model.
        neurons: which neurons; words for their `concept` are looked for where they have one.
        top: how many tokens each.
        norm: see :data:`~neuronscope.models.lens.DecodeNorm`; the papers use "none", "gain" is recommended.
        sign: 1, or -1 for neurons whose typical activation is negative: they promote the lowest logits.
        seed: of the random neurons.
        least: how many random neurons of each layer there are at least, as far as it has so many others; else as many
            as the set has there.
        decoding: what the model is asked: a word of the concept is also looked for as it is spelled behind the
            beginning of the answer.
        force: take neurons of other weights at their addresses.

    Raises RunMismatch for neurons of other weights, InvalidOption for other values and parts, UnsupportedModel when a
    final norm is asked for and there is none.
    """
    whole_number("least", least, 1)
    whole_number("seed", seed, 0)
    neurons = neurons.anywhere() if force else neurons
    ids = word_ids(vlm, neurons.concept, decoding) if neurons.concept else ()
    decoded = promoted(vlm, neurons, top=top, norm=norm, sign=sign, words=ids)
    random = promoted(vlm, _others(vlm, neurons, least, seed), top=top, norm=norm, sign=sign, words=ids)
    strength, quantiles = _compared(decoded, random, lambda one: one.strengths[0], seed)
    rank = naming = None
    if ids:
        rank, _ = _compared(decoded, random, lambda one: -math.log(one.rank or 1), seed)
        naming, _ = _compared(decoded, random, lambda one: float(_names(one)), seed)
    partners = {layer: iter([r for r in random if r.neuron.layer == layer]) for layer in neurons.by_layer()}
    beside = tuple(next(partners[neuron.layer], None) for neuron in neurons)
    return Words(tuple(decoded), beside, quantiles, neurons.concept, strength, rank, naming, len(random))


def word_ids(vlm: VLM, concept: str, decoding: Decoding | None = None) -> tuple[int, ...]:
    """Tokens that are a word for a concept by themselves: every spelling of the lexicon, with and without a capital.

    With a decoding also as it is spelled behind the beginning of its answers. Where the vocabulary has none, the first
    token of the concept's own name.
    """
    words = [form for word in Lexicon.default().spellings(concept) for form in (word, word.capitalize(), word.title())]
    spelled = [_without_spaces(vlm, f"{before}{word}") for word in dict.fromkeys(words) for before in ("", " ")]
    if decoding is not None:
        spelled += [added_tokens(vlm.tokenizer, decoding.context, word) for word in dict.fromkeys(words)]
    whole = tuple(dict.fromkeys(ids[0] for ids in spelled if len(ids) == 1))
    return whole or tuple(dict.fromkeys(ids[0] for ids in spelled[:2] if ids))


def _without_spaces(vlm: VLM, text: str) -> list[int]:
    """The ids of a text, without tokens in front of it that are nothing but space."""
    ids: list[int] = vlm.tokenizer(text, add_special_tokens=False).input_ids
    while len(ids) > 1 and not vlm.tokenizer.decode(ids[:1]).strip():
        ids = ids[1:]
    return ids


def _names(one: Decoded) -> bool:
    """Whether a word of the concept is among the tokens that are shown."""
    return one.rank is not None and one.rank <= len(one.tokens)


def _others(vlm: VLM, neurons: Neurons, least: int, seed: int) -> Neurons:
    """Random neurons of the same layers outside the set: as many of each, and at least so many, where there are."""
    rng = np.random.default_rng(seed)
    drawn: list[Neuron] = []
    for layer, units in neurons.by_layer().items():
        others = np.setdiff1d(np.arange(vlm.widths[layer]), units)
        count = min(max(least, len(units)), len(others))
        drawn += [Neuron(layer, int(unit)) for unit in rng.choice(others, count, replace=False)]
    return Neurons(tuple(drawn), site=neurons.site, concept=neurons.concept)


def _compared(
    decoded: Sequence[Decoded], random: Sequence[Decoded], of: Callable[[Decoded], float], seed: int
) -> tuple[BesideRandom | None, tuple[float | None, ...]]:
    """One figure of the set beside its control; and each neuron's quantile among the random ones of its layer."""
    rng = np.random.default_rng([seed, 1])
    quantiles: list[float | None] = [None] * len(decoded)
    found: list[float] = []
    expected, summed, drawn = 0.0, 0.0, np.zeros(PERMUTATIONS)
    for layer in sorted({one.neuron.layer for one in decoded}):
        places = [k for k, one in enumerate(decoded) if one.neuron.layer == layer]
        own = np.array([of(decoded[k]) for k in places])
        others = np.array([of(one) for one in random if one.neuron.layer == layer])
        if not len(others):
            continue
        for k, value in zip(places, own, strict=True):
            quantiles[k] = float(np.mean(others < value) + np.mean(others == value) / 2)
        ranks = _midranks(np.concatenate([own, others]))
        permuted = rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
        drawn += permuted[:, : len(own)].sum(axis=1)
        summed += float(ranks[: len(own)].sum())
        expected += len(own) * float(others.mean())
        found += own.tolist()
    if not found:
        return None, tuple(quantiles)
    # A sum of ranks of halves is exact in binary, so equal sums compare equal.
    tail = min(np.count_nonzero(drawn >= summed), np.count_nonzero(drawn <= summed))
    p = min(1.0, 2 * (1 + int(tail)) / (1 + PERMUTATIONS))
    known = [quantile for quantile in quantiles if quantile is not None]
    return BesideRandom(float(np.mean(found)), expected / len(found), float(np.mean(known)), p), tuple(quantiles)


def _midranks(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Ranks from 1, equal values sharing their mean rank."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    del distinct
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]

"""Shared words of two captions: BLEU (sacrebleu) and ROUGE (rouge-score), per pair, 0 to 1.

BLEU-N = BP (p_1 ... p_N)^(1/N), BP = min(1, exp(1 - |r| / |h|)); p_n is the share of the hypothesis' n-grams that the
reference has, each at most as often as there; for n > 1, k is added to both counts. 13a tokens, case kept.
ROUGE F1 = 2PR / (P + R) of shared words (ROUGE-1) or of the longest common subsequence (ROUGE-L); lower case, letters
and digits only, no stemming.
Words are those of :mod:`neuronscope.words`. Of texts in ASCII they are what both libraries make of them; beyond, 13a
knows no punctuation and rouge-score no letter, and neither knows scripts without spaces.
Table III of Sato & Takagi does not say which of these it reports (METHODS d).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption
from ...fields import check_fields
from ...types import Json, one_of
from ...words import segmenter, spaced, words_of
from .scored import Against, score_pairs
from .sources import library, version


@dataclass(frozen=True)
class Bleu:
    """Sentence BLEU up to n-grams of `order` words.

    Attributes:
        order: 1 to 4.
        add_k: what smoothing adds to both counts of an order above 1; 0 for no smoothing. It counts for orders that a
            caption of fewer than `order` words does not have as well: (0 + k) / (0 + k) = 1.
    """

    order: int = 4
    add_k: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.order not in (1, 2, 3, 4):
            raise InvalidOption(f"order={self.order!r} is not one of 1, 2, 3, 4")
        if self.add_k < 0:
            raise InvalidOption(f"add_k={self.add_k!r} is not a number of 0 or more")

    @property
    def name(self) -> str:
        """bleu-N."""
        return f"bleu-{self.order}"

    @property
    def against(self) -> Against:
        """Captions."""
        return "caption"

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Float[np.ndarray, "n"]:
        """BLEU of each pair, 0 to 1."""
        bleu = library("sacrebleu.metrics", "sacrebleu").BLEU(
            max_ngram_order=self.order,
            smooth_method="add-k",
            smooth_value=self.add_k,
            effective_order=True,
            tokenize="13a",
        )

        def each(texts: list[str], targets: list[str]) -> Iterable[float]:
            for text, target in zip(texts, targets, strict=True):
                yield min(
                    bleu.sentence_score(spaced(text), [spaced(target)]).score / 100, 1.0
                )  # exp(0) can come out above 1

        return score_pairs(hypotheses, references, each, self.against)

    def provenance(self) -> dict[str, Json]:
        """The settings under sacrebleu's own words."""
        settings: dict[str, Json] = {
            "level": "sentence",
            "order": self.order,
            "tokenize": "13a",
            "lowercase": False,
            "smooth_method": "add-k",
            "smooth_value": self.add_k,
            "effective_order": True,
            "scale": "0-1",
            "segmenter": segmenter(),
        }
        return _provenance(self.name, "sacrebleu", settings)


class _Words:
    """What rouge-score asks for words: its own would take letters beyond a to z for spaces."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text)


@dataclass(frozen=True)
class Rouge:
    """ROUGE F1.

    Attributes:
        kind: "1" for shared words, "l" for the longest common subsequence.
    """

    kind: Literal["1", "l"] = "l"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("1", "l"))

    @property
    def name(self) -> str:
        """rouge-1 or rouge-l."""
        return f"rouge-{self.kind}"

    @property
    def against(self) -> Against:
        """Captions."""
        return "caption"

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Float[np.ndarray, "n"]:
        """F1 of each pair, 0 to 1."""
        key = f"rouge{self.kind.upper()}"
        scorer = library("rouge_score.rouge_scorer", "rouge-score").RougeScorer([key], tokenizer=_Words())

        def each(texts: list[str], targets: list[str]) -> Iterable[float]:
            for text, target in zip(texts, targets, strict=True):
                yield scorer.score(target, text)[key].fmeasure

        return score_pairs(hypotheses, references, each, self.against)

    def provenance(self) -> dict[str, Json]:
        """The settings under rouge-score's own words."""
        settings: dict[str, Json] = {"value": "F1", "use_stemmer": False, "scale": "0-1", "segmenter": segmenter()}
        return _provenance(self.name, "rouge-score", settings)


def _provenance(name: str, distribution: str, settings: dict[str, Json]) -> dict[str, Json]:
    return {
        "metric": name,
        "library": distribution,
        "version": version(distribution),
        "model": None,
        "settings": settings,
    }

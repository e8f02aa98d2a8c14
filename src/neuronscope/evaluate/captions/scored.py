"""What a caption metric is, and numbers that remember how they were made.

A hypothesis is the caption of the original image under an intervention; its reference is the untouched model's caption
of the inpainted image (METHODS d, "Masked-caption comparison") or, for CLIPScore, an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float

from ...errors import InvalidOption, NotFinite, RunMismatch
from ...models.decoding import CAPTION
from ...types import Json

#: What the references of a metric are.
Against: TypeAlias = Literal["caption", "image"]


class CaptionMetric(Protocol):
    """A number for every pair of a hypothesis and a reference."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    @property
    def against(self) -> Against:
        """Whether references are captions or images."""
        ...

    def score(self, hypotheses: Sequence[str], references: Sequence[Any]) -> Float[np.ndarray, "n"]:
        """One float64 per pair; 0 for an empty hypothesis. Raises InvalidOption for lists that do not pair up."""
        ...

    def provenance(self) -> dict[str, Json]:
        """`metric`, `library`, `version`, `model` and `settings`: all that has to be equal for numbers to compare."""
        ...


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of caption pairs with the settings that made them.

    Attributes:
        values: one number per pair, in the metric's own unit.
        provenance: the metric's provenance, the captions' prompt and whether it was counted.
    """

    values: Float[np.ndarray, "n"]
    provenance: Mapping[str, Json]

    def __len__(self) -> int:
        return len(self.values)

    def mean(self) -> float:
        """Mean over pairs. Raises InvalidOption when there are none."""
        if not len(self):
            raise InvalidOption(f"there are no {self.provenance.get('metric', '')} scores to average")
        return float(self.values.mean())

    def join(self, *others: Scored) -> Scored:
        """All pairs as one set. Raises RunMismatch when they were made differently."""
        common = alike([self, *others])
        return Scored(np.concatenate([self.values, *(other.values for other in others)]), common)


def alike(groups: Sequence[Scored]) -> Mapping[str, Json]:
    """The provenance that all groups share.

    Raises RunMismatch naming every setting that differs, and InvalidOption when there are no groups.
    """
    if not groups:
        raise InvalidOption("there are no scores to combine")
    first = dict(_flat(groups[0].provenance))
    for group in groups[1:]:
        other = dict(_flat(group.provenance))
        unlike = [key for key in sorted(first.keys() | other.keys()) if first.get(key) != other.get(key)]
        if unlike:
            text = "; ".join(f"{key} is {first.get(key)!r} and {other.get(key)!r}" for key in unlike)
            raise RunMismatch(f"scores that were made differently cannot be combined: {text}")
    return groups[0].provenance


def average(groups: Sequence[Scored]) -> float:
    """Mean of group means: every group counts the same, however many pairs it has (METHODS d: pairs, then groups).

    Raises RunMismatch when the groups were made differently, InvalidOption for no groups or an empty one.
    """
    alike(groups)
    return float(np.mean([group.mean() for group in groups]))


def compare(
    metric: CaptionMetric,
    hypotheses: Sequence[str],
    references: Sequence[Any],
    *,
    prompt: str = CAPTION,
    with_prompt: bool = False,
) -> Scored:
    """Score pairs and keep how it was done.

    Captions may be given whole, as from `VLM.captions`, or without their prompt, as `Caption.text`: the result is the
    same. A caption with nothing behind its prompt is empty, and scores 0.

    Args:
        metric: from :func:`neuronscope.evaluate.captions.metric`.
        hypotheses: captions under the intervention.
        references: one caption, or image, for each.
        prompt: what the captions begin with.
        with_prompt: count the prompt as part of every caption. Without is the primary figure (METHODS d): words that
            the prompt supplied agree by themselves.

    Raises InvalidOption for lists that do not pair up.
    """
    paired(hypotheses, references, metric.against)

    def form(caption: str) -> str:
        bare = caption.removeprefix(prompt).strip()
        if not with_prompt or not bare:
            return bare
        return caption if caption.startswith(prompt) else f"{prompt} {bare}"

    given = [form(caption) for caption in references] if metric.against == "caption" else references
    values = metric.score([form(caption) for caption in hypotheses], given)
    return Scored(values, {**metric.provenance(), "prompt": prompt, "with_prompt": with_prompt})


def paired(hypotheses: Sequence[str], references: Sequence[Any], against: Against) -> None:
    """Raise InvalidOption unless both are lists of the same length, of strings where they hold captions."""
    texts = {"hypotheses": hypotheses, "references": references}
    for name, given in texts.items():
        if isinstance(given, str):
            raise InvalidOption(f"{name}={given!r} is one string; give a list")
    if len(hypotheses) != len(references):
        raise InvalidOption(f"{len(hypotheses)} hypotheses do not pair with {len(references)} references")
    if against == "image":
        texts.pop("references")
    for name, given in texts.items():
        wrong = next((type(item).__name__ for item in given if not isinstance(item, str)), None)
        if wrong:
            raise InvalidOption(f"{name} hold an object of type {wrong}; captions are strings")


def is_empty(text: str) -> bool:
    """Whether a caption has nothing but white space."""
    return not text.strip()


def score_pairs(
    hypotheses: Sequence[str],
    references: Sequence[Any],
    score: Callable[[list[str], list[Any]], Iterable[float]],
    against: Against,
) -> Float[np.ndarray, "n"]:
    """Score the pairs that have something on both sides; all others score 0, whatever a library would do with them."""
    paired(hypotheses, references, against)
    full = [against == "image" or not is_empty(reference) for reference in references]
    both = [i for i, text in enumerate(hypotheses) if full[i] and not is_empty(text)]
    values = np.zeros(len(hypotheses), dtype=np.float64)
    if both:
        values[both] = list(score([hypotheses[i] for i in both], [references[i] for i in both]))
        if not np.isfinite(values).all():
            first = int(np.nonzero(~np.isfinite(values))[0][0])
            raise NotFinite(f"the score of the caption {hypotheses[first]!r} is {values[first]}, not a finite number")
    return values


def _flat(provenance: Mapping[str, Json], above: str = "") -> Iterable[tuple[str, Json]]:
    """Nested settings under dotted names, for messages that name the one that differs."""
    for key, value in provenance.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value

"""What changed between two readings, as numbers of which every one belongs to an image or a text.

With c the caption before an edit and c' the one under it, s the source, t the target, and only images whose c names s:

    success      images the edit was made with       c' names t and not s
    generality   held-out images                     c' names t and not s
    prompts      held-out images, other prompts      c' names t and not s
    gone         held-out images                     c' says something, and does not name s
    portability  held-out images                     share of what else c names that c' names too
    rest         held-out images                     c' is c with t in the place of s

Portability of a fact edit asks whether what follows from the fact has changed with it. A caption states few relations;
ours are that the renamed object is still beside the same things in the same place: other objects and `Wording.facts`
that the caption named must be named still. `rest` is stricter: colour, relation and place must all be said as before.

On images and texts that have nothing to do with the source (others whose c names s are left out and counted):

    locality         c' = c
    similarity       ROUGE-L F1 of c' and c, or another caption metric
    text perplexity  exp mean (nll' - nll)                            1: unchanged
    text agreement   share of positions with the same most probable token

Fluency of held-out captions:

    repetition   max over n = 2, 3, 4 of 1 - distinct n-grams / n-grams of c'
    perplexity   exp mean (nll' of c' under the edited model - nll of c under the unedited one)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidOption, RunMismatch
from ...fields import check_fields
from ...samples.lexicon import Lexicon, Mode
from ...words import fold, wordless, words_of
from ..captions import CaptionMetric
from ..statistics import Estimate, bootstrap_mean
from .reading import Answers


@dataclass(frozen=True)
class Wording:
    """The words of an edit, and how captions are searched for them.

    Attributes:
        source: the word that is to go.
        target: the word that is to take its place; None where an edit only removes (success is then that it is gone).
        facts: words besides the lexicon's objects that portability counts.
        mode: when a caption counts as naming a concept.
    """

    source: str
    target: str | None = None
    facts: tuple[str, ...] = ()
    mode: Mode = "lexicon"

    def __post_init__(self) -> None:
        check_fields(self)

    def names(self, caption: str, word: str) -> bool:
        """Whether a caption names a word."""
        return Lexicon.default().match(caption, word, self.mode) is not None

    def replaced(self, caption: str) -> bool:
        """Whether a caption names the target and not the source."""
        return (self.target is None or self.names(caption, self.target)) and self.gone(caption)

    def gone(self, caption: str) -> bool:
        """Whether a caption says something, and does not name the source."""
        return not wordless(caption) and not self.names(caption, self.source)

    def others_in(self, caption: str) -> frozenset[str]:
        """The objects and facts that a caption names besides source and target."""
        words = dict.fromkeys([*Lexicon.default().concepts, *self.facts])
        own = {fold(word) for word in (self.source, self.target or "")}
        return frozenset(w for w in words if fold(w) not in own and self.names(caption, w))

    def exchanged(self, caption: str) -> str:
        """A caption with the target in the place of every mention of the source."""
        parts: list[str] = []
        begin = 0
        for match in Lexicon.default().mentions(caption, self.source, self.mode):
            parts += [caption[begin : match.start], self.target or ""]
            begin = match.end
        return "".join([*parts, caption[begin:]])


@dataclass(frozen=True)
class ReadingPair:
    """Two readings of the same probes. Raises RunMismatch where they are of different ones."""

    before: Answers
    after: Answers
    words: Wording
    similarity: CaptionMetric | None = None

    def __post_init__(self) -> None:
        sizes = [
            [len(r.edited), len(r.held_out), len(r.others), list(r.prompted), r.asked]
            for r in (self.before, self.after)
        ]
        if sizes[0] != sizes[1]:
            raise RunMismatch("before and after are readings of different probes: read both with the same")

    def named(self, before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
        """Captions (before, after) of the images whose caption named the source."""
        return [(b, a) for b, a in zip(before, after, strict=True) if self.words.names(b, self.words.source)]

    @property
    def held_out(self) -> list[tuple[str, str]]:
        """Of the held-out images that count."""
        return self.named(self.before.held_out, self.after.held_out)

    @property
    def others(self) -> list[tuple[str, str]]:
        """Of the other images, without those whose caption named the source nevertheless."""
        pairs = zip(self.before.others, self.after.others, strict=True)
        return [(b, a) for b, a in pairs if not self.words.names(b, self.words.source)]


@dataclass(frozen=True)
class Measure:
    """One number about an edit.

    Attributes:
        title: what tables call it.
        meaning: what it is the share or the size of, for a page.
        values: one value for every image or text that counts.
        ratio: the values are logarithms of ratios; the estimate is the geometric mean of the ratios.
    """

    title: str
    meaning: str
    values: Callable[[ReadingPair], list[float]]
    ratio: bool = False


@dataclass(frozen=True)
class MeasureValues:
    """A measure's values.

    Attributes:
        values: of images or texts; logarithms where `ratio`.
        ratio: see :class:`Measure`.
    """

    values: tuple[float, ...]
    ratio: bool = False

    @property
    def mean(self) -> float | None:
        """The mean, of ratios the geometric one; None without values."""
        if not self.values:
            return None
        mean = float(np.mean(self.values))
        return math.exp(mean) if self.ratio else mean

    @property
    def estimate(self) -> Estimate | None:
        """With its 95 % interval over images or texts; None without values."""
        return estimate(self.values, ratio=self.ratio) if self.values else None

    def join(self, others: Iterable[MeasureValues]) -> MeasureValues:
        """The values of several edits as one."""
        return MeasureValues((*self.values, *(value for other in others for value in other.values)), self.ratio)


def estimate(values: Sequence[float], *, ratio: bool = False) -> Estimate:
    """Mean and 95 % bootstrap interval of values, or of ratios given as logarithms. Raises InvalidOption for none."""
    found = bootstrap_mean(values)
    return Estimate(*(math.exp(v) for v in (found.value, found.low, found.high))) if ratio else found


def compare_readings(
    before: Answers, after: Answers, words: Wording, similarity: CaptionMetric | None = None
) -> dict[str, MeasureValues]:
    """Every measure of MEASURES of two readings; similarity by ROUGE-L by default.

    Raises RunMismatch for readings of different probes, and InvalidOption for a metric that compares with images and
    where the target names the source.
    """
    if words.target is not None and words.names(words.target, words.source):
        raise InvalidOption(
            f"target={words.target!r} names source={words.source!r}: whoever says it has not left the source out"
        )
    if similarity is not None and similarity.against != "caption":
        raise InvalidOption(
            f"similarity={similarity.name!r} compares with images; a metric between two captions is needed"
        )
    both = ReadingPair(before, after, words, similarity)
    return {name: MeasureValues(tuple(one.values(both)), one.ratio) for name, one in MEASURES.items()}


def repetition(caption: str) -> float:
    """max over n = 2, 3, 4 of 1 - distinct n-grams / n-grams; 0 for captions of fewer than three words."""
    words = words_of(caption)
    shares = [0.0]
    for n in (2, 3, 4):
        grams = [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]
        if grams:
            shares.append(1 - len(set(grams)) / len(grams))
    return max(shares)


def rouge_l(caption: str, reference: str) -> float:
    """ROUGE-L F1 = 2 LCS / (words + words), as `metric("rouge-l")` has it, without a library; 0 for empty captions."""
    ours, theirs = words_of(caption), words_of(reference)
    longest = [0] * (len(theirs) + 1)  # of the longest common subsequences with each beginning of the reference
    for word in ours:
        diagonal = 0
        for n, other in enumerate(theirs, 1):
            diagonal, longest[n] = longest[n], diagonal + 1 if word == other else max(longest[n], longest[n - 1])
    total = len(ours) + len(theirs)
    return 2 * longest[-1] / total if total else 0.0


def _replaced(pairs: Iterable[tuple[str, str]], words: Wording) -> list[float]:
    return [float(words.replaced(after)) for _, after in pairs]


def _success(both: ReadingPair) -> list[float]:
    return _replaced(both.named(both.before.edited, both.after.edited), both.words)


def _generality(both: ReadingPair) -> list[float]:
    return _replaced(both.held_out, both.words)


def _prompts(both: ReadingPair) -> list[float]:
    return [
        value
        for prompt, before in both.before.prompted.items()
        for value in _replaced(both.named(before, both.after.prompted[prompt]), both.words)
    ]


def _gone(both: ReadingPair) -> list[float]:
    return [float(both.words.gone(after)) for _, after in both.held_out]


def _portability(both: ReadingPair) -> list[float]:
    named = [(both.words.others_in(before), both.words.others_in(after)) for before, after in both.held_out]
    return [len(then & now) / len(then) for then, now in named if then]


def _rest(both: ReadingPair) -> list[float]:
    if both.words.target is None:  # nothing says how the sentence would go without it
        return []
    return [float(both.words.exchanged(before).split() == after.split()) for before, after in both.held_out]


def _similarity(both: ReadingPair) -> list[float]:
    pairs = both.others
    if both.similarity is None or not pairs:
        return [rouge_l(after, before) for before, after in pairs]
    return both.similarity.score([a for _, a in pairs], [b for b, _ in pairs]).tolist()


def _text_perplexity(both: ReadingPair) -> list[float]:
    pairs = zip(both.before.texts, both.after.texts, strict=True)
    return [float(np.mean(after.nll) - np.mean(before.nll)) for before, after in pairs]


def _text_agreement(both: ReadingPair) -> list[float]:
    pairs = zip(both.before.texts, both.after.texts, strict=True)
    return [float(np.mean(np.equal(before.best, after.best))) for before, after in pairs]


def _perplexity(both: ReadingPair) -> list[float]:
    pairs = zip(both.before.nll, both.after.nll, strict=True)
    return [after - before for before, after in pairs if before is not None and after is not None]


#: name -> measure, in the order of the tables.
MEASURES: Mapping[str, Measure] = {
    "success": Measure(
        "success",
        "of pictures that the edit was made with, captions that now name the new word (if any) and not the old one",
        _success,
    ),
    "generality": Measure("generality", "the same of held-out pictures", _generality),
    "prompts": Measure(
        "generality, other prompts", "the same of held-out pictures, with other beginnings of the answer", _prompts
    ),
    "gone": Measure(
        "source gone", "of held-out pictures, captions that say something and no longer name the old word", _gone
    ),
    "locality": Measure(
        "locality, same caption",
        "of other pictures, captions that are word for word as before",
        lambda both: [float(b == a) for b, a in both.others],
    ),
    "similarity": Measure(
        "locality, similarity",
        "of other pictures, how alike captions are to those before (ROUGE-L or BERTScore)",
        _similarity,
    ),
    "text_perplexity": Measure(
        "text: perplexity ratio",
        "how much less likely texts without a picture became; 1 is unchanged",
        _text_perplexity,
        ratio=True,
    ),
    "text_agreement": Measure(
        "text: same next token", "in those texts, places with the same most probable token", _text_agreement
    ),
    "portability": Measure(
        "portability, others named", "of held-out pictures, what else a caption named and still names", _portability
    ),
    "rest": Measure(
        "portability, rest the same", "of held-out pictures, captions that differ by the exchanged word alone", _rest
    ),
    "repetition": Measure(
        "repetition",
        "of held-out captions, how much is said twice; 0 is nothing",
        lambda both: [repetition(text) for text in both.after.held_out],
    ),
    "repetition_before": Measure(
        "repetition, unedited", "the same before the edit", lambda both: [repetition(t) for t in both.before.held_out]
    ),
    "perplexity": Measure(
        "own perplexity ratio",
        "how much less likely held-out captions are, each to the model that wrote it, edited or not; 1 is unchanged",
        _perplexity,
        ratio=True,
    ),
}

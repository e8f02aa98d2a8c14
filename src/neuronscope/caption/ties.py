"""Captions that hang on less than rounding are decided by the plain path, one row at a time.

Rows of a batch, and rows that go on from kept states, round differently from a row alone. That turns a token only where
the best two logits of a step are closer than rounding. How close they came is kept for every row; a row that came
closer than `SAFETY` times the largest difference that was measured on this model is written again, alone, from the
prompt on, up to its last such step: where it says the same so far, no later step can turn. What comes of that is what
the specification says, and another measurement. So captions are those of the plain path with a batch size of 1, however
they are asked for.

In 16 bits logits themselves are near ties, and nothing is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from weakref import WeakKeyDictionary

from jaxtyping import Float, Int
from torch import Tensor

from ..models.loaded import LoadedModel
from ..models.rounding import allowed, coarse

#: A row is decided alone up to so many times the largest difference that was seen.
SAFETY = 16.0
#: What is within rounding before anything was measured on a model, and whatever was measured; of the logits' spread.
_FIRST, _LEAST = 1e-3, 1e-5
#: The spread of a row's logits is that of so many of them.
_ENOUGH = 4096


@dataclass(frozen=True)
class Trail:
    """What a caption was chosen by.

    Attributes:
        best, second: token ids of the largest two logits, by step.
        gaps: how far they were apart, over the spread of the step's logits.
    """

    best: tuple[int, ...] = ()
    second: tuple[int, ...] = ()
    gaps: tuple[float, ...] = ()

    @property
    def closest(self) -> float:
        """The smallest gap; infinite where nothing was chosen."""
        return min(self.gaps, default=float("inf"))

    def doubtful(self, bound: float) -> int:
        """How many steps there are up to the last whose gap is within a bound; 0 for none."""
        return max((step + 1 for step, gap in enumerate(self.gaps) if gap <= bound), default=0)

    def cut(self, steps: int) -> Trail:
        """The first steps."""
        return Trail(self.best[:steps], self.second[:steps], self.gaps[:steps])

    def __add__(self, other: Trail) -> Trail:
        return Trail(self.best + other.best, self.second + other.second, self.gaps + other.gaps)

    def apart(self, other: Trail) -> float:
        """Largest difference of gaps between two ways to write one caption, as far as they say the same.

        A step at which they fall apart counts where both hesitated between the same two tokens; -1 where no step can be
        compared.
        """
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.best, other.best, strict=False)))
        steps = range(min(same + 1, len(self.best), len(other.best)))
        found = [self._difference(other, step) for step in steps]
        return max((value for value in found if value < float("inf")), default=-1.0)

    def _difference(self, other: Trail, step: int) -> float:
        ours, theirs = (self.best[step], self.second[step]), (other.best[step], other.second[step])
        if ours == theirs:
            difference = abs(self.gaps[step] - other.gaps[step])
        elif ours == theirs[::-1]:
            difference = self.gaps[step] + other.gaps[step]
        else:
            return float("inf")
        return difference if difference == difference else float("inf")


def chosen(
    logits: Float[Tensor, "*rows vocabulary"],
) -> tuple[Int[Tensor, "*rows two"], Float[Tensor, "*rows two"], Float[Tensor, "*rows"]]:
    """The largest two logits of each row: ids, values, and how far they are apart over the spread of the row.

    NaN is its own largest. The gap is infinite where all but one token are forbidden.
    """
    values, ids = logits.topk(2, -1)
    some = logits[..., :: max(1, logits.shape[-1] // _ENOUGH)].float()
    free = allowed(some)
    count = free.sum(-1).clamp_min(2)
    centred = (some - (some.where(free, 0).sum(-1) / count)[..., None]).where(free, 0)
    spread = (centred.square().sum(-1) / count).sqrt().clamp_min(1e-12)
    values = values.float()
    return ids, values, (values[..., 0] - values[..., 1]) / spread


@dataclass
class NearTies:
    """Captions of a model that were written in batches or from kept states so far, and what became of near ties.

    Attributes:
        written: how many captions.
        alone: how many of them came so close to a tie that they were written again, one at a time.
        rounding: the largest difference of gaps that was seen between two ways, over the logits' spread; None until a
            row was written both ways.
    """

    written: int = 0
    alone: int = 0
    rounding: float | None = None

    @property
    def share(self) -> float:
        """The share of captions that were written again; 0 where none was written."""
        return self.alone / self.written if self.written else 0.0

    @property
    def bound(self) -> float:
        """Gaps up to this one are decided again."""
        return _FIRST if self.rounding is None else max(_LEAST, SAFETY * self.rounding)

    def note(self, apart: float) -> None:
        """A difference that was seen; negative ones say nothing."""
        if apart >= 0:
            self.rounding = max(apart, self.rounding or 0.0)


_KNOWN: WeakKeyDictionary[LoadedModel, NearTies] = WeakKeyDictionary()


def near_ties(vlm: LoadedModel) -> NearTies:
    """What is known of near ties of a model, for as long as it is in memory."""
    return _KNOWN.setdefault(vlm, NearTies())


def settled(
    vlm: LoadedModel,
    ids: Sequence[list[int]],
    trails: Sequence[Trail],
    alone: Callable[[int, tuple[int, ...]], tuple[list[int], Trail]],
) -> list[list[int]]:
    """Token ids of each row, those of rows near a tie as the plain path writes them.

    Args:
        vlm: the model.
        ids: [rows] lists of new token ids.
        trails: [rows] what they were chosen by.
        alone: writes a row the plain way, one at a time; where it begins with the tokens given it may end there.
    """
    result, known = list(ids), near_ties(vlm)
    known.written += len(result)
    if coarse(vlm):
        return result
    for row in sorted(range(len(result)), key=lambda row: trails[row].closest):  # each may widen what is near
        if trails[row].closest > known.bound:
            break
        result[row] = _decided(row, ids[row], trails[row], alone, known)
        known.alone += 1
    return result


def _decided(
    row: int,
    ids: list[int],
    trail: Trail,
    alone: Callable[[int, tuple[int, ...]], tuple[list[int], Trail]],
    known: NearTies,
) -> list[int]:
    """The token ids of one row: its own where the plain path says the same as long as they hang on rounding."""
    same = 0
    while (doubtful := trail.doubtful(known.bound)) > same:  # what is seen may widen what is near
        enough = tuple(ids[:doubtful]) if doubtful <= len(ids) else ()  # else its end hangs on rounding
        written, plain = alone(row, enough)
        known.note(trail.apart(plain))
        if not enough or tuple(written[:doubtful]) != enough:
            return written
        same = doubtful
    return ids

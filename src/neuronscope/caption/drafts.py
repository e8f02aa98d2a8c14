"""How far the clean caption is read ahead: as far as it pays, judged by how far it has been right so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Weight of what was seen before, whenever something new is noted by the batch.
_FADING = 0.9
#: Rows to be seen at full length before anything is judged.
_ENOUGH = 16


@dataclass
class Drafts:
    """Counts of draft tokens that were right and wrong, by their place in the caption.

    With h_j the share of rows whose token j was wrong among those whose tokens before j were right, token j of a draft
    is right with s_j = prod_(i <= j) (1 - h_i), and reading n tokens ahead saves sum_(j < n) s_j steps of one row for
    the price of n * price.

    Attributes:
        tried, wrong: by place; fading sums over rows.
        rows: how many rows were seen.
    """

    tried: list[float] = field(default_factory=list[float])
    wrong: list[float] = field(default_factory=list[float])
    rows: int = 0

    def note(self, right: Sequence[int], ahead: Sequence[int]) -> None:
        """How many tokens were right, and how many were compared, in each row of a batch."""
        self.rows += len(right)
        longest = max(ahead, default=0)
        self.tried = [_FADING * n for n in self.tried] + [0.0] * (longest - len(self.tried))
        self.wrong = [_FADING * n for n in self.wrong] + [0.0] * (longest - len(self.wrong))
        for same, all_ in zip(right, ahead, strict=True):
            for place in range(min(same + 1, all_)):
                self.tried[place] += 1
            if same < all_:
                self.wrong[same] += 1

    def length(self, longest: int, price: float) -> int:
        """How many tokens to read ahead, at most `longest`; a token costs `price` steps of a row."""
        if self.rows < _ENOUGH:
            return longest
        best, best_gain, gain, right = 0, 0.0, 0.0, 1.0
        for place in range(longest):
            if place < len(self.tried) and self.tried[place] > 0:
                right *= 1 - self.wrong[place] / self.tried[place]
            gain += right - price
            if gain > best_gain:
                best, best_gain = place + 1, gain
        return best

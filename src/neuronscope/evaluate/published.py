"""What Sato & Takagi report (arXiv 2503.22941): Tables II and III, to set one's own numbers beside (METHODS d).

S_mean is copied, not computed, so that the copy can be checked: it is (S_se + S_re) / 2 to rounding in all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .aggregate import j_of

#: The methods of both tables, in their order.
METHODS = ("schwettmann", "pan", "two-stage")


@dataclass(frozen=True)
class PublishedScores:
    """What one method scores in one row of Table II."""

    s_se: float
    s_re: float
    s_mean: float

    @property
    def j(self) -> float:
        """S_se + S_re - 1, which the paper does not report."""
        return j_of(self.s_se, self.s_re)


@dataclass(frozen=True)
class Similarity:
    """What one method scores in Table III: its captions under noise against captions of the edited images."""

    bleu: float
    rouge_1: float
    rouge_l: float
    bertscore: float


def _row(*numbers: float) -> Mapping[str, PublishedScores]:
    """Nine numbers in the order in which the table prints them: S_se, S_re, S_mean of each method in turn."""
    return {name: PublishedScores(*numbers[i::3]) for i, name in enumerate(METHODS)}


#: (concept, noise level) -> method -> scores.
TABLE_II: Mapping[tuple[str, int], Mapping[str, PublishedScores]] = {
    ("bed", 40): _row(0.4890, 0.0110, 0.7447, 0.7723, 0.8477, 0.8320, 0.6306, 0.4294, 0.7883),
    ("bed", 80): _row(0.1667, 0.0000, 0.9557, 0.5310, 0.8227, 0.7647, 0.3488, 0.4113, 0.8602),
    ("bed", 120): _row(0.2333, 0.0000, 0.9667, 0.3370, 0.7963, 0.6830, 0.2852, 0.3982, 0.8249),
    ("bear", 40): _row(0.4887, 0.0000, 0.1110, 0.3523, 0.8083, 0.7723, 0.4205, 0.4042, 0.4416),
    ("bear", 80): _row(0.7553, 0.1000, 0.5443, 0.0087, 0.7510, 0.6767, 0.3820, 0.4255, 0.6105),
    ("bear", 120): _row(0.9223, 0.2113, 0.7887, 0.0000, 0.7170, 0.6077, 0.4612, 0.4642, 0.6982),
    ("banana", 40): _row(0.0000, 0.2220, 0.3777, 0.7637, 0.8413, 0.8437, 0.3819, 0.5316, 0.6107),
    ("banana", 80): _row(0.3667, 0.2890, 0.6113, 0.4953, 0.8337, 0.8143, 0.4310, 0.5614, 0.7128),
    ("banana", 120): _row(0.3890, 0.3110, 0.7777, 0.3947, 0.8333, 0.7947, 0.3919, 0.5722, 0.7862),
}

#: The last row of Table II: mean over all 30 concepts and the three levels.
TABLE_II_MEAN: Mapping[str, PublishedScores] = _row(
    0.7459, 0.3723, 0.7714, 0.3742, 0.7350, 0.6957, 0.5600, 0.5537, 0.7335
)

#: Noise levels of Table II, draws per level and images per concept behind every number.
LEVELS, DRAWS, IMAGES_PER_CONCEPT = (40, 80, 120), 10, 3

TABLE_III: Mapping[str, Similarity] = {
    "schwettmann": Similarity(0.3024, 0.3910, 0.3529, 0.8727),
    "pan": Similarity(0.4615, 0.5034, 0.4392, 0.8971),
    "two-stage": Similarity(0.4607, 0.5032, 0.4374, 0.8971),
}

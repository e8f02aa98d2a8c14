"""What an index is asked for: pictures, and what is kept of every neuron."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import MISSING, PICTURES, Asking, Loading, Reading, option
from ...types import SITES, one_of


@dataclass(frozen=True, kw_only=True)
class IndexOf(Loading, Reading, Asking):
    """Pictures, the model, and what it is asked about each of them."""

    sources: tuple[str, ...] = option(MISSING, help=PICTURES, repeated=True, metavar="FOLDER")
    images: Path | None = option(None, "--images", help="Folder that tables' file names are in.")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """What is kept of every neuron.

    Attributes:
        top: pictures at both ends of every neuron.
        quantile: of a neuron's activations at image tokens; from there on it counts as active.
        site: where neurons are read.
        batch: pictures in one forward pass.
        part: pictures in one unit of work; what a run that is cut off loses at most.
    """

    top: int = option(8, "--top", least=1, most=100, help="Pictures kept at both ends of every neuron.")
    quantile: float = option(
        0.99, "--quantile", help="Of a neuron's own activations: from there on it is called active."
    )
    site: str = option("neuron", "--site", help="neuron, act, or pre.")
    batch: int = option(8, "--batch-size", least=1, help="Pictures in one forward pass.")
    part: int = 128

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("site", self.site, SITES)
        if not 0.5 <= self.quantile < 1:
            raise InvalidOption(f"quantile={self.quantile} is not from 0.5 up to, but not including, 1")


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What stands on pages of neurons.

    Attributes:
        sets: neurons.json files; a page says to which of them its neuron belongs.
        export: a JSON Lines file with everything of these pages.
        seed: of the random neurons.
    """

    HEADING = "Pages"

    sets: tuple[Path, ...] = option(
        (), "--sets", help="A neurons.json; pages say whether their neuron is in it. May be repeated.", repeated=True
    )
    export: Path | None = option(None, "--export", help="JSON Lines file of the same neurons, for other viewers.")
    seed: int = option(0, "--seed", least=0, help="Of the random neurons that stand beside.")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class SitePages(Pages):
    """Which neurons get a page besides the members of the sets.

    Attributes:
        most: how many, those whose top pictures stand out most.
    """

    most: int = option(
        24, "--pages", least=0, most=10000, help="Neurons with a page beside those of --sets: what stands out most."
    )

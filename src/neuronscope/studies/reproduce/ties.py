"""How many captions of a run hung on less than rounding, and were decided alone (caption/ties.py).

Which these are depends on how captions were batched, and so on who did which units: it is counted by process, beside
the parts (run/tallies.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...caption import near_ties
from ...models.loaded import LoadedModel
from ...models.rounding import coarse
from ...run.directory import Run
from ...run.tallies import new_process, read_tallies, write_tally


class Counting:
    """Counts near ties of a model from now on."""

    def __init__(self, vlm: LoadedModel) -> None:
        self._vlm, known = vlm, near_ties(vlm)
        self._before = known.written, known.alone
        self._process = new_process()

    def keep(self, run: Run) -> None:
        """Write what this process counted so far into its run."""
        write_tally(run.folder, self._process, self.tally())

    def tally(self) -> dict[str, float]:
        """Captions; how many of them were looked at for near ties; decided alone; the rounding, where it was seen."""
        known = near_ties(self._vlm)
        written, alone = known.written - self._before[0], known.alone - self._before[1]
        if not written:
            return {}
        found: dict[str, float] = {"captions": written, "checked": 0 if coarse(self._vlm) else written, "alone": alone}
        return found if known.rounding is None else {**found, "rounding": known.rounding}


@dataclass(frozen=True)
class Ties:
    """Near ties of a run, over all processes.

    Attributes:
        captions: that were written, those of samples and of what was rejected among them.
        checked: of these, looked at for near ties; in 16 bits none is.
        alone: of these, decided again one at a time.
        rounding: largest difference between two ways to write one caption, over the logits' spread; None where no
            caption was written both ways.
    """

    captions: int = 0
    checked: int = 0
    alone: int = 0
    rounding: float | None = None

    @classmethod
    def of(cls, tallies: Sequence[Mapping[str, float]]) -> Ties:
        """The sum of what processes counted."""
        counts = {name: int(sum(one.get(name, 0) for one in tallies)) for name in ("captions", "checked", "alone")}
        return cls(**counts, rounding=max((one["rounding"] for one in tallies if "rounding" in one), default=None))

    @classmethod
    def read(cls, folder: Path) -> Ties:
        """Of a run directory. Raises RunMismatch for damaged tallies."""
        return cls.of(read_tallies(folder))

    @property
    def sentence(self) -> str:
        """For a person; empty where nothing was counted."""
        if not self.captions:
            return ""
        if not self.checked:
            return (
                f"{self.captions:,} captions were written in 16 bits, where many logits are equal: "
                "none was looked at for near ties."
            )
        seen = "" if self.rounding is None else f" (rounding seen: {self.rounding:.1e} of the logits' spread)"
        return (
            f"Of {self.checked:,} captions that were written in batches, {self.alone:,} "
            f"({self.alone / self.checked:.2%}) hung on less than rounding and were decided again, one at a time{seen}."
        )

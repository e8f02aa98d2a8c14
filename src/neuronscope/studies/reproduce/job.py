"""What a process has to know to take part in a run: names of data and model, and neither of them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import ANNOTATED, MISSING, Asking, Loading, Reading, Scorers, option, words
from ...types import one_of
from .settings import ASKED, BOUNDS, PRESETS, Experiment

if TYPE_CHECKING:
    from ...loading import VLM
    from ...samples import CocoFolder

#: In a run directory: the command that goes on with it, for a shell in which DATA and RUN name the folders.
AGAIN = "again.sh"


@dataclass(frozen=True)
class ReproductionJob(Loading, Reading):
    """What a process has to know to take part; small enough to be sent, and the same on every machine.

    Attributes:
        experiment: the settings.
        data, split: the annotated pictures; allow_outside: whether they may lie elsewhere.
        model, device, dtype, device_map: how to load the model; names and paths, as `neuronscope.load` takes them.
        place: where relative paths begin, on machines that have that folder.
    """

    experiment: Experiment
    data: Path = option(MISSING, "--data", help=ANNOTATED, optional=True)
    device_map: str | None = option(None, "--device-map", help="auto, balanced ...: a model larger than one device.")
    place: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        from ...loading.load import DTYPES

        check_fields(self)
        one_of("dtype", self.dtype, DTYPES)
        if self.device is not None and self.device_map is not None:
            raise InvalidOption(f"device={self.device!r} and device_map={self.device_map!r}: give one of them")

    def command(self) -> str:
        """One line for a shell that makes the run again; folders are the reader's own, DATA and RUN."""
        plan = self.experiment
        asked = [
            *words(replace(self, data=Path("DATA"))),
            *words(plan, PRESETS[plan.preset]),
            *words(plan.limits, BOUNDS[plan.preset]),
            *words(Asking.of(plan.decoding), ASKED[plan.preset]),
            *words(Scorers.of(plan.metrics)),
        ]
        return shlex.join(["neuronscope", "reproduce", *asked, "--out", "RUN"])

    def source(self) -> CocoFolder:
        """The data."""
        from ...samples import annotated

        return annotated(self.data, split=self.split, allow_outside=self.allow_outside)

    def require_candidates(self) -> None:
        """Raise TooFewSamples where the data cannot be enough, found without a model and before anything is started."""
        from .dataset import require_candidates

        plan = self.experiment
        if not plan.allow_missing:
            require_candidates(self.source(), plan.concepts, plan.images, seed=plan.seed)

    def load(self) -> VLM:
        """The model."""
        from ...loading import load

        return load(self.model, dtype=self.dtype, device=self.device, device_map=self.device_map, **self.further)

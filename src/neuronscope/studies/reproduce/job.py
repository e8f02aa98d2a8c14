"""What a process has to know to take part in a run: names of data and model, and neither of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...errors import InvalidOption
from ...loading import VLM, load
from ...loading.load import DTYPES
from ...samples import CocoFolder
from ...types import one_of
from .settings import Experiment


@dataclass(frozen=True)
class Job:
    """What a process has to know to take part; small enough to be sent, and the same on every machine.

    Attributes:
        experiment: the settings.
        data, split: the COCO folder.
        model, device, dtype, device_map: how to load the model; names and paths, as `neuronscope.load` takes them.
        place: where relative paths begin, on machines that have that folder.
    """

    experiment: Experiment
    data: Path
    split: str | None = None
    model: str = "demo"
    device: str | None = None
    dtype: str = "auto"
    device_map: str | None = None
    place: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        if self.device is not None and self.device_map is not None:
            raise InvalidOption(f"device={self.device!r} and device_map={self.device_map!r}: give one of them")

    def source(self) -> CocoFolder:
        """The data."""
        return CocoFolder.open(self.data, self.split)

    def load(self) -> VLM:
        """The model."""
        return load(self.model, dtype=self.dtype, device=self.device, device_map=self.device_map)

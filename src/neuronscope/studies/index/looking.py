"""The pass itself, as a resumable run: parts of so many pictures, by one process or shared among workers.

    RUN/parts/pictures     one row for every picture of a part: its image tokens, or why it was left out
    RUN/parts/layers       one row for every layer of a part: what is kept of its neurons (index/summary.py), packed

A part is made of the same pictures, in the same batches, whoever makes it and whenever: so its bytes are the same, too.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from ...caption.memory import give_back
from ...cluster.task import Rows
from ...cluster.units import Name, Unit
from ...cures import memory_cure, out_of_memory
from ...errors import ImageTokenMismatch, InvalidSample, NotEnoughMemory
from ...index.packed import packed
from ...index.summary import Reducer, Summary
from ...intervene.capture import watch
from ...loading import VLM, load
from ...models.decoding import Decoding
from ...models.inputs import Inputs, Row
from ...options import Loading
from ...run.directory import Run
from ...samples.picture_files import Picture, Pictures, digest
from ...types import Json, Site
from .settings import IndexPlan

#: Kind -> columns.
SCHEMAS: Mapping[str, pa.Schema] = {
    "pictures": pa.schema({"name": pa.string(), "sha256": pa.string(), "tokens": pa.int64(), "reason": pa.string()}),
    "layers": pa.schema({"layer": pa.int64(), "arrays": pa.binary()}),
}


class Looking:
    """Looks at the pictures of parts; a :class:`~neuronscope.cluster.task.Work`.

    Args:
        vlm: the model.
        pictures: from :func:`neuronscope.samples.picture_files.gather`; they need not have been looked at.
        plan: what is kept.
        decoding: what the model is asked.
        run: the directory.
        elsewhere: the pictures were listed by another process, maybe on another machine: each is proved to be the same.
    """

    def __init__(
        self, vlm: VLM, pictures: Pictures, plan: IndexPlan, decoding: Decoding, run: Run, *, elsewhere: bool = False
    ) -> None:
        self.vlm, self.plan, self.decoding, self.run = vlm, plan, decoding, run
        self._batch = plan.batch  # halved where memory fails
        self._elsewhere = elsewhere
        starts = range(0, len(pictures.items), plan.part)
        parts = [pictures.items[start : start + plan.part] for start in starts]
        self._parts = {unit.name: (unit, part) for part in parts for unit in [unit_of(part)]}

    @property
    def units(self) -> list[Unit]:
        """One for each part, in the order of the pictures."""
        return [unit for unit, _ in self._parts.values()]

    def tally(self) -> Mapping[str, float]:
        """Nothing is counted."""
        return {}

    def rows(self, unit: Unit) -> Mapping[str, Rows]:
        """The rows of a part's pictures and layers. Raises InvalidSample for a picture that is another one here."""
        part = self._parts[unit.name][1]
        for picture in part if self._elsewhere else ():
            _prove(picture)
        while True:
            try:
                listed, summaries = self._reduced(part)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self._batch == 1:
                    raise NotEnoughMemory(memory_cure(error)) from error
            else:
                break
            # Outside the except clause, since the error holds tensors; anew, since sums have some of the pictures.
            self._batch = (self._batch + 1) // 2
            give_back()
        layers = [{"layer": layer, "arrays": packed(one.narrow().items())} for layer, one in summaries.items()]
        return {"layers": layers, "pictures": listed}

    def _reduced(self, part: Sequence[Picture]) -> tuple[list[dict[str, Any]], dict[int, Summary]]:
        """A row for every picture of a part, and the summaries of its layers; of none where no picture can be used."""
        reducer = Reducer(len(part), self.plan.top)
        listed: list[dict[str, Any]] = []
        seen = 0
        for start in range(0, len(part), self._batch):
            rows: list[Row] = []
            for picture in part[start : start + self._batch]:
                reason, tokens = "", 0
                try:
                    row = self.vlm.prepare([picture.path], self.decoding).rows[0]
                    rows.append(row)
                    tokens = row.image.count
                except (InvalidSample, ImageTokenMismatch) as error:
                    reason = str(error)
                listed.append({"name": picture.name, "sha256": picture.digest, "tokens": tokens, "reason": reason})
            self._look(rows, reducer, seen)
            seen += len(rows)
        return listed, reducer.finish(seen) if seen else {}

    def _look(self, rows: Sequence[Row], reducer: Reducer, first: int) -> None:
        """Forward passes of some pictures, which are numbered from `first` on."""
        site: Site = cast("Site", self.plan.site)
        for group in self.vlm.batches(rows, self._batch):

            def see(row: int, layer: int, values: Any, group: Sequence[int] = group) -> None:
                reducer.see(first + group[row], layer, values)

            inputs = Inputs(tuple(rows[k] for k in group))
            layers, span = self.vlm.structure.studied, self.vlm.picture_span
            watch(self.vlm, inputs, see, layers=layers, span=span, site=site)


@dataclass(frozen=True)
class Indexing:
    """The pass over the pictures as a :class:`~neuronscope.cluster.task.Task`.

    Attributes:
        model: which, and how it is loaded.
        pictures: what is looked at: paths that have to be there on every machine, with the same content.
        plan: what is kept.
        decoding: what the model is asked.
        place: where relative paths begin.
    """

    model: Loading
    pictures: Pictures
    plan: IndexPlan
    decoding: Decoding
    place: Path = field(default_factory=Path.cwd)
    reads: tuple[Name, ...] = ()

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Kind -> columns."""
        return SCHEMAS

    def loaded(self) -> Seeing:
        """Load the model. Raises what loading raises."""
        return Seeing(self, load(self.model.model, **self.model.loading))


@dataclass(frozen=True)
class Seeing:
    """The pass with its model."""

    task: Indexing
    vlm: VLM

    @property
    def settings(self) -> Mapping[str, Json]:
        """Of the run."""
        return run_settings(self.vlm, self.task.plan, self.task.decoding)

    def work(self, run: Run) -> Looking:
        """What looks at the pictures."""
        task = self.task
        return Looking(self.vlm, task.pictures, task.plan, task.decoding, run, elsewhere=True)


def run_settings(vlm: VLM, plan: IndexPlan, decoding: Decoding) -> dict[str, Json]:
    """What decides what the parts hold; the quantile only says how they are read."""
    return {
        "job": "index",
        "model": vlm.record(),
        "sent": vlm.sent(decoding),
        "kept": plan.top,
        "site": plan.site,
        "batch": plan.batch,
        "part": plan.part,
    }


def unit_of(part: Sequence[Picture]) -> Unit:
    """What looks at some pictures: one part of their names, and one of what is kept of the layers."""
    listed = json.dumps([[picture.name, picture.digest] for picture in part])
    key = {"first": part[0].name, "pictures": hashlib.sha256(listed.encode()).hexdigest()[:24]}
    label = f"looking at {part[0].name} and {len(part) - 1} more" if len(part) > 1 else part[0].name
    return Unit("pictures", key, also=("layers",), label=label)


def _prove(picture: Picture) -> None:
    """Raise InvalidSample where a file is not there, or another one, on the machine at hand."""
    try:
        same = digest(picture.path) == picture.digest
    except OSError as error:
        raise InvalidSample(f"{picture.path} cannot be read on {platform.node()}: {error.strerror or error}") from error
    if not same:
        raise InvalidSample(f"{picture.path} is another file on {platform.node()} than where the index was started")

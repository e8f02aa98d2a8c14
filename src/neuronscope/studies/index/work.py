"""The pass itself, as a resumable run: parts of so many pictures, joined in the order of the pictures at the end.

    RUN/parts/pictures     one row for every picture of a part: its image tokens, or why it was left out
    RUN/parts/layers       one row for every layer of a part: what is kept of its neurons (index/summary.py), packed

A part is made of the same pictures, in the same batches, whenever it is made: so its bytes are the same, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from ...caption.memory import give_back
from ...cures import memory_cure, out_of_memory
from ...errors import ImageTokenMismatch, InvalidSample, NotEnoughMemory
from ...held import in_turn
from ...index.file import NAME, NeuronIndex, save
from ...index.packed import packed
from ...index.summary import ARRAYS, Reducer, Summary
from ...intervene.capture import watch
from ...loading import VLM
from ...models.decoding import Decoding
from ...models.inputs import Inputs, Row
from ...models.usable import require_prompt
from ...options import Asking
from ...run.directory import Run
from ...run.understood import understood
from ...samples.picture_files import Picture, Pictures
from ...types import Json, Site
from .settings import IndexPlan

_SCHEMAS: Mapping[str, pa.Schema] = {
    "pictures": pa.schema({"name": pa.string(), "sha256": pa.string(), "tokens": pa.int64(), "reason": pa.string()}),
    "layers": pa.schema({"layer": pa.int64(), "arrays": pa.binary()}),
}
#: Where the run is, beside what is made of it.
RUN = "run"


class IndexRun:
    """An index in the making.

    Args:
        vlm: the model.
        pictures: from :func:`neuronscope.samples.picture_files.gather`; they need not have been looked at.
        plan: what is kept.
        decoding: what the model is asked.
        folder: where the index, and the run in it, will be.
        loaded: what the command line called the model.
        step: told what is being done, once for every part.

    Raises RunMismatch naming what differs from a run that is there, and InvalidOption, with nothing written, for what
    the model cannot be asked; NoImagePositions where the decoder meets the image at no position.
    """

    def __init__(
        self,
        vlm: VLM,
        pictures: Pictures,
        plan: IndexPlan,
        decoding: Decoding,
        folder: Path,
        *,
        loaded: str,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.vlm = vlm
        self.pictures = pictures
        self.plan = plan
        self.decoding = decoding
        self.folder = folder
        self.loaded = loaded
        self.step = step
        self._batch = plan.batch  # halved where memory fails
        vlm.require_image_positions()
        require_prompt(vlm, decoding)
        self.run = Run.open(folder / RUN, self._settings(), schemas=_SCHEMAS)
        starts = range(0, len(pictures.items), plan.part)
        self._parts = [pictures.items[start : start + plan.part] for start in starts]

    def left(self) -> int:
        """How many parts are not done."""
        lacking = [self.run.missing(kind, self._keys) for kind in ("pictures", "layers")]
        return len({_name(key) for keys in lacking for key in keys})

    @in_turn
    def work(self) -> None:
        """Do what is left. Several processes may do so at once."""
        by_key = {_name(self._key(part)): part for part in self._parts}
        for key in self.run.todo("pictures", self._keys):  # written after the layers
            self._do(by_key[_name(key)], key)
        for key in self.run.missing("layers", self._keys):  # damaged since
            self._do(by_key[_name(key)], key)

    def finish(self) -> NeuronIndex:
        """Join all parts into the index. Raises InvalidSample where no picture could be used."""
        shown: list[Json] = []
        refused = [{"where": one.where, "reason": one.reason} for one in self.pictures.refused]
        layers: dict[int, Summary] = {}
        paths = {(one.name, one.digest): one.path for one in self.pictures.items}
        root = Path(os.path.commonpath([one.path.parent for one in self.pictures.items]))
        for part in self._parts:
            key, before = self._key(part), len(shown)
            with understood(self.run, "pictures", key):
                for row in self.run.read("pictures", key).to_pylist():
                    path = paths[row["name"], row["sha256"]]
                    if row["reason"]:
                        refused.append({"where": str(path), "reason": row["reason"]})
                        continue
                    place = path.relative_to(root).as_posix()
                    named = {name: row[name] for name in ("name", "sha256", "tokens")}
                    shown.append({**named, "path": place})
            with understood(self.run, "layers", key):
                for layer, summary in self._read(key).items():
                    earlier = layers.get(layer)
                    layers[layer] = summary if earlier is None else earlier.joined(summary, before, self.plan.top)
        if not shown:
            raise InvalidSample(f"none of {len(self.pictures.items)} pictures can be used: {refused[-1]['reason']}")
        about: dict[str, Json] = {
            "model": cast("Json", self.vlm.identity()),
            "loaded": self.loaded,
            "site": self.plan.site,
            "span": self.vlm.picture_span,
            "asked": cast("Json", _asked(self.decoding)),
            "sent": self.vlm.sent(self.decoding),
            "widths": [width if layer in layers else 0 for layer, width in enumerate(self.vlm.widths)],
            "kept": min(self.plan.top, len(shown)),
            "quantile": self.plan.quantile,
            "folder": Path(os.path.relpath(root, self.folder.resolve())).as_posix(),
            "pictures": shown,
            "refused": cast("Json", refused),
        }
        save(self.folder / NAME, about, dict(sorted(layers.items())))
        return NeuronIndex.load(self.folder)

    def _settings(self) -> dict[str, Json]:
        """What decides what the parts hold; the quantile only says how they are read."""
        return {
            "job": "index",
            "model": self.vlm.record(),
            "sent": self.vlm.sent(self.decoding),
            "kept": self.plan.top,
            "site": self.plan.site,
            "batch": self.plan.batch,
            "part": self.plan.part,
        }

    def _key(self, part: Sequence[Picture]) -> dict[str, Any]:
        listed = json.dumps([[picture.name, picture.digest] for picture in part])
        return {"first": part[0].name, "pictures": hashlib.sha256(listed.encode()).hexdigest()[:24]}

    @property
    def _keys(self) -> list[dict[str, Any]]:
        return [self._key(part) for part in self._parts]

    def _do(self, part: Sequence[Picture], key: Mapping[str, Any]) -> None:
        self.step(f"looking at {part[0].name} and {len(part) - 1} more" if len(part) > 1 else part[0].name)
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
        layers = [{"layer": layer, "arrays": packed(one.arrays().items())} for layer, one in summaries.items()]
        self.run.write("layers", key, layers)
        self.run.write("pictures", key, listed)

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

    def _read(self, key: Mapping[str, Any]) -> dict[int, Summary]:
        """The summaries of a part, which may be of no picture."""
        found: dict[int, Summary] = {}
        for row in self.run.read("layers", key).to_pylist():
            with np.load(io.BytesIO(row["arrays"]), allow_pickle=False) as archive:
                found[row["layer"]] = Summary(**{name: archive[name] for name in ARRAYS})
        return found


def _name(key: Mapping[str, Any]) -> str:
    return str(key["pictures"])


def _asked(decoding: Decoding) -> dict[str, Any]:
    """The options of what was asked that are not as usual."""
    usual = Asking()
    return {name: value for name, value in vars(Asking.of(decoding)).items() if value != getattr(usual, name)}

"""An index in the making: the pass over the pictures (looking.py), and its parts joined in their order at the end."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...cluster.ray import Crew
from ...cluster.resources import Resources
from ...cluster.schedule import UnitsFailed
from ...cluster.task import each_done
from ...cluster.units import Unit
from ...errors import InvalidSample
from ...held import in_turn
from ...index.file import NAME, NeuronIndex, save
from ...index.summary import Summary
from ...loading import VLM
from ...models.decoding import Decoding
from ...models.usable import require_prompt
from ...options import Asking, Loading
from ...run.directory import Run
from ...run.understood import understood
from ...samples.picture_files import Pictures
from ...types import Json
from .looking import SCHEMAS, Indexing, Looking, run_settings
from .settings import IndexPlan

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
        vlm.require_image_positions()
        require_prompt(vlm, decoding)
        self.run = Run.open(folder / RUN, run_settings(vlm, plan, decoding), schemas=SCHEMAS)
        self._looking = Looking(vlm, pictures, plan, decoding, self.run)

    @property
    def units(self) -> list[Unit]:
        """A unit for each part, in the order of the pictures."""
        return self._looking.units

    def left(self) -> int:
        """How many parts are not done."""
        return sum(not unit.done(self.run) for unit in self.units)

    @in_turn
    def work(self) -> None:
        """Do what is left. Several processes may do so at once."""
        for _ in each_done(self._looking, self.units, self.step):
            pass

    def share(self, model: Loading, resources: Resources, say: Callable[[str], None] = lambda _: None) -> None:
        """Do what is left on a Ray cluster, whose workers load the model themselves.

        Raises UnitsFailed where parts could not be done, ClusterFailed and what loading raises.
        """
        task = Indexing(model, self.pictures, self.plan, self.decoding)
        with closing(Crew(task, self.run.folder, resources, say=say)) as crew:
            crew.start()
            failures = crew.work(self.units, self.step)
        if failures:
            raise UnitsFailed.of(failures, "no index is made")

    def finish(self) -> NeuronIndex:
        """Join all parts into the index. Raises InvalidSample where no picture could be used."""
        shown: list[Json] = []
        refused = [{"where": one.where, "reason": one.reason} for one in self.pictures.refused]
        layers: dict[int, Summary] = {}
        paths = {(one.name, one.digest): one.path for one in self.pictures.items}
        root = Path(os.path.commonpath([one.path.parent for one in self.pictures.items]))
        for unit in self.units:
            key, before = unit.key, len(shown)
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
                for layer, summary in self._read(unit).items():
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

    def _read(self, unit: Unit) -> dict[int, Summary]:
        """The summaries of a part, which may be of no picture."""
        found: dict[int, Summary] = {}
        for row in self.run.read("layers", unit.key).to_pylist():
            with np.load(io.BytesIO(row["arrays"]), allow_pickle=False) as archive:
                found[row["layer"]] = Summary.wide(archive)
        return found


def _asked(decoding: Decoding) -> dict[str, Any]:
    """The options of what was asked that are not as usual."""
    usual = Asking()
    return {name: value for name, value in vars(Asking.of(decoding)).items() if value != getattr(usual, name)}

"""The exact effects of one picture's neurons, as a resumable run: parts of so many neurons, alone or by workers.

    RUN/parts/effects    the effect of each neuron of a part

A part is the same neurons in the same batches whoever exchanges them: so its bytes are the same, too.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from PIL import Image

from ...cluster.ray import Crew
from ...cluster.resources import Resources
from ...cluster.schedule import Failure
from ...cluster.task import Rows, each_done
from ...cluster.units import Name, Unit
from ...files import write_text
from ...loading import VLM, load
from ...locate import Exchange
from ...locate.exchanged import ROWS
from ...locate.target import Word, concept_word
from ...locate.validity import Validity
from ...models.decoding import Decoding
from ...options import Loading
from ...run.directory import Run
from ...samples import Counterfactual
from ...samples.image import read_image
from ...types import Json

#: Neurons of one part, which is what a worker that dies loses: four forward passes.
PART = 4 * ROWS
#: Kind -> columns: the neuron on the flat axis, and its effect.
SCHEMAS: Mapping[str, pa.Schema] = {"effects": pa.schema({"flat": pa.int64(), "effect": pa.float64()})}
#: Where the run is, and all of it as one file, beside what is made of them.
RUN, EFFECTS = "run", "effects.json"

#: Neurons on the flat axis.
Chunk = tuple[int, ...]


@dataclass(frozen=True)
class TruthQuestion:
    """What decides an exact effect, but for the model; small enough to be sent.

    Attributes:
        original, edited: the pictures.
        word: whose score is read.
        caption: ids of what the model says of the original.
        change, measure: how neurons are exchanged, and what is read.
        decoding: what the model is asked.
    """

    original: Image.Image
    edited: Image.Image
    word: Word
    caption: tuple[int, ...]
    change: str
    measure: str
    decoding: Decoding

    @classmethod
    def of(
        cls, pair: Counterfactual, validity: Validity, *, change: str, measure: str, decoding: Decoding
    ) -> TruthQuestion:
        """The question about one pair."""
        pictures = read_image(pair.original), read_image(pair.edited)
        return cls(*pictures, concept_word(validity), tuple(validity.original.ids), change, measure, decoding)

    def settings(self, vlm: VLM) -> dict[str, Json]:
        """Of the run."""
        pictures: list[Json] = [hashlib.sha256(one.tobytes()).hexdigest() for one in (self.original, self.edited)]
        word: Any = asdict(self.word)
        return {
            "job": "truth",
            "model": vlm.record(),
            "pictures": pictures,
            "caption": list(self.caption),
            "word": word,
            "change": self.change,
            "measure": self.measure,
            "decoding": self.decoding.to_dict(),
        }

    def exchange(self, vlm: VLM) -> Exchange:
        """What exchanges neurons."""
        how: Any = {"change": self.change, "target": self.measure}
        return Exchange.of(vlm, self.original, self.edited, self.word, self.decoding, **how)


def chunks(flat: Int[np.ndarray, "n"], known: Container[int]) -> list[Chunk]:
    """Neurons in parts, without those that are known.

    A batch is run from the lowest layer of its neurons on, so parts hold neighbours: blocks of the list, each as long
    as all before it, are sorted and cut into parts. The parts of a block come in an order drawn by chance: at any time
    what is known is the beginning of the list and a part of the next block drawn by chance. Where a part ends hangs on
    the whole list alone, so that a run that is gone on with makes the same parts.
    """
    parts = (part for begin, end in _blocks(len(flat)) for part in _parts(np.sort(flat[begin:end]), begin))
    left = (tuple(one for one in part if one not in known) for part in parts)
    return [part for part in left if part]


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    begin, end = 0, PART
    while begin < count:
        yield begin, min(end, count)
        begin, end = end, 2 * end


def _parts(block: Int[np.ndarray, "n"], seed: int) -> list[Chunk]:
    """Of one block, which is sorted."""
    parts = [tuple(int(one) for one in block[at : at + PART]) for at in range(0, len(block), PART)]
    return [parts[number] for number in np.random.default_rng(seed).permutation(len(parts))]


def unit_of(chunk: Chunk) -> Unit:
    """The unit that exchanges some neurons."""
    digest = hashlib.sha256(json.dumps(chunk).encode()).hexdigest()[:24]
    return Unit("effects", {"first": chunk[0], "neurons": digest}, label=f"{len(chunk)} neurons from {chunk[0]} on")


class Exchanging:
    """Exchanges the neurons of parts; a :class:`~neuronscope.cluster.task.Work`."""

    def __init__(self, exchange: Exchange, parts: Sequence[Chunk], run: Run) -> None:
        self._exchange, self.run = exchange, run
        self._parts = {unit_of(part).name: part for part in parts}

    def tally(self) -> Mapping[str, float]:
        """Nothing is counted."""
        return {}

    def rows(self, unit: Unit) -> Mapping[str, Rows]:
        """The effects of a part's neurons."""
        some = self._parts[unit.name]
        places = np.arange(sum(self._exchange.vlm.widths))
        effects = self._exchange.effects([places == one for one in some])
        return {"effects": [{"flat": one, "effect": float(e)} for one, e in zip(some, effects, strict=True)]}


@dataclass(frozen=True)
class Exchanges:
    """The exchanges as a :class:`~neuronscope.cluster.task.Task`."""

    model: Loading
    question: TruthQuestion
    parts: tuple[Chunk, ...]
    place: Path = field(default_factory=Path.cwd)
    reads: tuple[Name, ...] = ()

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Kind -> columns."""
        return SCHEMAS

    def loaded(self) -> ReadyExchanges:
        """Load the model. Raises what loading raises."""
        return ReadyExchanges(self, load(self.model.model, **self.model.loading))


@dataclass(frozen=True)
class ReadyExchanges:
    """The exchanges with their model."""

    task: Exchanges
    vlm: VLM

    @property
    def settings(self) -> Mapping[str, Json]:
        """Of the run."""
        return self.task.question.settings(self.vlm)

    def work(self, run: Run) -> Exchanging:
        """What exchanges neurons."""
        return Exchanging(self.task.question.exchange(self.vlm), self.task.parts, run)


class Exact:
    """The exact effects of some neurons: those that a folder has already, and the others, exchanged here or by workers.

    Args:
        folder: of the result; the run is in it.
        vlm: the model.
        question: what decides the effects.
        exchange: exchanges neurons in this process.
        flat: [n] the neurons, on the flat axis, in the order in which they are asked.

    Raises RunMismatch where the folder holds effects of something else, naming what differs.
    """

    def __init__(
        self, folder: Path, vlm: VLM, question: TruthQuestion, exchange: Exchange, flat: Int[np.ndarray, "n"]
    ) -> None:
        self._folder, self._question, self._exchange, self._flat = folder, question, exchange, flat
        self.run = Run.open(folder / RUN, question.settings(vlm), schemas=SCHEMAS)
        self._known: dict[int, float] = {}
        self._seen: set[Path] = set()
        self._look()
        self._parts = tuple(chunks(flat, self._known))

    @property
    def left(self) -> list[Unit]:
        """The units that are not done."""
        return [unit for part in self._parts for unit in [unit_of(part)] if not unit.done(self.run)]

    def work(self, step: Callable[[str], None]) -> None:
        """Exchange the neurons that are left; several processes may do so at once. `step` is told after every part."""
        doing = Exchanging(self._exchange, self._parts, self.run)
        for unit in each_done(doing, self.left):
            step(str(unit))

    def share(
        self, model: Loading, resources: Resources, step: Callable[[str], None], say: Callable[[str], None]
    ) -> Sequence[Failure]:
        """The same on a Ray cluster, whose workers load the model themselves; parts that could not be done.

        Raises ClusterFailed, and what loading raises.
        """
        task = Exchanges(model, self._question, self._parts)
        with closing(Crew(task, self.run.folder, resources, say=say)) as crew:
            crew.start()
            return crew.work(self.left, step)

    def values(self) -> Float[np.ndarray, "n"]:
        """The effects, NaN where not known yet. What is known by now is written to effects.json, too."""
        self._look()
        some = sorted(self._known)
        held = {"key": self.run.settings, "flat": some, "values": [self._known[one] for one in some]}
        write_text(self._folder / EFFECTS, json.dumps(held))
        return np.array([self._known.get(int(one), np.nan) for one in self._flat])

    def _look(self) -> None:
        for rows in self.run.since("effects", self._seen):
            for row in rows.to_pylist():
                self._known.setdefault(row["flat"], row["effect"])

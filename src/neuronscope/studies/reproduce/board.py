"""A run as TensorBoard files: units done, and each method's running scores.

Read from the run directory, so that what other processes and machines finish is in it, and a run that is gone on with
continues its curves. Scores are plain shares of the captions so far; those of the tables are means over groups, levels
and concepts, and the last word.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ...errors import InvalidOption
from ...evaluate.aggregate import j_of
from ...files import output_folder
from ...parsing import parse_json
from ...run.directory import Run
from ...words import wordless
from .units import CANDIDATE, DATASET

INSTALL = "pip install 'neuronscope[log]'"

_EVERY = 10.0  # seconds


class Writer(Protocol):
    """What is used of a TensorBoard `SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of a curve."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def open_writer(folder: str | Path) -> Writer:
    """A writer of event files into a folder, which is made if need be.

    Raises InvalidOption where TensorBoard is not installed, and for a folder that cannot be written to.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidOption(f"--log needs TensorBoard: {INSTALL}") from error
    writer: Any = SummaryWriter
    return writer(str(output_folder(folder)))


class Board:
    """What is written about a run.

    Args:
        run: the directory, with its data set.
        writer: where points go; a point's step is how many units of the run are done.
        every: seconds between two looks at the directory.
        clock: tells them.
    """

    def __init__(
        self, run: Run, writer: Writer, *, every: float = _EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._writer = run, writer
        self._every, self._clock = every, clock
        self._next = clock()
        self._seen: set[Path] = set()
        self._at = -1
        self._shown = _shown(run)
        self._count: Counter[tuple[str, str, bool, bool]] = Counter()  # method, condition, own image, named

    def step(self, _: str = "") -> None:
        """To be called at every unit; looks at the directory now and then."""
        if self._clock() >= self._next:
            self.update()
            self._next = self._clock() + self._every

    def update(self) -> None:
        """Write a point of every curve, where units were finished since the last.

        Raises RunMismatch where the directory cannot be read.
        """
        for rows in self._run.since("captions", self._seen):
            self._take(rows.to_pylist())
        done = sum(len(self._run.parts(kind)) for kind in self._run.kinds() if kind not in (DATASET.kind, CANDIDATE))
        if done == self._at:
            return
        self._at = done
        self._writer.add_scalar("units", done, done)
        self._writer.add_scalar("captions", self._count.total(), done)
        for method, condition in dict.fromkeys((method, condition) for method, condition, *_ in self._count):
            for name, value in self._scores(method, condition).items():
                self._writer.add_scalar(f"{name}/{method}/{condition}", value, done)

    def _take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count captions as the tables do: without a word, an image's own concept is not erased."""
        for row in rows:
            concept, own = row["concept"], row["names"] == row["concept"]
            if own or concept not in self._shown.get((row["names"], row["of"]), ()):
                named = row["hit"] or (own and wordless(row["caption"]))
                self._count[row["method"], row["condition"], own, named] += 1

    def _scores(self, method: str, condition: str) -> dict[str, float]:
        """S_se, S_re and J, those of them that there are captions for."""
        (lost, stayed), (gone, kept) = (
            [self._count[method, condition, own, named] for named in (False, True)] for own in (True, False)
        )
        found: dict[str, float] = {}
        if lost + stayed:
            found["S_se"] = lost / (lost + stayed)
        if gone + kept:
            found["S_re"] = kept / (gone + kept)
        return {**found, "J": j_of(found["S_se"], found["S_re"])} if len(found) > 1 else found


@contextmanager
def following(run: Run, writer: Writer | None, step: Callable[[str], None]) -> Generator[Callable[[str], None]]:
    """`step`, which also keeps the board of a run where there is a writer; the last points are written at the end."""
    if writer is None:
        yield step
        return
    board = Board(run, writer)

    def both(description: str) -> None:
        step(description)
        board.step()

    try:
        yield both
    finally:
        board.update()


def _shown(run: Run) -> dict[tuple[str, str], frozenset[str]]:
    """What the picture of every sample shows, by the sample's concept and image."""
    documents = [parse_json(row["document"]) for row in run.read(DATASET.kind, DATASET.key).to_pylist()]
    records = [record for document in documents for record in document["samples"]]
    return {(record["concept"], record["image_id"]): frozenset(record["shown"]) for record in records}

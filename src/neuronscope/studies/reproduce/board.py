"""The curves of a reproduction: captions, and each method's running scores.

Scores are plain shares of the captions so far; those of the tables are means over groups, levels and concepts, and the
last word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...evaluate.aggregate import j_of
from ...parsing import parse_json
from ...run import board
from ...run.directory import Run
from ...run.writers import Writer
from ...words import wordless
from .units import CANDIDATE, DATASET


class Board(board.Board):
    """What is written about a run, which has its data set. See :class:`neuronscope.run.board.Board`."""

    def __init__(self, run: Run, writer: Writer, **how: Any) -> None:
        super().__init__(run, writer, **how)
        self._seen: set[Path] = set()
        self._shown = _shown(run)
        self._count: Counter[tuple[str, str, bool, bool]] = Counter()  # method, condition, own image, named

    def done(self) -> int:
        """Units beside those of the data set."""
        kinds = (kind for kind in self.run.kinds() if kind not in (DATASET.kind, CANDIDATE))
        return sum(len(self.run.parts(kind)) for kind in kinds)

    def curves(self) -> dict[str, float]:
        """Captions, and the scores of every method and condition that there are captions for."""
        for rows in self.run.since("captions", self._seen):
            self._take(rows.to_pylist())
        found: dict[str, float] = {"captions": self._count.total()}
        for method, condition in dict.fromkeys((method, condition) for method, condition, *_ in self._count):
            for name, value in self._scores(method, condition).items():
                found[f"{name}/{method}/{condition}"] = value
        return found

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
    with board.keeping(None if writer is None else Board(run, writer), step) as both:
        yield both


def _shown(run: Run) -> dict[tuple[str, str], frozenset[str]]:
    """What the picture of every sample shows, by the sample's concept and image."""
    documents = [parse_json(row["document"]) for row in run.read(DATASET.kind, DATASET.key).to_pylist()]
    records = [record for document in documents for record in document["samples"]]
    return {(record["concept"], record["image_id"]): frozenset(record["shown"]) for record in records}

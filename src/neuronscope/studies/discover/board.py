"""The curves of a discovery run: captions, nouns, their best neurons, and how often neurons' texts name the noun."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ...run import board
from ...run.board import Writer
from ...run.directory import Run


class Board(board.Board):
    """What is written about a run. See :class:`neuronscope.run.board.Board`.

    `named/own` is the share of nouns that the text of their neurons names so far, `named/random` the same of random
    neurons; the tables are the last word.
    """

    def __init__(self, run: Run, writer: Writer, **how: Any) -> None:
        super().__init__(run, writer, **how)
        self._seen: dict[str, set[Path]] = {kind: set() for kind in ("nouns", "texts")}
        self._nouns: set[str] = set()
        self._best: set[tuple[int, int]] = set()
        self._named: Counter[tuple[str, bool]] = Counter()

    def done(self) -> int:
        """Units of all kinds."""
        return sum(len(self.run.parts(kind)) for kind in self.run.kinds())

    def curves(self) -> dict[str, float]:
        """Captions, different nouns, different best neurons, and shares of texts that name the noun."""
        for rows in self.run.since("nouns", self._seen["nouns"]):
            for row in rows.to_pylist():
                self._nouns.add(row["noun"])
                self._best.update([(row["layers"][0], row["units"][0])] if row["layers"] else [])
        for rows in self.run.since("texts", self._seen["texts"]):
            self._named.update((row["of"], bool(row["named"])) for row in rows.to_pylist())
        captions = len(self.run.parts("captions")) if "captions" in self.run.kinds() else 0
        found: dict[str, float] = {"captions": captions, "nouns": len(self._nouns), "best neurons": len(self._best)}
        for of in dict.fromkeys(name for name, _ in self._named):
            named, other = self._named[of, True], self._named[of, False]
            found[f"named/{of}"] = named / (named + other)
        return found

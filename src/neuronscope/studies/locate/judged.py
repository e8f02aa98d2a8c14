"""What exact effects say of methods: of one picture, and pooled over several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption, RunMismatch
from ...evaluate import Estimate, bootstrap_mean
from ...evaluate.ordering import mean_figures
from ...files import write_text
from ...frames import data_frame
from ...parsing import read_json
from ...reprs import short_repr

if TYPE_CHECKING:
    from pandas import DataFrame

TABLE, NUMBERS = "truth.md", "truth.json"


@dataclass(frozen=True)
class Judged:
    """What is known of every method.

    Attributes:
        asked, total: neurons that were exchanged, and of the model.
        edit: what the edit does to the score.
        figures: method -> figure -> estimate (evaluate/ordering.py).
        recovered: method -> n -> share of the edit's effect that its best n recover together.
        notes: what a reader should know.
        seconds: of exact effects, in this call.
        about: the concept, the image and the model, by these names.
        found_by: what found the object, where a detector did (:meth:`Regions.to_dict`).
    """

    asked: int
    total: int
    edit: float
    figures: Mapping[str, Mapping[str, Estimate]]
    recovered: Mapping[str, Mapping[int, float]]
    notes: tuple[str, ...]
    seconds: float
    about: Mapping[str, str] = field(default_factory=dict[str, str])
    found_by: Mapping[str, Any] = field(default_factory=dict[str, Any])

    __repr__ = short_repr

    @property
    def sentence(self) -> str:
        """For a person."""
        share = "All" if self.asked == self.total else f"{self.asked:,} of"
        told = f"{share} {self.total:,} neurons were exchanged one by one."
        return f"{told} {_best(self.figures)}"

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        figures = {name: {key: e.to_dict() for key, e in of.items()} for name, of in self.figures.items()}
        counted = {name: {str(n): share for n, share in of.items()} for name, of in self.recovered.items()}
        return {"verdict": self.sentence, **asdict(self), "figures": figures, "recovered": counted}

    def to_dataframe(self) -> DataFrame:
        """A row for each method with pandas: every figure with its interval, and what its best n recover.

        Raises InvalidOption where pandas is not installed.
        """
        columns: dict[str, list[Any]] = {"method": list(self.figures)}
        for name in next(iter(self.figures.values()), {}):
            columns[name] = [of[name].value for of in self.figures.values()]
            columns[f"{name}, low"] = [of[name].low for of in self.figures.values()]
            columns[f"{name}, high"] = [of[name].high for of in self.figures.values()]
        for n in dict.fromkeys(n for of in self.recovered.values() for n in of):
            columns[f"recovered by {n}"] = [self.recovered.get(method, {}).get(n) for method in self.figures]
        about = {
            name: getattr(self, name) for name in ("about", "asked", "total", "edit", "notes", "seconds", "sentence")
        }
        return data_frame(columns, **about)

    def markdown(self) -> str:
        """The page."""
        counted = {name: {n: f"{share:.2f}" for n, share in of.items()} for name, of in self.recovered.items()}
        return _markdown(self.sentence, self.figures, counted, self.notes)

    def save(self, folder: Path) -> None:
        """Write truth.md and truth.json."""
        write_text(folder / TABLE, self.markdown())
        write_text(folder / NUMBERS, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Judged:
        """What :meth:`save` wrote. Raises RunMismatch for a folder without it, and for a damaged one."""
        path = folder / NUMBERS
        try:
            return cls.of(read_json(path))
        except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise RunMismatch(f"{path} is no result of `truth` ({type(error).__name__}: {error})") from error

    @classmethod
    def of(cls, held: Any) -> Judged:
        """What :meth:`to_dict` gave. Raises ValueError, LookupError, AttributeError or TypeError for anything else."""
        figures = {
            str(name): {
                str(key): Estimate(*(float(e[part]) for part in ("value", "low", "high"))) for key, e in of.items()
            }
            for name, of in held["figures"].items()
        }
        recovered = {
            str(name): {int(n): float(share) for n, share in of.items()} for name, of in held["recovered"].items()
        }
        about = {str(name): str(value) for name, value in held["about"].items()}
        numbers = int(held["asked"]), int(held["total"]), float(held["edit"])
        notes, seconds = tuple(map(str, held["notes"])), float(held["seconds"])
        return cls(*numbers, figures, recovered, notes, seconds, about, dict(held["found_by"]))


@dataclass(frozen=True)
class PooledTruth:
    """What is known of every method from several pictures of one model.

    Attributes:
        pictures: of each picture; their methods and numbers of neurons may differ.
        figures: method -> figure -> mean over pictures, of the methods that were judged on all of them.
        recovered: method -> n -> the same of what its best n recover.
        notes: what a reader should know.
    """

    pictures: tuple[Judged, ...]
    figures: Mapping[str, Mapping[str, Estimate]]
    recovered: Mapping[str, Mapping[int, Estimate]]
    notes: tuple[str, ...]

    __repr__ = short_repr

    @classmethod
    def of(cls, pictures: Sequence[Judged]) -> PooledTruth:
        """Raises InvalidOption for no pictures, RunMismatch for those of several models."""
        if not pictures:
            raise InvalidOption("there are no pictures to pool")
        models = sorted({one.about.get("model", "") for one in pictures})
        if len(models) > 1 or len({one.total for one in pictures}) > 1:
            raise RunMismatch(f"the pictures were asked of several models: {', '.join(models)}")
        every = dict.fromkeys(name for one in pictures for name in one.figures)
        methods = [name for name in every if all(name in one.figures for one in pictures)]
        left = [name for name in every if name not in methods]
        counts = {
            name: [n for n in pictures[0].recovered.get(name, {}) if all(n in _of(one, name) for one in pictures)]
            for name in methods
        }
        return cls(
            tuple(pictures),
            {name: mean_figures([dict(one.figures[name]) for one in pictures]) for name in methods},
            {
                name: {n: bootstrap_mean([one.recovered[name][n] for one in pictures]) for n in counts[name]}
                for name in methods
            },
            (f"not judged on every picture: {', '.join(left)}",) if left else (),
        )

    @property
    def sentence(self) -> str:
        """For a person."""
        asked = sorted({one.asked for one in self.pictures})
        span = f"{asked[0]:,}" if len(asked) == 1 else f"{asked[0]:,} to {asked[-1]:,}"
        told = (
            f"On {len(self.pictures)} pictures, {span} of {self.pictures[0].total:,} neurons were exchanged one by one."
        )
        return f"{told} {_best(self.figures)}"

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        return {
            "pictures": [{**one.about, "asked": one.asked, "total": one.total} for one in self.pictures],
            "figures": {name: {key: e.to_dict() for key, e in of.items()} for name, of in self.figures.items()},
            "recovered": {name: {str(n): e.to_dict() for n, e in of.items()} for name, of in self.recovered.items()},
            "notes": list(self.notes),
            "verdict": self.sentence,
        }

    def markdown(self) -> str:
        """The tables."""
        counted = {name: {n: str(e) for n, e in of.items()} for name, of in self.recovered.items()}
        return _markdown(self.sentence, self.figures, counted, self.notes)


def _of(one: Judged, method: str) -> Mapping[int, float]:
    return one.recovered.get(method, {})


def _best(figures: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Which method orders neurons best."""
    first = max(figures, key=lambda name: figures[name]["precision at 100"].value, default=None)
    if first is None:
        return "No method could be judged."
    right = figures[first]["precision at 100"].value
    return f"{first} orders them best: {right:.0%} of its best 100 are among the 100 that do most."


def _markdown(
    sentence: str,
    figures: Mapping[str, Mapping[str, Estimate]],
    recovered: Mapping[str, Mapping[int, str]],
    notes: Sequence[str],
) -> str:
    from ...report.markdown import table

    names = list(next(iter(figures.values()), {}))
    rows = [(method, *(str(of[name]) for name in names)) for method, of in figures.items()]
    counts = list(next(iter(recovered.values()), {}))
    shares = [(method, *(of.get(n, "") for n in counts)) for method, of in recovered.items()]
    parts = [sentence, table(("method", *names), rows)]
    parts += ["What the best n recover of the edit's effect, exchanged together:"]
    parts += [table(("method", *(f"n = {n}" for n in counts)), shares), *notes]
    return "\n\n".join(parts) + "\n"

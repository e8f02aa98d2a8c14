"""Concepts of a discovery run: nouns that several captions name, and the neuron that stands for each.

selection    the first half of a noun's images (rounded up)
best neuron  the largest sum over those images of its contribution; 0 where it is not among the kept
tested       the other images; nothing of them decides which neuron is best
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...run.directory import Run
from ...samples.picture_files import Picture
from ...types import Neuron, Neurons

#: A row of kind "nouns".
Found = Mapping[str, Any]


@dataclass(frozen=True)
class SharedNoun:
    """A noun that at least two captions name.

    Attributes:
        noun: the noun.
        selected: the images that its best neuron was chosen on.
        tested: the other images.
        best: the neuron.
    """

    noun: str
    selected: tuple[str, ...]
    tested: tuple[str, ...]
    best: Neuron


def rows_of(run: Run, kind: str, pictures: Sequence[Picture]) -> list[Found]:
    """The rows of a kind that belong to these pictures as they are now, in their order."""
    place = {(picture.name, picture.digest): number for number, picture in enumerate(pictures)}
    rows = [row for row in run.table(kind).to_pylist() if (row["image"], row["sha256"]) in place]
    return sorted(rows, key=lambda row: place[row["image"], row["sha256"]])


def nouns_of(run: Run, pictures: Sequence[Picture]) -> dict[str, list[Found]]:
    """noun -> its rows, in the order of the pictures; nouns that more captions name come first, then by name."""
    found: dict[str, list[Found]] = defaultdict(list)
    for row in rows_of(run, "nouns", pictures):
        found[row["noun"]].append(row)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def concepts_of(run: Run, pictures: Sequence[Picture]) -> tuple[SharedNoun, ...]:
    """The nouns that at least two of the pictures have in their captions."""
    concepts: list[SharedNoun] = []
    for noun, rows in nouns_of(run, pictures).items():
        if len(rows) < 2:
            continue
        half = (len(rows) + 1) // 2
        names = [row["image"] for row in rows]
        best = together(rows[:half], 1)[0]
        concepts.append(SharedNoun(noun, tuple(names[:half]), tuple(names[half:]), best))
    return tuple(concepts)


def together(rows: Sequence[Found], top: int) -> Neurons:
    """The neurons with the largest mean contribution over images; 0 where one is not among an image's kept neurons."""
    sums: dict[Neuron, float] = defaultdict(float)
    for row in rows:
        for neuron, value in zip(order_of(row), row["contributions"], strict=True):
            sums[neuron] += value / len(rows)
    best = sorted(sums, key=lambda neuron: (-sums[neuron], neuron))[:top]
    return Neurons(tuple(best), {"contribution": tuple(sums[neuron] for neuron in best)})


def best_for(nouns: Mapping[str, Sequence[Found]]) -> dict[Neuron, int]:
    """Neuron -> how many nouns it is the best for, over all their images; those that are best for none are left out."""
    return dict(Counter(together(rows, 1)[0] for rows in nouns.values()))


def generic(count: int, nouns: int) -> bool:
    """Whether a neuron is best for so many nouns that it says "a noun" rather than any of them: more than half."""
    return nouns > 2 and 2 * count > nouns


def order_of(row: Found) -> tuple[Neuron, ...]:
    """The neurons of a row, best first."""
    return tuple(Neuron(layer, unit) for layer, unit in zip(row["layers"], row["units"], strict=True))

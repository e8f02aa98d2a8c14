"""The repair of a folder's hallucinations as documents and tables: one way of repairing, or several side by side.

Shares of hallucinations have intervals over hallucinations, CHAIR and recall over images (evaluate/editing/chair.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from ...errors import InvalidOption
from ...evaluate.editing.chair import Named, objects_by_lists
from ...evaluate.statistics import Estimate, bootstrap_mean
from ...report.blocks import Block, Heading, Section, Table, grid, text
from ...report.cells import Cell, interval
from ...report.markdown import markdown
from ...samples.synonyms import Synonyms
from ...types import options_of
from .settings import Attempt, Beside, Repaired, Repairs
from .verdict import verdict

#: name -> what tables call it, and the ratio.
FIGURES = {
    "chair_i": ("CHAIR_i", lambda named: named.chair_i),
    "chair_s": ("CHAIR_s", lambda named: named.chair_s),
    "recall": ("recall of objects", lambda named: named.recall),
}
#: Half of the pictures -> what tables call it.
_HALVES = {"held_out": "held out", "searched": "searched"}
#: What is said about the hallucinations one by one -> how tables call it.
_SINGLE = {
    "gone": "word gone under some edit",
    "repaired": "repaired",
    "kept": "held out: right mentions kept",
    "same": "held out: other captions the same",
}


def document(
    found: Repairs, lists: Synonyms | None = None, kept: Mapping[Path, str] = MappingProxyType({})
) -> dict[str, Any]:
    """One way of repairing as JSON; with lists CHAIR also by them. `kept` names copies of pictures that lie beside it.

    Raises InvalidSample for an annotated category that is not in the lists.
    """
    lexicon = {"before": found.named, "after": found.together.named, "random": found.random.named}
    made = {
        "settings": options_of(found.how),
        "pictures": {half: [one.name for one in pictures] for half, pictures in found.pictures.items()},
        "refused": [{"where": one.where, "reason": one.reason} for one in found.refused],
        "hallucinations": [_hallucination(one, kept) for one in found.single],
        "single": _single(found.single),
        "together": {
            "neurons": 0 if found.together.edit is None else len(found.together.edit.neurons),
            "share": 0.0 if found.together.edit is None else found.together.edit.share,
            "by": next(iter(found.named.values())).by,
            "halves": {half: _half(found, half, lexicon) for half in found.pictures},
            "original": None if lists is None else _original(found, lists),
        },
        "captions": {
            half: [
                {"before": before, "after": after, "random": random}
                for before, after, random in zip(
                    found.before[half], found.together.captions[half], found.random.captions[half], strict=True
                )
                if before != after or before != random
            ]
            for half in found.pictures
        },
    }
    return {"verdict": verdict(made), **made}


def tables(ways: Mapping[str, Mapping[str, Any]]) -> str:
    """The documents of several ways of repairing the same pictures as Markdown. Raises as :func:`sections` does."""
    return markdown("Repair of hallucinations", sections(ways))


def sections(ways: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """The documents of several ways of repairing the same pictures as a report.

    Raises InvalidOption for no documents, and for documents of different pictures.
    """
    if not ways:
        raise InvalidOption("ways is empty: there is nothing to put into a table")
    first = next(iter(ways.values()))
    for name, one in ways.items():
        if one["pictures"] != first["pictures"]:
            raise InvalidOption(f"{name!r} repaired other pictures than {next(iter(ways))!r}: they do not compare")
    sizes = {half: len(names) for half, names in first["pictures"].items()}
    opening = (
        f"{sizes['searched']} pictures were searched, {sizes['held_out']} held out; "
        f"{len(first['hallucinations'])} hallucinations in the searched ones. Brackets hold 95 % bootstrap intervals. "
        "The second row of each way is the same on random neurons of equal count and layers."
    )
    verdicts = [verdict(one) if len(ways) == 1 else f"{name}: {verdict(one)}" for name, one in ways.items()]
    single = grid(
        ["way", "neurons, median (range)", *_SINGLE.values()],
        [row for name in ways for row in _single_rows(name, ways[name])],
    )
    together = {
        f"Pictures that were {title}, objects by {_by(ways, kind)}": _together(ways, half, kind)
        for kind in ("lexicon", "original")
        if kind == "lexicon" or all(one["together"].get("original") for one in ways.values())
        for half, title in _HALVES.items()
    }
    return [
        Section("opening", "", [*(text(one) for one in verdicts), text(opening)]),
        Section("single", "Each hallucination by itself", [single]),
        Section("together", "All edits together", _headed(together)),
        Section("hallucinations", "The hallucinations", _headed({name: _list(one) for name, one in ways.items()})),
    ]


def _headed(tables: Mapping[str, Table]) -> list[Block]:
    return [block for title, one in tables.items() for block in (Heading(title), one)]


def _hallucination(one: Repaired, kept: Mapping[Path, str]) -> dict[str, Any]:
    return {
        "picture": one.picture,
        "thumbnail": "" if one.path is None else kept.get(one.path, ""),
        "source": one.source,
        "target": one.target,
        "before": one.before,
        "found": _attempt(one.found),
        "luck": _attempt(one.luck),
        "beside": _beside(one.beside),
        "random": _beside(one.random),
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "after": one.after,
        "gone": one.gone,
        "neurons": None if one.neurons is None else [str(neuron) for neuron in one.neurons],
    }


def _beside(one: Beside | None) -> dict[str, Any] | None:
    return None if one is None else {name: list(values) for name, values in asdict(one).items()}


def _single(found: Sequence[Repaired]) -> dict[str, dict[str, Any]]:
    """Means over hallucinations; of side effects, over accepted edits that have something to change."""
    accepted = [len(one.found.neurons) for one in found if one.found.neurons is not None]
    return {
        side: {
            "neurons": sorted(accepted),
            "gone": _mean([float(tried(one).gone) for one in found]),
            "repaired": _mean([float(tried(one).neurons is not None) for one in found]),
            "kept": _mean([_share(b.kept) for one in found if (b := beside(one)) is not None and b.kept]),
            "same": _mean([_share(b.same) for one in found if (b := beside(one)) is not None and b.same]),
        }
        for side, tried, beside in (
            ("found", lambda one: one.found, lambda one: one.beside),
            ("random", lambda one: one.luck, lambda one: one.random),
        )
    }


def _original(found: Repairs, lists: Synonyms) -> dict[str, Any]:
    """The same captions as under "halves", by the original lists."""
    texts = {"before": found.before, "after": found.together.captions, "random": found.random.captions}
    states = {
        state: {half: objects_by_lists(captions[half], found.pictures[half], lists) for half in found.pictures}
        for state, captions in texts.items()
    }
    by = next(iter(states["before"].values())).by
    return {"by": by, "halves": {half: _half(found, half, states) for half in found.pictures}}


def _half(found: Repairs, half: str, named: Mapping[str, Mapping[str, Named]]) -> dict[str, Any]:
    states = {state: halves[half] for state, halves in named.items()}
    before = found.before[half]
    return {
        **{state: _figures(named) for state, named in states.items()},
        "change": {
            state: {name: _numbers(of(states[state]).change(of(states["before"]))) for name, (_, of) in FIGURES.items()}
            for state in ("after", "random")
        },
        "same": {
            state: _mean([float(a == b) for a, b in zip(one.captions[half], before, strict=True)])
            for state, one in (("after", found.together), ("random", found.random))
        },
    }


def _figures(named: Named) -> dict[str, Any]:
    return {
        **{name: _numbers(of(named).estimate()) for name, (_, of) in FIGURES.items()},
        "mentions": sum(named.mentions),
        "hallucinated": sum(map(len, named.wrong)),
    }


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    return {**bootstrap_mean(values).to_dict(), "items": len(values)} if values else None


def _numbers(one: Estimate | None) -> dict[str, float] | None:
    return None if one is None else one.to_dict()


def _single_rows(name: str, one: Mapping[str, Any]) -> list[list[str | Cell]]:
    sizes = one["single"]["found"]["neurons"]
    middle = f"{median(sizes):g} ({sizes[0]} to {sizes[-1]})" if sizes else "-"
    return [
        [title, middle, *(interval(one["single"][side][figure]) for figure in _SINGLE)]
        for side, title in (("found", name), ("random", "random neurons"))
    ]


def _measured(one: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """What was measured of all edits together, by one of the two ways to find objects."""
    return one["together"] if kind == "lexicon" else one["together"]["original"]


def _by(ways: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    return ", ".join(dict.fromkeys(_measured(one, kind).get("by", "the lexicon") for one in ways.values()))


def _together(ways: Mapping[str, Mapping[str, Any]], half: str, kind: str) -> Table:
    rows: list[list[str | Cell]] = []
    for name, one in ways.items():
        found = _measured(one, kind)["halves"][half]
        if not rows:
            rows.append(["unedited", "0", *(interval(found["before"][figure]) for figure in FIGURES), "1.000"])
        count = str(one["together"]["neurons"])
        rows += [
            [title, count, *(_changed(found, state, figure) for figure in FIGURES), interval(found["same"][state])]
            for state, title in (("after", name), ("random", "random neurons"))
        ]
    header = ["way", "neurons", *(f"{title} (change)" for title, _ in FIGURES.values()), "same captions"]
    return grid(header, rows)


def _changed(found: Mapping[str, Any], state: str, figure: str) -> str:
    return f"{interval(found[state][figure])} ({interval(found['change'][state][figure], signed=True)})"


def _list(one: Mapping[str, Any]) -> Table:
    rows = [
        [
            each["source"],
            each["before"],
            each["found"]["after"] or ("not accepted" if each["found"]["gone"] else "still named"),
            "-" if each["found"]["neurons"] is None else str(len(each["found"]["neurons"])),
        ]
        for each in one["hallucinations"]
    ]
    return grid(["object", "caption", "under the edit", "neurons"], rows, 3)

"""Evaluations of edits as documents and tables: of one edit over its images, of many edits over their pairs of words.

Intervals of one edit are over images or texts, of many over edits: images of one edit are alike. A ratio's mean is the
geometric one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InvalidOption
from ...evaluate.editing import MEASURES, Evaluation, MeasureValues, estimate
from ...report.blocks import Section, grid, text
from ...report.cells import interval, number
from ...report.markdown import markdown
from .verdict import verdict

#: What brackets hold, below a table of one edit.
_BRACKETS = "Brackets hold 95 % bootstrap intervals over images or texts."
#: What is shown of every pair of words.
_SHORT = ("success", "generality", "locality")


def document(found: Evaluation) -> dict[str, Any]:
    """One evaluation as JSON."""
    edit = found.edit
    made: dict[str, Any] = {
        "editor": edit.editor,
        "settings": dict(edit.settings),
        "source": found.words.source,
        "target": found.words.target,
        "model": dict(edit.model),
        "neurons": len(edit.neurons),
        "share": edit.share,
        "report": dict(edit.report),
        "left_out": found.left_out,
        "random_sets": len(found.random),
        "edited": {name: _cell(one) for name, one in found.measured.items()},
        "random": {name: _cell(one) for name, one in found.control.items()},
        "captions": {
            group: [
                {"before": before, "after": after}
                for before, after in zip(getattr(found.before, group), getattr(found.after, group), strict=True)
            ]
            for group in ("edited", "held_out", "others")
        },
    }
    return {"verdict": verdict(made), **made}


def one_table(found: Mapping[str, Any]) -> str:
    """The table of one document as Markdown."""
    return markdown("", sections(found))


def sections(found: Mapping[str, Any]) -> list[Section]:
    """One document as a report."""
    rows = [
        [one.title, interval(found["edited"][name]), interval(found["random"].get(name)), _items(found["edited"][name])]
        for name, one in MEASURES.items()
    ]
    target = "-" if found["target"] is None else found["target"]
    head = (
        f"{found['editor']}: {found['source']} -> {target}, {found['neurons']} neurons "
        f"({100 * found['share']:.2f} % of the decoder's); {found['random_sets']} random set(s) beside it."
    )
    left = f" {found['left_out']} other images name the source and were left out." if found["left_out"] else ""
    header = ["measure", "edit", "random neurons", "images or texts"]
    return [
        Section("edit", "", [text(verdict(found)), text(f"{head}{left}")]),
        Section("measures", "What was measured", [grid(header, rows), text(_BRACKETS)]),
    ]


def across(documents: Sequence[Mapping[str, Any]], *, asked: Mapping[str, float], random: float) -> dict[str, Any]:
    """Many pairs of words as one document.

    Args:
        documents: of each pair `source`, `target` and `rows`; a row has `editor`, the values of `edited` and `random`,
            `share`, and the checks `weights_restored`, `captions_restored` and `adapter_error`.
        asked: measure -> the least that the best editor should reach.
        random: the most that its success with random neurons should be.

    Editors that some pairs lack are left out. Raises InvalidOption for no documents, and where no editor is in all.
    """
    if not documents:
        raise InvalidOption("documents is empty: there are no pairs to put together")
    everywhere = set.intersection(*({row["editor"] for row in d["rows"]} for d in documents))
    names = [row["editor"] for row in documents[0]["rows"] if row["editor"] in everywhere]
    if not names:
        raise InvalidOption("no editor was measured on every pair: finish the pairs first")
    editors = {name: _editor([row for d in documents for row in d["rows"] if row["editor"] == name]) for name in names}

    def reached(name: str) -> float:
        return sum(editors[name]["edited"][measure]["value"] for measure in asked)

    best = max(names, key=reached)
    limits = [
        {"figure": measure, "value": editors[best]["edited"][measure]["value"], "at_least": least}
        for measure, least in asked.items()
    ]
    limits.append({"figure": "random success", "value": editors[best]["random"]["success"]["value"], "at_most": random})
    return {
        "pairs": len(documents),
        "editors": editors,
        "best": best,
        "limits": [one | {"holds": _holds(one)} for one in limits],
        "by_pair": [
            {
                "source": d["source"],
                "target": d["target"],
                **{
                    row["editor"]: {measure: _measured(row["edited"], measure).mean for measure in _SHORT}
                    for row in d["rows"]
                },
            }
            for d in documents
        ],
    }


def tables(result: Mapping[str, Any]) -> str:
    """The document of :func:`across` as Markdown."""
    editors: Mapping[str, Any] = result["editors"]
    names = list(editors)
    rows = [[one.title, *(interval(editors[name]["edited"][key]) for name in names)] for key, one in MEASURES.items()]
    control = [[one.title, *(interval(editors[n]["random"][key]) for n in names)] for key, one in MEASURES.items()]
    checks = [
        ["neurons changed, share", *(f"{100 * editors[n]['share']:.2f} %" for n in names)],
        ["every weight bit-equal after revert", *(_yes(editors[n]["weights_restored"]) for n in names)],
        ["every caption identical after revert", *(_yes(editors[n]["captions_restored"]) for n in names)],
        ["adapter against edit, logits at most", *(f"{editors[n]['adapter_error']:.1e}" for n in names)],
    ]
    asked = [
        [one["figure"], number(one["value"]), _limit(one), "yes" if one["holds"] else "**no**"]
        for one in result["limits"]
    ]
    pairs = [
        [f"{d['source']} -> {d['target']}", *(" / ".join(number(d[n][m]) for m in _SHORT) for n in names)]
        for d in result["by_pair"]
    ]
    sections = [
        Section("opening", "", [text(f"Means over {result['pairs']} pairs of words with 95 % intervals over pairs.")]),
        Section(
            "limits",
            f"Asked of the best editor ({result['best']})",
            [grid(["figure", "value", "asked", "holds"], asked)],
        ),
        Section("edits", "The edits", [grid(["measure", *names], rows)]),
        Section(
            "random",
            "The same editors on random neurons of equal count and layers",
            [grid(["measure", *names], control)],
        ),
        Section("checks", "Checks", [grid(["check", *names], checks)]),
        Section("pairs", "Pairs", [text(f"Every cell: {' / '.join(_SHORT)}."), grid(["pair", *names], pairs)]),
    ]
    return markdown("Edits", sections)


def _editor(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        **{
            side: {name: _over_edits([_measured(row[side], name) for row in rows]) for name in MEASURES}
            for side in ("edited", "random")
        },
        "share": max(row["share"] for row in rows),
        "weights_restored": all(row["weights_restored"] for row in rows),
        "captions_restored": all(row["captions_restored"] for row in rows),
        "adapter_error": max(row["adapter_error"] for row in rows),
    }


def _measured(values: Mapping[str, Sequence[float]], name: str) -> MeasureValues:
    return MeasureValues(tuple(values[name]), MEASURES[name].ratio)


def _over_edits(found: Sequence[MeasureValues]) -> dict[str, Any] | None:
    """Mean of the edits' means; ratios are averaged as logarithms. None where no edit has a value."""
    means = [sum(one.values) / len(one.values) for one in found if one.values]
    return {**estimate(means, ratio=found[0].ratio).to_dict(), "items": len(means)} if means else None


def _cell(one: MeasureValues) -> dict[str, Any] | None:
    return None if one.estimate is None else {**one.estimate.to_dict(), "items": len(one.values)}


def _items(cell: Mapping[str, Any] | None) -> str:
    return "0" if cell is None else str(cell["items"])


def _holds(one: Mapping[str, Any]) -> bool:
    return one["value"] >= one["at_least"] if "at_least" in one else one["value"] <= one["at_most"]


def _limit(one: Mapping[str, Any]) -> str:
    return f">= {one['at_least']:.2f}" if "at_least" in one else f"<= {one['at_most']:.2f}"


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"

"""A discovery's document as tables and the figures between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...evaluate.discovery import CONTROLS
from ...evaluate.discovery.invariance import OTHERS
from ...evaluate.discovery.sensitivity import FOUND
from ...report.blocks import Block, Document, Figure, Section, Table, grid, text
from ...report.cells import interval, number
from .concepts import generic

#: Columns of a table of measures: how they are called.
_TITLES = {FOUND: "discovered", OTHERS: "neurons of other nouns"}


def sections(document: Mapping[str, Any]) -> list[Section]:
    """The document of a discovery as a report; the opening begins with the verdict."""
    settings = document["settings"]
    nouns = sum(len(images) for images in document["nouns"].values())
    opening = (
        f"{document['images']} images, {nouns} nouns in their captions, {len(document['nouns'])} different; model "
        f"{settings['model']['id']} ({settings['model']['fingerprint']}). Intervals are 95 % bootstrap intervals over "
        "images, or over concepts. Random neurons, any and of the same layers, stand beside every figure."
    )
    parts: Sequence[tuple[str, Sequence[Block], Mapping[str, str]]] = [
        ("", [text(document["verdict"]), text(opening)], {}),
        ("Nouns", nouns_table(document), {}),
        ("Layers", _layers(document), {"layers": "Neurons per layer for several k"}),
        ("Semantic sensitivity", _sensitivity(document), {"sensitivity": "Semantic sensitivity"}),
        ("Region invariance", _region(document), {"region-invariance": "Region invariance against k"}),
        ("Cross-image invariance", _cross(document), {"cross-image": "Neurons shared by images of a concept"}),
        (
            "Specificity",
            _specificity(document),
            {"specificity": "Share and margin of the diagonal", "specificity-matrix": "The specificity matrix"},
        ),
        ("Settings", [Document(settings)], {}),
    ]
    if document["refused"]:
        rows = [(one["where"], one["reason"]) for one in document["refused"]]
        parts = [*parts, ("Left out", [grid(("where", "why"), rows, 2)], {})]
    return [
        Section(title.lower().replace(" ", "-"), title, blocks, [Figure(*one) for one in figures.items()])
        for title, blocks, figures in parts
    ]


def nouns_table(document: Mapping[str, Any]) -> list[Block]:
    """The best neurons of every noun, and for how many nouns the best one is best."""
    nouns, often = document["nouns"], document["best_for"]
    if not nouns:
        return [text("None.")]

    def row(noun: str, images: Sequence[str]) -> tuple[str, ...]:
        best = document["best"][noun]
        words = [f"{neuron} ({number(value)})" for neuron, value in best]
        count = often[best[0][0]]
        mark = " (any noun)" if generic(count, len(nouns)) else ""
        return noun, words[0], f"{count}{mark}", ", ".join(words[1:]), str(len(images))

    head = ("noun", "best neuron", f"nouns it is best for, of {len(nouns)}", "the next two", "images")
    marked = [neuron for neuron, count in often.items() if generic(count, len(nouns))]
    notes = [text(f"In brackets the mean contribution over images, in {document['unit']}.")]
    if marked:
        notes.append(
            text(f"{', '.join(marked)}: best for more than half of the nouns, so no neuron of any one of them.")
        )
    return [grid(head, [row(noun, images) for noun, images in nouns.items()], 2), *notes]


def _layers(document: Mapping[str, Any]) -> list[Block]:
    layers = document["layers"]
    depth = max((len(counts["unique"]) for counts in layers.values()), default=0)
    rows = [(k, *map(str, counts["unique"])) for k, counts in layers.items()]
    return [text("Different neurons per layer."), grid(("k", *(f"L{layer}" for layer in range(depth))), rows)]


def _table(rows: Mapping[str, Mapping[str, Any]], head: str) -> Table:
    """Measures with the controls beside them."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row if name in (FOUND, *CONTROLS, OTHERS)))
    cells = [
        (title, *(interval(row.get(name)) for name in columns), str(row.get("units", "")))
        for title, row in rows.items()
    ]
    return grid((head, *(_TITLES.get(name, name) for name in columns), "n"), cells)


def _sensitivity(document: Mapping[str, Any]) -> list[Block]:
    rows = {name: row for name, row in document["sensitivity"].items() if row}
    found: list[Block] = [_table(rows, "measure") if rows else text(document["absent"]["named"])]
    why = document["absent"].get("similar")
    return [*found, text(f"{why[0].upper()}{why[1:]}.")] if why else found


def _region(document: Mapping[str, Any]) -> list[Block]:
    part = document["region_invariance"]
    if not part["k"]:
        return [text(document["absent"]["region"])]
    note = f"{part['nouns_in_both']} of {part['nouns']} nouns are in the captions of both orders."
    return [_table({str(k): row for k, row in part["k"].items()}, "k"), text(note)]


def _cross(document: Mapping[str, Any]) -> list[Block]:
    part = document["cross_image"]
    if part is None:
        return [text(document["absent"]["cross"])]
    return [
        text(f"The {part['k']} best neurons in {part['images']} images of each concept."),
        _table({"joint": part["joint"], "pairwise Jaccard": part["pairwise"]}, "measure"),
    ]


def _specificity(document: Mapping[str, Any]) -> list[Block]:
    found: list[Block] = []
    kinds = {
        "in_image": "Among the nouns of one caption; n counts images",
        "concepts": "Among concepts, on images that did not choose their neurons; n counts concepts",
    }
    for name, title in kinds.items():
        part = document["specificity"][name]
        if part is None:
            found.append(text(document["absent"]["in_image" if name == "in_image" else "among"]))
            continue
        rows = {"share on the diagonal": part["share"], "diagonal - rest": part["margin"]}
        found += [text(f"{title}; chance is {number(part['chance'])}."), _table(rows, "measure")]
    return found

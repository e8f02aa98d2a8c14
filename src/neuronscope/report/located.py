"""The page of one located concept, made of its evidence alone; `demo` shows several such sections in one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..index.file import NeuronIndex
from ..version import __version__
from ..view.decode import Decoded
from . import charts
from .data_uri import heat, mask_picture, photo, with_boxes
from .evidence import Evidence, ShownNeuron
from .links import Links, links_from, require_same
from .marked import Piece, marked, names
from .page import telling_damage, write_page
from .verdict import counted

#: Condition -> what a reader is told, and whether its captions should lose the concept.
_CONDITIONS: Mapping[str, tuple[str, bool | None]] = {
    "original": ("original image", None),
    "edited": ("object edited away", None),
    "noise": ("noise on the located neurons", True),
    "random noise": ("the same noise on random neurons", False),
    "patch": ("located neurons as in the edited image", True),
    "random patch": ("random neurons as in the edited image", False),
    "zero": ("located neurons set to zero", True),
    "random zero": ("random neurons set to zero", False),
}

#: Exchanged set -> what a reader is told, in the order of the page.
_SETS: Mapping[str, str] = {
    "located": "the located neurons",
    "random": "as many random ones of the same layers",
    "all layers": "all FFN neurons: the ceiling",
    "lower third": "those of the lower third of the layers",
    "middle third": "of the middle third",
    "upper third": "of the upper third",
}

#: Score of a filter -> its stage and its unit, for headings.
_STAGES: Mapping[str, str] = {
    "activation": "stage 1: activation difference",
    "gradient": "stage 2: gradient x activation",
}


@dataclass(frozen=True)
class ConditionLine:
    """The captions of one condition.

    Attributes:
        label: the condition in words.
        captions: those that differ, cut where they name the concept, each with how many draws gave it.
        draws: how many there were; named: how many of them name it.
        expected: whether the method is right: captions without the concept under interventions on the located
            neurons, with it under those on random ones; None where nothing is expected.
    """

    label: str
    captions: tuple[tuple[list[Piece], int], ...]
    draws: int
    named: int
    expected: bool | None


@dataclass(frozen=True)
class NeuronRow:
    """One neuron of the table.

    `scores` are in the order of the columns; then its words beside those of a random neuron of its layer, its map as a
    picture, where it peaks, and the address of its own page.
    """

    layer: int
    unit: int
    scores: tuple[float, ...]
    detail: ShownNeuron
    words: Decoded
    beside: Decoded | None
    quantile: float | None
    heat: str
    peak: tuple[float, float, float, float] | None
    place: str
    page: str = ""


@dataclass(frozen=True)
class LocatedSection:
    """All that the template shows of one image; attributes are ready to print."""

    name: str
    concept: str
    evidence: Evidence
    pictures: tuple[tuple[str, str], ...]
    background: str
    ratio: str
    lines: tuple[ConditionLine, ...]
    columns: tuple[str, ...]
    rows: tuple[NeuronRow, ...]
    exchanged: tuple[tuple[str, float], ...]
    hidden: int
    shown_layers: tuple[int, ...]
    layers: charts.Layers
    thresholds: tuple[tuple[str, str, charts.Thresholds | None], ...]
    settings: tuple[tuple[str, str], ...]


def write_located(evidence: Evidence, path: str | Path, *, index: NeuronIndex | None = None) -> Path:
    """Write the page of a result; with an index, neurons that have a page of their own link to it.

    Raises InvalidOption where it cannot be written, and RunMismatch for evidence that cannot be shown, or an index of
    other weights.
    """
    with telling_damage(f"the evidence of {evidence.image}"):
        shown = section(evidence, "result", index=index, page=Path(path))
        return write_page("located.html", path, {"section": shown, "version": __version__})


def section(
    evidence: Evidence, name: str, *, index: NeuronIndex | None = None, page: Path | None = None
) -> LocatedSection:
    """What a template needs of one result.

    Args:
        evidence: the result.
        name: of the section within its page: letters, digits and hyphens.
        index: whose pages of neurons are linked to.
        page: where the page will be.

    Raises RunMismatch for an index of other weights.
    """
    neurons = evidence.neurons
    link: Links | None = None
    if index is not None and page is not None:
        require_same(index, neurons.model)
        link = links_from(page, index)
    filters = "thresholds" in neurons.provenance
    columns = [score for score in neurons.scores if not score.endswith("_patch")]
    edit = neurons.provenance.get("edit")
    how = f" ({edit['method']})" if isinstance(edit, dict) and "method" in edit else ""
    return LocatedSection(
        name=name,
        concept=neurons.concept,
        evidence=evidence,
        pictures=(
            ("original", photo(with_boxes(evidence.original, evidence.boxes))),
            (f"edited{how}", photo(evidence.edited)),
            ("mask: what the edit could change", mask_picture(evidence.mask)),
        ),
        background=photo(evidence.original),
        ratio=f"{evidence.original.width} / {evidence.original.height}",
        lines=tuple(_lines(evidence)),
        columns=tuple(_STAGES.get(score, score) if filters else score for score in columns),
        rows=tuple(_rows(evidence, columns, link)),
        exchanged=tuple((told, evidence.exchanged[name]) for name, told in _SETS.items() if name in evidence.exchanged),
        hidden=len(neurons) - len(evidence.units),
        shown_layers=tuple(sorted({neuron.layer for neuron in neurons[: len(evidence.units)]})),
        layers=charts.layers(neurons, evidence.widths),
        thresholds=tuple(_thresholds(evidence)),
        settings=(
            ("model", f"{neurons.model.get('id', '')}, weights {neurons.model.get('fingerprint', '')}"),
            ("method", neurons.method),
            ("site", neurons.site),
            *flattened({"options": neurons.options, "provenance": neurons.provenance}),
            *flattened(evidence.environment),
        ),
    )


def flattened(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """Settings within settings as `a.b`, each with its value as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(evidence: Evidence) -> Iterable[ConditionLine]:
    for spoken in evidence.spoken:
        label, lost = _CONDITIONS[spoken.condition]
        captions = tuple((marked(text, evidence.neurons.concept), count) for text, count in counted(spoken.texts))
        draws, named = len(spoken.texts), sum(count for caption, count in captions if names(caption))
        right = draws - named if lost else named
        yield ConditionLine(label, captions, draws, named, None if lost is None else 2 * right > draws)


def _rows(evidence: Evidence, columns: Sequence[str], link: Links | None) -> Iterable[NeuronRow]:
    width, height = evidence.original.size
    for k, unit in enumerate(evidence.units):
        neuron, peak = evidence.neurons[k], None
        if unit.box is not None:
            # Cells at the border can reach beyond the picture, where the processor padded it.
            x0, y0 = max(0.0, unit.box[0]), max(0.0, unit.box[1])
            x1, y1 = min(float(width), unit.box[0] + unit.box[2]), min(float(height), unit.box[1] + unit.box[3])
            peak = (100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height)
        yield NeuronRow(
            neuron.layer,
            neuron.unit,
            tuple(evidence.neurons.scores[name][k] for name in columns),
            unit,
            evidence.words[k],
            evidence.words.beside[k],
            evidence.words.quantiles[k],
            heat(evidence.maps[k]),
            peak if peak is not None and peak[2] > 0 and peak[3] > 0 else None,
            _place(unit),
            "" if link is None else link(neuron),
        )


def _place(unit: ShownNeuron) -> str:
    if unit.cell is not None:
        return f"row {unit.cell[0]}, column {unit.cell[1]}"
    return "" if unit.token is None else f"image token {unit.token}"


def _thresholds(evidence: Evidence) -> Iterable[tuple[str, str, charts.Thresholds | None]]:
    """Title, the choice in words, and the plot where there is a curve."""
    cuts: Any = evidence.neurons.provenance.get("thresholds", {})
    for name, cut in cuts.items():
        value = "keeps nothing" if cut["threshold"] is None else f"> {cut['threshold']:.4g}"
        text = f"{value} by {cut['rule']}"
        if cut["achieved"] is not None:
            text += f"; estimated share of false finds {cut['achieved']:.2f}, from {cut['decoys']} controls"
        curve = evidence.curves.get(name)
        yield _STAGES.get(name, name), text, None if curve is None else charts.thresholds(curve)

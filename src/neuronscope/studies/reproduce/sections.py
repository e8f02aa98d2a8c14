"""The document of all numbers as sections of a report. Nothing is computed here but shares of widths and counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ...report.blocks import Block, Figure, Heading, Listing, Notes, Section, StyledText, grid, text
from ...report.cells import NOTHING, Cell, count, interval, p_value, share, shares
from .published_sections import published_concepts, published_means, published_table_3
from .verdict import verdict

Document: TypeAlias = Mapping[str, Any]

_ALL = "all concepts"

_ABLATIONS: Mapping[str, str] = {
    "zero": "the neurons are set to zero",
    "mean": "the neurons are set to their mean activation over all images",
    "patch": "the neurons take their activations from the edited picture of the sample they were located in, on its "
    "own image and, token by token, on all others",
}

#: Unit of noise levels by the setting `scale`.
UNITS: Mapping[str, str] = {
    "absolute": "activation units",
    "difference": "median activation differences of the sample's two-stage set",
    "deviation": "standard deviations of each neuron over the image tokens",
}

_CONDITIONS = {
    "AlreadyUsed": "the image stands for another concept",
    "NoInstance": "no annotated instance but a crowd",
    "AreaOutOfRange": "the object's share of the picture is out of range",
    "ObjectTooSmall": "the object is too small as the model sees it",
    "ConceptNotNamed": "the caption does not name the concept",
    "ConceptStillNamed": "the caption of the edited image still names the concept",
    "OtherConceptRemoved": "the edit took another concept away, too",
    "UnsegmentedScript": "words of the caption's script cannot be told apart",
    "NotFinite": "the model gives numbers that are none",
    "InvalidSample": "the picture, a box or a mask cannot be used",
    "ImageTokenMismatch": "where the image tokens lie on the picture cannot be told",
}


def sections(document: Document) -> list[Section]:
    """Verdict, opening, every section of :func:`neuronscope.studies.reproduce.numbers.document`, and the settings."""
    absent = document["absent"]
    found = [Section("verdict", "", [text(verdict(document))]), Section("opening", "", _opening(document))]
    lacking = _lacking(document)
    for name, title, make, figures in _SECTIONS:
        blocks = [text(absent[name])] if name in absent else [*make(document), *lacking]
        found.append(Section(name, title, blocks, figures))
    return [*found, Section("settings", "Settings and versions", _settings(document))]


def _lacking(document: Document) -> list[Block]:
    """Under every table: which concepts are in it with fewer samples than asked for, or not at all."""
    missing = document.get("missing") or {}
    if not missing:
        return []
    return [text(f"Fewer samples than asked for (--allow-missing): {', '.join(missing)}; see the top.")]


def _opening(document: Document) -> list[Block]:
    level = UNITS.get(str(document["settings"].get("scale")))
    found: list[Block] = [
        text(
            "S_se, suppression effectiveness, is the share of captions that no longer name the concept; S_re, "
            "retention, the share of captions of other images that still name theirs; S_mean = (S_se + S_re) / 2, and "
            "J = S_se + S_re - 1. All are shares from 0 to 1, "
            "J from -1; no effect and total destruction both have J = 0 and S_mean = 0.5. Brackets hold 95 % intervals."
        )
    ]
    if level:
        found.append(text(f"Noise levels count in {level}."))
    if ablations := [
        one["name"] for one in document["conditions"] if one["level"] is None and one["name"] in _ABLATIONS
    ]:
        found.append(text("; ".join(f"Condition {name!r}: {_ABLATIONS[name]}" for name in ablations) + "."))
    if document["controls"]:
        found.append(text(f"Random control: {', '.join(document['controls'])}."))
    if missing := document.get("missing"):
        found.append(
            text(StyledText("With fewer samples than asked for:", "strong"), f" {'; '.join(missing.values())}.")
        )
    if unpaired := document.get("unpaired"):
        found.append(
            text(
                StyledText("Refused:", "strong"),
                f" {unpaired} samples are in no comparison, because some method could not be used on them; which, and "
                "why, stands with the sizes of the sets.",
            )
        )
    if left := document["unfinished"]:
        pairs = "; ".join(f"{pair['method']} under {pair['condition']}" for pair in left)
        found.append(text(StyledText("Not finished, and left out:", "strong"), f" {pairs}."))
    return found


def _table_2(document: Document) -> list[Block]:
    section = document["table_2"]
    rows = [
        [
            row["scope"],
            row["method"],
            *(interval(row[name], signed=name == "j") for name in ("s_se", "s_re", "s_mean", "j", "held_out_s_se")),
            Cell(f"{row['own_trials']} + {row['other_trials']}", row["own_trials"]),
        ]
        for row in section["means"]
    ]
    header = ["condition", "method", "S_se", "S_re", "S_mean", "J", "S_se held out", "captions, own + other"]
    held_out = section["held_out_absent"]
    note = (
        f"There is no held-out S_se: {held_out}."
        if held_out
        else "Held out: without the image that the neurons were located in."
    )
    return [
        Heading("Means over concepts, this run"),
        grid(header, rows, 2),
        text(note),
        *published_means(document),
        *_concepts(document),
        *published_concepts(document),
    ]


def _concepts(document: Document) -> list[Block]:
    methods = list(dict.fromkeys(row["method"] for row in document["table_2"]["concepts"]))
    scopes = list(dict.fromkeys(row["scope"] for row in document["table_2"]["concepts"]))
    found = {(r["concept"], r["scope"], r["method"]): _scores(r) for r in document["table_2"]["concepts"]}
    found |= {(_ALL, r["scope"], r["method"]): _scores(r) for r in document["table_2"]["means"]}
    rows = [
        [concept, scope, *(found.get((concept, scope, method), NOTHING) for method in methods)]
        for concept in (*document["concepts"], _ALL)
        for scope in scopes
    ]
    note = "Every cell: S_se / S_re / S_mean / J. Intervals and numbers of captions are in tables.json."
    return [Heading("Concepts, this run"), text(note), grid(["concept", "condition", *methods], rows, 2)]


def _scores(row: Mapping[str, Any]) -> Cell:
    return shares(row[name]["value"] for name in ("s_se", "s_re", "s_mean", "j"))


def _differences(document: Document) -> list[Block]:
    section = document["differences"]
    header = ["condition", "difference", "J", "p", "S_se", "p", "S_re", "p"]
    rows: list[list[str | Cell]] = []
    for row in section["rows"]:
        cells = [cell for k in ("j", "s_se", "s_re") for cell in (interval(row[k], signed=True), p_value(row[k]["p"]))]
        rows.append([row["scope"], f"{row['first']} - {row['second']}", *cells])
    n = section["concepts"]
    least = 2 ** (1 - n)
    note = (
        f"p: two-sided sign flips of the {n} differences of concepts; the smallest that {n} concepts can give is "
        f"{p_value(least).text}. They are not corrected for the number of comparisons."
    )
    return [grid(header, rows, 2), text(note)]


def _table_3(document: Document) -> list[Block]:
    section = document["table_3"]
    rows = [_caption_row(document, scope, name) for scope, name in _caption_keys(section["rows"])]
    how = (
        "Captions of the concept's own images under the intervention against captions of their edited images without "
        "it. An intervention without effect scores high, too: read every column with its S_se. Intervals are over "
        "concepts."
    )
    notes = {name: _provenance(found) for name, found in section["provenance"].items()}
    table = grid(["condition", "metric", *document["methods"]], rows, 2)
    return [text(how), table, Notes(notes), *published_table_3(document)]


def _caption_keys(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """For every scope S_se first, then its metrics."""
    for scope in dict.fromkeys(row["scope"] for row in rows):
        yield scope, "S_se"
        yield from dict.fromkeys((scope, row["metric"]) for row in rows if row["scope"] == scope)


def _caption_row(document: Document, scope: str, name: str) -> list[str | Cell]:
    if name == "S_se":
        cells = {r["method"]: interval(r["s_se"]) for r in document["table_2"]["means"] if r["scope"] == scope}
        return [scope, name, *(cells.get(method, NOTHING) for method in document["methods"])]
    rows = document["table_3"]["rows"]
    cells = {r["method"]: interval(r) for r in rows if (r["scope"], r["metric"]) == (scope, name)}
    return [scope, Cell(name, note=name), *(cells.get(method, NOTHING) for method in document["methods"])]


def _provenance(how: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in _flat(how)) + "."


def _layers(document: Document) -> list[Block]:
    section = document["layers"]
    header = [
        "method", "neurons", "different", "lower third", "middle third", "upper third", "last layer", "median layer",
        "most above uniform",
    ]  # fmt: skip
    rows = [[method, *_layer_cells(found)] for method, found in section["methods"].items()]
    last = section["widths"][-1] / sum(section["widths"])
    uniform = [*map(share, section["uniform"]), share(last), NOTHING, NOTHING]
    rows.append(["uniform choice", NOTHING, NOTHING, *uniform])
    note = (
        f"Neurons of all sets together, over {len(section['widths'])} layers counted from 0; thirds and last layer are "
        "shares. Changes of the last layer at image positions cannot reach any word."
    )
    return [grid(header, rows), text(note)]


def _layer_cells(found: Mapping[str, Any]) -> list[str | Cell]:
    peak = found["peak"]
    return [
        count(found["total"]),
        count(found["different"]),
        *map(share, found["thirds"] or [None] * 3),
        share(found["last_layer"]),
        count(None if peak is None else found["median_layer"]),
        NOTHING if peak is None else f"layer {peak['layer']}, {peak['over_expected']:.1f} times",
    ]


def _sizes(document: Document) -> list[Block]:
    found = document["sizes"]
    refused = any(row.get("refused") for row in found.values())
    header = ["method", "samples", "mean", "median", "smallest", "largest", "empty sets", *(["refused"] * refused)]
    rows = [
        [
            method, count(row["samples"]), count(row["mean"], ".1f"), count(row["median"], "g"),
            count(row["smallest"]), count(row["largest"]), count(row["empty"]),
            *([count(row.get("refused"))] * refused),
        ]
        for method, row in found.items()
    ]  # fmt: skip
    blocks: list[Block] = [text("Neurons per set; one set per sample."), grid(header, rows)]
    if refused:
        blocks.append(
            text("A method has no set for a sample that it refuses, which is something else than an empty one.")
        )
    for method, row in found.items():
        blocks += [text(f"{method}, {number} times: {why}") for why, number in row.get("reasons", {}).items()]
    return blocks


def _rejections(document: Document) -> list[Block]:
    section = document["rejections"]
    kept = section["kept"]
    seen = None if kept is None else kept + section["rejected"]
    rows = [
        [reason, _CONDITIONS.get(reason, NOTHING), count(lost), share(seen and lost / seen)]
        for reason, lost in section["reasons"].items()
    ]
    rows.append(["", "kept", count(kept), share(section["accepted"])])
    header = ["condition", "why the candidate was rejected", "candidates", "share"]
    note = "Conditions are checked in a fixed order; only the first that fails is counted."
    return [grid(header, rows, 2), text(note)]


def _localisation(document: Document) -> list[Block]:
    names = {
        "iou_per_image": "IoU, own quantile",
        "iou_dataset": "IoU, data set's cut",
        "iou_area": "IoU, object's area",
        "pointing": "pointing game",
        "energy": "energy on object",
        "object_share": "object's share",
    }
    rows = [[m, *(interval(found[name]) for name in names)] for m, found in document["localisation"].items()]
    counts = {cell["samples"] for found in document["localisation"].values() for cell in found.values() if cell}
    over = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))
    note = (
        f"Shares; means over {over} samples with neurons, intervals over samples. The object's share of the picture is "
        "what energy is for a map that is the same everywhere."
    )
    return [grid(["method", *names.values()], rows), text(note)]


def _agreement(document: Document) -> list[Block]:
    names = {"average_precision": "average precision", "precision": "precision", "recall": "recall"}
    found = document["agreement"].items()
    order = sorted(found, key=lambda item: -(item[1]["average_precision"] or {"value": -1.0})["value"])
    rows = [[method, *(interval(row[name]) for name in names)] for method, row in order]
    note = "Shares, against the planted neurons; means over samples, the best average precision first."
    return [grid(["method", *names.values()], rows), text(note)]


def _random_sets(document: Document) -> list[Block]:
    section = document["random_sets"]
    rows = [[g["concept"], g["source"], p_value(g["p"]), p_value(g["adjusted"])] for g in section["groups"]]
    note = (
        f"{section['below_rate']} of {len(rows)} groups differ from layer-matched random sets at a false discovery "
        f"rate of {section['rate']:g}."
    )
    return [text(note), grid(["concept", "located in", "empirical p", "adjusted"], rows, 2)]


def _sweeps(document: Document) -> list[Block]:
    header = ["option", "value", "neurons per set", "S_se", "S_re", "J"]
    rows = [
        [name, count(p["threshold"], "g"), count(p["n_neurons"], ".1f"), *(share(p[k]) for k in ("s_se", "s_re", "j"))]
        for name, points in document["sweeps"].items()
        for p in points
    ]
    return [grid(header, rows)]


def _matching(document: Document) -> list[Block]:
    rows = document["matching"]["rows"]
    modes = list(dict.fromkeys(row["match"] for row in rows))
    found: dict[tuple[str, str], dict[str, Cell]] = {}
    for row in rows:
        scores = shares(row[name] for name in ("s_se", "s_re", "j"))
        found.setdefault((row["scope"], row["method"]), {})[row["match"]] = scores
    cells = [[*pair, *(scores.get(mode, NOTHING) for mode in modes)] for pair, scores in found.items()]
    used = document["settings"].get("match", modes[0])
    note = f"The same captions, by how names are matched; the tables above use {used}. Every cell: S_se / S_re / J."
    return [text(note), grid(["condition", "method", *modes], cells, 2)]


def _settings(document: Document) -> list[Block]:
    parts = {"Settings": document["settings"], "Statistics": document["statistics"]}
    parts |= {f"Environment {k}": one for k, one in enumerate(document["environments"], 1)}
    found = [block for title, values in parts.items() for block in (Heading(title), _listed(values))]
    return found if document["environments"] else [*found, text("Versions were not recorded.")]


def _listed(values: Mapping[str, Any]) -> Block:
    """Values of any length, one a line; in a table the longest would widen every row."""
    items = [
        (StyledText(f"{name}: "), StyledText(json.dumps(value, ensure_ascii=False), "code"))
        for name, value in _flat(values)
    ]
    return Listing(tuple(items)) if items else text("None were recorded.")


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Settings within settings as `a.b`."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


#: Name in the document, title, what makes its blocks, and its figures.
_SECTIONS: tuple[tuple[str, str, Callable[[Document], list[Block]], tuple[Figure, ...]], ...] = (
    (
        "table_2", "Table II: captions under intervention", _table_2,
        (
            Figure("j", "J by method, with 95 % intervals"),
            Figure("levels", "S_se and S_re by noise level, with 95 % intervals"),
        ),
    ),
    ("differences", "Differences between methods", _differences, ()),
    ("table_3", "Table III: captions against those of the edited images", _table_3, ()),
    (
        "layers", "Layers", _layers,
        (
            Figure("layers", "Neurons per layer"),
            Figure("layers-ratio", "Neurons per layer over uniform choice"),
        ),
    ),
    ("sizes", "Sizes of the sets", _sizes, ()),
    ("rejections", "Samples", _rejections, ()),
    ("localisation", "Localisation of the heat maps", _localisation, ()),
    (
        "agreement", "Agreement with planted neurons", _agreement,
        (Figure("agreement", "Average precision against planted neurons, with 95 % intervals"),),
    ),
    ("random_sets", "Groups against random sets", _random_sets, ()),
    ("sweeps", "Thresholds", _sweeps, (Figure("sweeps", "Scores and set sizes by threshold"),)),
    ("matching", "Ways to match names", _matching, ()),
)  # fmt: skip

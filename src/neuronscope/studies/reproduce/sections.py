"""The document of all numbers as a text with aligned tables. Nothing is computed here but differences of widths.

Numbers have three decimals and stand with their 95 % interval in brackets; a dash stands for what is not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ...report.markdown import NOTHING, interval, number, p_value, table

Document: TypeAlias = Mapping[str, Any]

_ALL = "all concepts"

_ABLATIONS: Mapping[str, str] = {
    "zero": "the neurons are set to zero",
    "mean": "the neurons are set to their mean activation over all images",
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
    "InvalidSample": "the picture, a box or a mask cannot be used",
}


def markdown(document: Document, figures: Mapping[str, str]) -> str:
    """The whole text.

    Args:
        document: from :func:`neuronscope.studies.reproduce.numbers.document`.
        figures: name -> path of a picture, relative to the text; those that could not be drawn are not there.
    """
    parts = ["# Evaluation", _opening(document)]
    for title, name, write in _SECTIONS:
        parts.append(f"## {title}")
        parts.append(document["absent"][name] if name in document["absent"] else write(document))
        parts += [f"![{_FIGURES[key]}]({figures[key]})" for key in _SHOWN.get(name, ()) if key in figures]
    parts += ["## Settings and versions", _settings(document)]
    return "\n\n".join(parts) + "\n"


def _opening(document: Document) -> str:
    level = UNITS.get(str(document["settings"].get("scale")))
    lines = [
        "S_se is the share of captions that no longer name the concept, S_re the share of captions of other images "
        "that still name theirs, S_mean = (S_se + S_re) / 2, and J = S_se + S_re - 1. All are shares from 0 to 1, J "
        "from -1; no effect and total destruction both have J = 0 and S_mean = 0.5. Brackets hold 95 % intervals.",
    ]
    if level:
        lines.append(f"Noise levels count in {level}.")
    if ablations := [
        one["name"] for one in document["conditions"] if one["level"] is None and one["name"] in _ABLATIONS
    ]:
        lines.append("; ".join(f"Condition {name!r}: {_ABLATIONS[name]}" for name in ablations) + ".")
    if document["controls"]:
        lines.append(f"Random control: {', '.join(document['controls'])}.")
    if left := document["unfinished"]:
        pairs = "; ".join(f"{pair['method']} under {pair['condition']}" for pair in left)
        lines.append(f"**Not finished, and left out:** {pairs}.")
    return "\n\n".join(lines)


def _table_2(document: Document) -> str:
    section = document["table_2"]
    rows = [
        [
            row["scope"],
            row["method"],
            *(interval(row[name], signed=name == "j") for name in ("s_se", "s_re", "s_mean", "j", "held_out_s_se")),
            f"{row['own_trials']} + {row['other_trials']}",
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
    means = f"### Means over concepts, this run\n\n{table(header, rows, 2)}\n\n{note}"
    return "\n\n".join([means, _published_means(document), _concepts(document), _published_concepts(document)])


def _published_means(document: Document) -> str:
    header = ["method", "S_se", "S_re", "S_mean", "J"]
    rows = [
        [row["method"], *(number(row[k], signed=k == "j") for k in ("s_se", "s_re", "s_mean", "j"))]
        for row in document["published"]["table_2_mean"]
    ]
    return f"### {_published_title(document)}: means\n\n{table(header, rows)}\n\n{_other_work(document)}"


def _other_work(document: Document) -> str:
    found = document["published"]
    levels = ", ".join(f"{level:g}" for level in found["levels"])
    return (
        f"{found['source']}: 30 concepts, {found['images_per_concept']} images each, noise {levels} in activation "
        f"units, {found['draws']} draws. The paper reports no intervals, no random control and no J; its J is computed "
        "here from its S_se and S_re."
    )


def _published_title(document: Document) -> str:
    return f"Published ({document['published']['model']}, {document['published']['data']})"


def _concepts(document: Document) -> str:
    methods = list(dict.fromkeys(row["method"] for row in document["table_2"]["concepts"]))
    scopes = list(dict.fromkeys(row["scope"] for row in document["table_2"]["concepts"]))
    found = {(r["concept"], r["scope"], r["method"]): _scores(r) for r in document["table_2"]["concepts"]}
    found |= {(_ALL, r["scope"], r["method"]): _scores(r) for r in document["table_2"]["means"]}
    rows = [
        [concept, scope, *(found.get((concept, scope, method), NOTHING) for method in methods)]
        for concept in (*document["concepts"], _ALL)
        for scope in scopes
    ]
    text = "Every cell: S_se / S_re / S_mean / J. Intervals and numbers of captions are in tables.json."
    return f"### Concepts, this run\n\n{text}\n\n{table(['concept', 'condition', *methods], rows, 2)}"


def _scores(row: Mapping[str, Any]) -> str:
    return " / ".join(number(row[name]["value"]) for name in ("s_se", "s_re", "s_mean", "j"))


def _published_concepts(document: Document) -> str:
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for row in document["published"]["table_2"]:
        scores = (row["s_se"], row["s_re"], row["s_mean"])
        rows.setdefault((row["concept"], row["level"]), {})[row["method"]] = " / ".join(map(number, scores))
    methods = [row["method"] for row in document["published"]["table_2_mean"]]
    cells = [[concept, f"noise {n}", *(row[method] for method in methods)] for (concept, n), row in rows.items()]
    title = f"### {_published_title(document)}: the concepts that the paper prints"
    return f"{title}\n\nEvery cell: S_se / S_re / S_mean.\n\n{table(['concept', 'condition', *methods], cells, 2)}"


def _differences(document: Document) -> str:
    section = document["differences"]
    header = ["condition", "difference", "J", "p", "S_se", "p", "S_re", "p"]
    rows: list[list[str]] = []
    for row in section["rows"]:
        cells = [cell for k in ("j", "s_se", "s_re") for cell in (interval(row[k], signed=True), p_value(row[k]["p"]))]
        rows.append([row["scope"], f"{row['first']} - {row['second']}", *cells])
    n = section["concepts"]
    least = 2 ** (1 - n)
    note = (
        f"p: two-sided sign flips of the {n} differences of concepts; the smallest that {n} concepts can give is "
        f"{p_value(least)}. They are not corrected for the number of comparisons."
    )
    return f"{table(header, rows, 2)}\n\n{note}"


def _table_3(document: Document) -> str:
    section = document["table_3"]
    rows = [_caption_row(document, scope, name) for scope, name in _caption_keys(section["rows"])]
    notes = [f"[^{name}]: {_provenance(how)}" for name, how in section["provenance"].items()]
    text = (
        "Captions of the concept's own images under the intervention against captions of their edited images without "
        "it. An intervention without effect scores high, too: read every column with its S_se. Intervals are over "
        "concepts."
    )
    columns = ["condition", "metric", *document["methods"]]
    return "\n\n".join([text, table(columns, rows, 2), "\n".join(notes), _published_table_3(document)])


def _caption_keys(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """For every scope S_se first, then its metrics."""
    for scope in dict.fromkeys(row["scope"] for row in rows):
        yield scope, "S_se"
        yield from dict.fromkeys((scope, row["metric"]) for row in rows if row["scope"] == scope)


def _caption_row(document: Document, scope: str, name: str) -> list[str]:
    if name == "S_se":
        cells = {r["method"]: interval(r["s_se"]) for r in document["table_2"]["means"] if r["scope"] == scope}
        return [scope, name, *(cells.get(method, NOTHING) for method in document["methods"])]
    rows = document["table_3"]["rows"]
    cells = {r["method"]: interval(r) for r in rows if (r["scope"], r["metric"]) == (scope, name)}
    return [scope, f"{name}[^{name}]", *(cells.get(method, NOTHING) for method in document["methods"])]


def _provenance(how: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in _flat(how)) + "."


def _published_table_3(document: Document) -> str:
    found = {row["method"]: row for row in document["published"]["table_3"]}
    s_se = {row["method"]: row["s_se"] for row in document["published"]["table_2_mean"]}
    names = {"BLEU": "bleu", "ROUGE-1": "rouge_1", "ROUGE-L": "rouge_l", "BERTScore": "bertscore"}
    rows = [["S_se", *(number(s_se[method]) for method in found)]]
    rows += [[name, *(number(row[key]) for row in found.values())] for name, key in names.items()]
    note = "The paper states neither the order of its BLEU nor the model of its BERTScore."
    return f"### {_published_title(document)}: Table III\n\n{table(['metric', *found], rows)}\n\n{note}"


def _layers(document: Document) -> str:
    section = document["layers"]
    header = [
        "method", "neurons", "different", "lower third", "middle third", "upper third", "last layer", "median layer",
        "most above uniform",
    ]  # fmt: skip
    rows = [[method, *_layer_cells(found)] for method, found in section["methods"].items()]
    last = section["widths"][-1] / sum(section["widths"])
    uniform = [*map(number, section["uniform"]), number(last), NOTHING, NOTHING]
    rows.append(["uniform choice", NOTHING, NOTHING, *uniform])
    note = (
        f"Neurons of all sets together, over {len(section['widths'])} layers counted from 0; thirds and last layer are "
        "shares. Changes of the last layer at image positions cannot reach any word."
    )
    return f"{table(header, rows)}\n\n{note}"


def _layer_cells(found: Mapping[str, Any]) -> list[str]:
    peak = found["peak"]
    return [
        str(found["total"]),
        str(found["different"]),
        *(map(number, found["thirds"]) if found["thirds"] else [NOTHING] * 3),
        number(found["last_layer"]),
        NOTHING if peak is None else str(found["median_layer"]),
        NOTHING if peak is None else f"layer {peak['layer']}, {peak['over_expected']:.1f} times",
    ]


def _sizes(document: Document) -> str:
    header = ["method", "samples", "mean", "median", "smallest", "largest", "empty sets"]
    rows = [
        [
            method, str(row["samples"]), f"{row['mean']:.1f}", f"{row['median']:g}", str(row["smallest"]),
            str(row["largest"]), str(row["empty"]),
        ]
        for method, row in document["sizes"].items()
    ]  # fmt: skip
    return f"Neurons per set; one set per sample.\n\n{table(header, rows)}"


def _rejections(document: Document) -> str:
    section = document["rejections"]
    kept = section["kept"]
    seen = None if kept is None else kept + section["rejected"]
    rows = [
        [reason, _CONDITIONS.get(reason, NOTHING), str(count), number(seen and count / seen)]
        for reason, count in section["reasons"].items()
    ]
    rows.append(["", "kept", NOTHING if kept is None else str(kept), number(section["accepted"])])
    header = ["condition", "why the candidate was rejected", "candidates", "share"]
    return f"{table(header, rows, 2)}\n\nConditions are checked in a fixed order; only the first that fails is counted."


def _localisation(document: Document) -> str:
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
    return f"{table(['method', *names.values()], rows)}\n\n{note}"


def _agreement(document: Document) -> str:
    names = {"average_precision": "average precision", "precision": "precision", "recall": "recall"}
    found = document["agreement"].items()
    order = sorted(found, key=lambda item: -(item[1]["average_precision"] or {"value": -1.0})["value"])
    rows = [[method, *(interval(row[name]) for name in names)] for method, row in order]
    note = "Shares, against the planted neurons; means over samples, the best average precision first."
    return f"{table(['method', *names.values()], rows)}\n\n{note}"


def _random_sets(document: Document) -> str:
    section = document["random_sets"]
    rows = [[g["concept"], g["source"], p_value(g["p"]), p_value(g["adjusted"])] for g in section["groups"]]
    text = (
        f"{section['below_rate']} of {len(rows)} groups differ from layer-matched random sets at a false discovery "
        f"rate of {section['rate']:g}."
    )
    return f"{text}\n\n{table(['concept', 'located in', 'empirical p', 'adjusted'], rows, 2)}"


def _sweeps(document: Document) -> str:
    header = ["option", "value", "neurons per set", "S_se", "S_re", "J"]
    rows = [
        [name, f"{p['threshold']:g}", f"{p['n_neurons']:.1f}", *map(number, (p["s_se"], p["s_re"], p["j"]))]
        for name, points in document["sweeps"].items()
        for p in points
    ]
    return table(header, rows)


def _matching(document: Document) -> str:
    rows = document["matching"]["rows"]
    modes = list(dict.fromkeys(row["match"] for row in rows))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        scores = " / ".join(number(row[name]) for name in ("s_se", "s_re", "j"))
        found.setdefault((row["scope"], row["method"]), {})[row["match"]] = scores
    cells = [[*pair, *(scores.get(mode, NOTHING) for mode in modes)] for pair, scores in found.items()]
    used = document["settings"].get("match", modes[0])
    text = f"The same captions, by how names are matched; the tables above use {used}."
    return f"{text} Every cell: S_se / S_re / J.\n\n{table(['condition', 'method', *modes], cells, 2)}"


def _settings(document: Document) -> str:
    parts = ["### Settings", _listed(document["settings"]), "### Statistics", _listed(document["statistics"])]
    for k, one in enumerate(document["environments"]):
        parts += [f"### Environment {k + 1}", _listed(one)]
    return "\n\n".join(parts if document["environments"] else [*parts, "Versions were not recorded."])


def _listed(values: Mapping[str, Any]) -> str:
    """Values of any length, one a line; in a table the longest would widen every row."""
    found = [f"- {name}: `{json.dumps(value, ensure_ascii=False)}`" for name, value in _flat(values)]
    return "\n".join(found) or "None were recorded."


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Settings within settings as `a.b`."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


#: Title, name in the document, and what writes it.
_SECTIONS: tuple[tuple[str, str, Callable[[Document], str]], ...] = (
    ("Table II: captions under intervention", "table_2", _table_2),
    ("Differences between methods", "differences", _differences),
    ("Table III: captions against those of the edited images", "table_3", _table_3),
    ("Layers", "layers", _layers),
    ("Sizes of the sets", "sizes", _sizes),
    ("Samples", "rejections", _rejections),
    ("Localisation of the heat maps", "localisation", _localisation),
    ("Agreement with planted neurons", "agreement", _agreement),
    ("Groups against random sets", "random_sets", _random_sets),
    ("Thresholds", "sweeps", _sweeps),
    ("Ways to match names", "matching", _matching),
)

#: Figure -> its caption.
_FIGURES: Mapping[str, str] = {
    "j": "J by method, with 95 % intervals",
    "levels": "S_se and S_re by noise level, with 95 % intervals",
    "layers": "Neurons per layer",
    "layers-ratio": "Neurons per layer over uniform choice",
    "agreement": "Average precision against planted neurons, with 95 % intervals",
    "sweeps": "Scores and set sizes by threshold",
}

#: Section -> the figures that stand below it.
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "table_2": ("j", "levels"),
    "layers": ("layers", "layers-ratio"),
    "agreement": ("agreement",),
    "sweeps": ("sweeps",),
}

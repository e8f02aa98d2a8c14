"""A discovery run as tables, figures and files of neurons.

discovery.json, discovery.md    all numbers, and the same for people
figures/*.png, *.svg            Pan et al.'s Figures 2 to 5, and semantic sensitivity
texts.jsonl                     the texts behind semantic sensitivity with their scores, for any other metric
neurons/NOUN.json               the neurons of every noun over all its images, for `edit`, `decode`, `heatmap`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import RunMismatch
from ...evaluate import Estimate
from ...evaluate.discovery import CONTROLS, Measured, Specificity, normalised
from ...evaluate.discovery.invariance import OTHERS
from ...evaluate.discovery.sensitivity import FOUND
from ...files import clear_result, named_like, output_folder, refusing, write_text
from ...locate.discovery import UNITS
from ...report.blocks import Block, Document, Figure, Section, Table, grid, text
from ...report.cells import interval, number
from ...report.markdown import markdown
from ...samples.lists import Refused
from ...types import Neurons
from ...view.figures import Written, styles
from .collect import Discoveries, estimates
from .concepts import Found, best_for, generic, rows_of, together
from .figures import plot_groups, plot_layer_sizes, plot_matrix, plot_sizes
from .verdict import verdict
from .work import DiscoveryRun

SCHEMA = "neuronscope.discovery/1"
_FIGURES = ("layers", "sensitivity", "region-invariance", "cross-image", "specificity", "specificity-matrix")
#: Columns of a table of measures: how they are called.
_TITLES = {FOUND: "discovered", OTHERS: "neurons of other nouns"}
_SHOWN_CONCEPTS = 60
#: What a metric that does not end at 1 is divided by to stand in a figure with others.
_PERCENT = {"clipscore": 100}


def render_discoveries(
    work: DiscoveryRun, found: Discoveries, folder: str | Path, refused: Sequence[Refused] = ()
) -> dict[str, Any]:
    """Write all files into a folder, which is made if need be, and return the document of discovery.json.

    Figures that an earlier call drew and this one has no numbers for are removed, and so are neurons of nouns that it
    wrote and that no caption names now.

    Raises InvalidOption for a folder that cannot be written to.
    """
    target = output_folder(folder)
    clear_result(target, "discovery.json")
    figures = _draw(found, output_folder(target / "figures"))
    document = _document(work, found, refused)
    document["figures"] = {name: [f"figures/{path.name}" for path in written] for name, written in figures.items()}
    document["neurons"] = _write_neurons(work, found, output_folder(target / "neurons"))
    _write_texts(work, target / "texts.jsonl")
    write_text(target / "discovery.md", _markdown(document, found))
    write_text(target / "discovery.json", json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return document


# ---- the document


def _document(work: DiscoveryRun, found: Discoveries, refused: Sequence[Refused]) -> dict[str, Any]:
    plan = work.plan
    sizes = {"ks": list(plan.ks), "group": plan.group, "group_k": plan.group_k, "shuffles": plan.shuffles}
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": {**work.run.settings, **sizes},
        "images": found.images,
        "refused": [{"where": one.where, "reason": one.reason} for one in refused],
        "captions": dict(found.captioned),
        "nouns": {noun: [row["image"] for row in rows] for noun, rows in found.nouns.items()},
        "concepts": [
            {"noun": one.noun, "best": str(one.best), "selected": list(one.selected), "tested": list(one.tested)}
            for one in found.concepts
        ],
        "best_for": {str(neuron): count for neuron, count in best_for(found.nouns).items()},
        "unit": UNITS[plan.discovery.norm],
        "layers": {str(k): {"unique": list(c.unique), "all": list(c.weighted)} for k, c in found.layers.items()},
        "sensitivity": {
            "named": _numbers(found.named),
            **{
                name: {**_numbers(one.value), "provenance": dict(one.provenance)} for name, one in found.similar.items()
            },
        },
        "region_invariance": {
            "k": {str(k): _numbers(one) for k, one in found.region.items()},
            "nouns_in_both": found.kept[0],
            "nouns": found.kept[1],
        },
        "cross_image": None,
        "specificity": {"in_image": _specific(found.in_image), "concepts": _specific(found.among)},
        "absent": dict(found.absent),
    }
    if found.cross is not None:
        document["cross_image"] = {
            "k": found.cross.k,
            "images": found.cross.images,
            "joint": _numbers(found.cross.joint),
            "pairwise": _numbers(found.cross.pairwise),
            "concepts": {noun: list(values) for noun, values in found.cross.concepts.items()},
        }
    if found.matrix is not None:
        document["specificity"]["matrix"] = found.matrix.tolist()
    return {"verdict": verdict(document), **document}


def _numbers(one: Measured | None) -> dict[str, Any]:
    if one is None:
        return {}
    return {**{name: value.to_dict() for name, value in estimates(one).items()}, "units": one.units}


def _specific(one: Specificity | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"share": _numbers(one.share), "margin": _numbers(one.margin), "chance": one.chance}


# ---- neurons


def _write_neurons(work: DiscoveryRun, found: Discoveries, folder: Path) -> dict[str, str]:
    """One file for each noun; noun -> its path. Files of nouns that are gone are removed."""
    written: dict[str, str] = {}
    options, often = work.plan.discovery, best_for(found.nouns)
    model = work.vlm.identity()  # reads all weights
    for noun, rows in found.nouns.items():
        path = folder / _file_of(noun)
        best = together(rows, options.top)
        neurons = replace(
            best,
            site=options.site,
            concept=noun,
            method=options.name,
            options=options.to_dict(),
            provenance={
                "images": [str(row["image"]) for row in rows],
                "score": "mean over images",
                "unit": UNITS[options.norm],
                "nouns the best is best for": f"{often[best[0]]} of {len(found.nouns)}",
                "finder": _of(work),
            },
            model=model,
        )
        neurons.save(path)
        written[noun] = f"neurons/{path.name}"
    for name in named_like(folder, r".+\.json"):
        if f"neurons/{name}" not in written.values() and _of_noun(folder / name, options.name):
            clear_result(folder, name)
    return written


def _of_noun(path: Path, method: str) -> bool:
    """Whether a file is one that an earlier call wrote, for a noun that no caption names any more."""
    try:
        found = Neurons.load(path)
    except RunMismatch:  # somebody else's file
        return False
    return found.method == method and path.name == _file_of(found.concept)


def _file_of(noun: str) -> str:
    return f"{quote(noun, safe=' ')}.json"


def _write_texts(work: DiscoveryRun, path: Path) -> None:
    """One line for each noun of each image and each set of neurons."""

    def key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
        return row["image"], row["sha256"], row["noun"], row["of"]

    scores: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for row in work.similar():
        scores.setdefault(key(row), {})[row["metric"]] = row["value"]
    lines = [
        json.dumps(
            {
                **{name: row[name] for name in ("image", "noun", "of", "named")},
                "neurons": [f"L{layer}.U{unit}" for layer, unit in zip(row["layers"], row["units"], strict=True)],
                "text": row["text"],
                **scores.get(key(row), {}),
            },
            ensure_ascii=False,
            allow_nan=False,
        )
        for row in rows_of(work.run, "texts", work.pictures)
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))


def _of(work: DiscoveryRun) -> Any:
    return work.run.settings["finder"]


# ---- figures


def _draw(found: Discoveries, folder: Path) -> dict[str, Written]:
    names = [FOUND, *CONTROLS, OTHERS]
    style = styles(names, [*CONTROLS, OTHERS])
    drawn: dict[str, Written] = {}
    if any(sum(counts.weighted) for counts in found.layers.values()):
        drawn["layers"] = plot_layer_sizes({k: counts.unique for k, counts in found.layers.items()}, folder / "layers")
    if found.named is not None:
        similar = {
            f"{name} / {by}" if (by := _PERCENT.get(name, 1)) > 1 else name: {
                of: Estimate(one.value / by, one.low / by, one.high / by) for of, one in estimates(given.value).items()
            }
            for name, given in found.similar.items()
        }
        drawn["sensitivity"] = plot_groups(
            {"own token named": estimates(found.named), **similar}, style, "mean over images", folder / "sensitivity"
        )
    if found.region:
        curves = {name: {k: estimates(one)[name] for k, one in found.region.items()} for name in (FOUND, *CONTROLS)}
        drawn["region-invariance"] = plot_sizes(curves, style, "region invariance", folder / "region-invariance")
    if found.cross is not None:
        groups = {
            f"joint, {found.cross.images} images": estimates(found.cross.joint),
            "pairwise Jaccard": estimates(found.cross.pairwise),
        }
        drawn["cross-image"] = plot_groups(
            groups, style, f"shared of the {found.cross.k} best neurons", folder / "cross-image"
        )
    measures = {"one caption's nouns": found.in_image, "concepts": found.among}
    specific = {
        f"{what},\n{title}": estimates(value)
        for title, one in measures.items()
        if one is not None
        for what, value in (("share", one.share), ("margin", one.margin))
    }
    if specific:
        drawn["specificity"] = plot_groups(specific, style, "diagonal of the matrix", folder / "specificity")
    if found.matrix is not None:
        shown = [concept.noun for concept in found.concepts][:_SHOWN_CONCEPTS]
        part = normalised(found.matrix)[: len(shown), : len(shown)]
        drawn["specificity-matrix"] = plot_matrix(part, shown, folder / "specificity-matrix")
    for name in set(_FIGURES) - set(drawn):
        for path in (folder / f"{name}.png", folder / f"{name}.svg"):
            with refusing(path):
                path.unlink(missing_ok=True)
    return drawn


# ---- the text


def _markdown(document: Mapping[str, Any], found: Discoveries) -> str:
    shown = {name: f"figures/{name}.png" for name in document["figures"]}
    return markdown("Discovery", _sections(document, found), shown)


def _sections(document: Mapping[str, Any], found: Discoveries) -> list[Section]:
    settings = document["settings"]
    nouns = sum(len(images) for images in document["nouns"].values())
    opening = (
        f"{document['images']} images, {nouns} nouns in their captions, {len(document['nouns'])} different; model "
        f"{settings['model']['id']} ({settings['model']['fingerprint']}). Intervals are 95 % bootstrap intervals over "
        "images, or over concepts. Random neurons, any and of the same layers, stand beside every figure."
    )
    parts: Sequence[tuple[str, Sequence[Block], Mapping[str, str]]] = [
        ("", [text(document["verdict"]), text(opening)], {}),
        ("Nouns", _nouns(found, UNITS[settings["discovery"]["norm"]]), {}),
        ("Layers", _layers(found), {"layers": "Neurons per layer for several k"}),
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


def _nouns(found: Discoveries, unit: str) -> list[Block]:
    """The best neurons of every noun, and for how many nouns the best one is best."""
    if not found.nouns:
        return [text("None.")]
    total, often = len(found.nouns), best_for(found.nouns)

    def row(noun: str, rows: Sequence[Found]) -> tuple[str, ...]:
        best = together(rows, 3)
        words = [f"{n} ({number(v)})" for n, v in zip(best, best.scores["contribution"], strict=True)]
        mark = " (any noun)" if generic(often[best[0]], total) else ""
        return noun, words[0], f"{often[best[0]]}{mark}", ", ".join(words[1:]), str(len(rows))

    head = ("noun", "best neuron", f"nouns it is best for, of {total}", "the next two", "images")
    marked = [str(neuron) for neuron, count in often.items() if generic(count, total)]
    notes = [text(f"In brackets the mean contribution over images, in {unit}.")]
    if marked:
        notes.append(
            text(f"{', '.join(marked)}: best for more than half of the nouns, so no neuron of any one of them.")
        )
    return [grid(head, [row(noun, rows) for noun, rows in found.nouns.items()], 2), *notes]


def _layers(found: Discoveries) -> list[Block]:
    depth = max((len(counts.unique) for counts in found.layers.values()), default=0)
    rows = [(str(k), *map(str, counts.unique)) for k, counts in found.layers.items()]
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

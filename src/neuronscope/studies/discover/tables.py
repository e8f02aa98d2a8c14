"""A discovery run as tables, figures and files of neurons.

discovery.json, discovery.md    all numbers, and the same for people
page.html, thumbnails           a page to share, and the pictures that it shows
figures/*.png, *.svg            Pan et al.'s Figures 2 to 5, and semantic sensitivity
texts.jsonl                     the texts behind semantic sensitivity with their scores, for any other metric
neurons/NOUN.json               the neurons of every noun over all its images, for `edit`, `decode`, `heatmap`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...evaluate import Estimate
from ...evaluate.discovery import CONTROLS, ControlledMean, Specificity, normalised
from ...evaluate.discovery.invariance import OTHERS
from ...evaluate.discovery.sensitivity import FOUND
from ...files import clear_result, output_folder, refusing, write_text
from ...locate.discovery import UNITS
from ...report.kept import earlier_pictures, keep_pictures
from ...report.markdown import markdown
from ...report.result import SHOWN
from ...samples.lists import Refused
from ...sets import save_sets
from ...types import Neurons
from ...view.figures import Written, styles
from .collect import DiscoveryFigures, estimates
from .concepts import Found, best_for, rows_of, together
from .figures import plot_groups, plot_layer_sizes, plot_matrix, plot_sizes
from .page import SCHEMA, write_page
from .sections import sections
from .verdict import verdict
from .work import DiscoveryRun

_FIGURES = ("layers", "sensitivity", "region-invariance", "cross-image", "specificity", "specificity-matrix")
_SHOWN_CONCEPTS = 60
#: Neurons of a noun that its document names; all that are kept are in its file.
_BEST = 3
_PAGE = "page.html"
#: What a metric that does not end at 1 is divided by to stand in a figure with others.
_PERCENT = {"clipscore": 100}


def render_discoveries(
    work: DiscoveryRun,
    found: DiscoveryFigures,
    folder: str | Path,
    refused: Sequence[Refused] = (),
    recipe: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write all files into a folder, which is made if need be, and return the document of discovery.json.

    `recipe` is how the run is made again, as :meth:`neuronscope.studies.discover.settings.DiscoveryJob.recipe` has it.
    Figures that an earlier call drew and this one has no numbers for are removed, and so are neurons of nouns that it
    wrote and that no caption names now.

    Raises InvalidOption for a folder that cannot be written to.
    """
    target = output_folder(folder)
    clear_result(target, "discovery.json", _PAGE, *earlier_pictures(target))
    shown = {picture.path: picture.name for picture in work.pictures[:SHOWN]}
    figures = _draw(found, output_folder(target / "figures"))
    document = _document(work, found, refused)
    document["figures"] = {name: [f"figures/{path.name}" for path in written] for name, written in figures.items()}
    document["neurons"] = save_sets(target, _neurons(work, found), instead_of=work.plan.discovery.name)
    _write_texts(work, target / "texts.jsonl")
    document["thumbnails"] = {shown[path]: name for path, name in keep_pictures(target, shown).items()}
    document["recipe"] = dict(recipe)
    figures_shown = {name: f"figures/{name}.png" for name in figures}
    write_text(target / "discovery.md", markdown("Discovery", sections(document), figures_shown))
    write_text(target / "discovery.json", json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_page(target, target / _PAGE)
    return document


# ---- the document


def _document(work: DiscoveryRun, found: DiscoveryFigures, refused: Sequence[Refused]) -> dict[str, Any]:
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
        "best": {noun: _best(rows) for noun, rows in found.nouns.items()},
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


def _best(rows: Sequence[Found]) -> list[list[Any]]:
    """The best neurons of a noun over all its images, each with its mean contribution."""
    best = together(rows, _BEST)
    return [[str(one), value] for one, value in zip(best, best.scores["contribution"], strict=True)]


def _numbers(one: ControlledMean | None) -> dict[str, Any]:
    if one is None:
        return {}
    return {**{name: value.to_dict() for name, value in estimates(one).items()}, "units": one.units}


def _specific(one: Specificity | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"share": _numbers(one.share), "margin": _numbers(one.margin), "chance": one.chance}


# ---- neurons


def _neurons(work: DiscoveryRun, found: DiscoveryFigures) -> dict[str, Neurons]:
    """The neurons of every noun, over all its images."""
    sets: dict[str, Neurons] = {}
    options, often = work.plan.discovery, best_for(found.nouns)
    model = work.vlm.identity()  # reads all weights
    for noun, rows in found.nouns.items():
        best = together(rows, options.top)
        sets[noun] = replace(
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
    return sets


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


def _draw(found: DiscoveryFigures, folder: Path) -> dict[str, Written]:
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

"""The page of a `reproduce` run, without the model: its tables and figures, its samples, and every caption.

Pictures are not in a run. Where the data are given, each is looked for by its recorded name there and has to be the one
that the run used (SHA-256 of its pixels); the edited one is made again, or is in the run where a model drew it, and
has to be the same, too.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt16
from markupsafe import Markup
from PIL import Image

from ...errors import InvalidOption, RunMismatch
from ...parsing import parse_json, read_json
from ...report.blocks import Section
from ...report.data_uri import THUMBNAIL, photo, uri, with_boxes
from ...report.page import telling_damage, write_page
from ...run.directory import Run
from ...samples.boxes import Box
from ...samples.image import read_image
from ...samples.inpaint import INPAINTERS, inpaint
from ...version import __version__
from .gallery import MISSING, CaptionVariant, Gallery, Shot
from .job import AGAIN
from .numbers import SCHEMA
from .pixels import decode_mask, pixel_hash, put_inside
from .sections import sections
from .shown import DataPictures
from .ties import Ties

_TABLES = "neuronscope reproduce --tables-only"

#: Tables with more rows than this are folded.
_LONG = 24


@dataclass(frozen=True)
class RunPage:
    """What the page of a run is made of.

    Attributes:
        title: of the page.
        model, data: one line each.
        sections: the verdict, the opening, and the tables that there are.
        absent: title -> why there is no such table.
        figures: name -> SVG.
        gallery: the captions.
        again: the command that goes on with the run; empty where it was made from Python.
        ties: how many captions hung on less than rounding, in a sentence; empty where nobody counted.
    """

    title: str
    model: str
    data: str
    sections: Sequence[Section]
    absent: Mapping[str, str]
    figures: Mapping[str, bytes]
    gallery: Gallery
    again: str
    ties: str = ""


def write_run(page: RunPage, path: str | Path) -> Path:
    """Write the page of a run.

    Raises InvalidOption where it cannot be written, and RunMismatch for tables that cannot be shown.
    """
    with telling_damage("the run's tables.json"):
        context: dict[str, Any] = {
            "page": page,
            "figures": {name: uri(svg, "image/svg+xml") for name, svg in page.figures.items()},
            "long": _LONG,
            "data": embedded(page.gallery.to_dict()),
            "version": __version__,
        }
        return write_page("run.html", path, context)


def embedded(document: Mapping[str, Any]) -> Markup:
    """A document as JSON that can stand inside a script element: no text in it can end the element."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}.items():
        text = text.replace(character, escape)
    return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def run_page(
    folder: str | Path, data: str | Path | None = None, *, split: str | None = None, allow_outside: bool = False
) -> RunPage:
    """Everything that the page of a run shows.

    Args:
        folder: the run directory, with the tables that `neuronscope reproduce` writes last.
        data: the data, for thumbnails: a folder, or what else the run took.
        split: of annotated data.
        allow_outside: also show pictures outside that folder, where links or the run's own names lead there.

    Raises RunMismatch for a folder that is no run, has no tables yet or damaged ones, and for pictures that are not
    those of the run; InvalidSample for those that links lead to outside; InvalidOption for a data folder that is not
    there.
    """
    root = Path(folder)
    run = Run.existing(root)
    with telling_damage(root / "tables.json"):
        document = _document(root)
        found = None if data is None else DataPictures(data, split, allow_outside=allow_outside)
        return _page(root, run, document, found)


def _page(root: Path, run: Run, document: dict[str, Any], data: DataPictures | None) -> RunPage:
    figures = {name: root / "figures" / f"{name}.svg" for name in document.get("figures", {})}
    drawn = {name: path.read_bytes() for name, path in figures.items() if path.is_file()}
    model, settings = run.settings.get("model"), run.settings
    identity: Mapping[str, Any] = model if isinstance(model, dict) else {}
    order = [one["name"] for one in document["conditions"]]
    gallery = read_gallery(run, data, order)
    shots = gallery.shots
    found, absent = sections(document), document["absent"]
    return RunPage(
        title=f"Evaluation of {len(document['methods'])} methods on {len(shots)} samples",
        model=f"Model {identity.get('id')}, weights {identity.get('fingerprint')}, {identity.get('dtype')}.",
        data=f"{len(document['concepts'])} concepts; preset {settings.get('preset')}, seed {settings.get('seed')}.",
        sections=[one for one in found if one.name not in absent],
        absent={one.title: absent[one.name] for one in found if one.name in absent},
        figures=drawn,
        gallery=gallery,
        again=_again(root),
        ties=Ties.read(root).sentence,
    )


def _document(root: Path) -> dict[str, Any]:
    path = root / "tables.json"
    try:
        found = read_json(path)
    except FileNotFoundError as error:
        raise RunMismatch(
            f"{root} has no tables.json yet: let the run end, or write its tables with {_TABLES}"
        ) from error
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise RunMismatch(f"{path} is not of schema {SCHEMA!r}: write it again with {_TABLES}")
    return found


def _again(root: Path) -> str:
    """The command that made a run; runs that were made from Python have none."""
    path = root / AGAIN
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def read_gallery(run: Run, data: DataPictures | None = None, conditions: Sequence[str] = ()) -> Gallery:
    """The samples of a run and all of its captions, conditions in the order given. Raises as :func:`run_page` does."""
    records = _samples(run)
    if not records or "captions" not in run.kinds():
        return Gallery("", "lexicon", [], [], {}, {}, {}, "No captions under intervention are finished.")
    where = {_named(record["concept"], record["image_id"]): k for k, record in enumerate(records)}
    said, found = _captions(run.table("captions"), where)
    methods: Any = run.settings.get("methods", [])
    order = [(method, condition) for method in methods for condition in conditions]
    cells = {key: found[key] for key in (*order, *sorted(found.keys() - set(order))) if key in found}
    sizes, notes = _located(run, where, list(dict.fromkeys(method for method, _ in cells)))
    shots = [_shot(record, data) for record in records]
    match: Any = run.settings.get("match", "lexicon")
    return Gallery(records[0]["prefix"], match, shots, said, cells, sizes, notes, _told(shots, data))


def _samples(run: Run) -> list[dict[str, Any]]:
    """The records of all samples."""
    documents = [parse_json(row["document"]) for row in run.table("dataset").to_pylist()]
    return [record for document in documents for record in document["samples"]]


def _captions(
    table: pa.Table, where: Mapping[str, int]
) -> tuple[list[list[CaptionVariant]], dict[tuple[str, str], UInt16[np.ndarray, "_s _o _d"]]]:
    """Every image's distinct captions, and which of them stands where; all of it as codes, not as Python objects."""
    codes, names = {}, {}
    columns = {name: table[name] for name in ("method", "condition", "caption")}
    columns |= {"image": _joined(table, "concept", "image"), "of": _joined(table, "names", "of")}
    for column, values in columns.items():
        encoded = values.combine_chunks().dictionary_encode()
        codes[column] = np.asarray(encoded.indices)
        names[column] = encoded.dictionary.to_pylist()
    place = {column: np.array([where[name] for name in names[column]]) for column in ("image", "of")}
    source, image = place["image"][codes["image"]], place["of"][codes["of"]]
    hits, draws = np.asarray(table["hit"]), np.asarray(table["draw"])

    pairs, first, cell = np.unique(
        image.astype(np.int64) * len(names["caption"]) + codes["caption"], return_index=True, return_inverse=True
    )
    owner = pairs // len(names["caption"])
    said = [
        [CaptionVariant(names["caption"][codes["caption"][k]], bool(hits[k])) for k in first[owner == o]]
        for o in range(len(where))
    ]
    local = np.arange(len(pairs)) - np.searchsorted(owner, owner)
    if len(local) and local.max() >= MISSING:
        raise InvalidOption(f"one image has {int(local.max()) + 1} different captions; a page holds {MISSING - 1}")
    found: dict[tuple[str, str], Any] = {}
    for m, method in enumerate(names["method"]):
        for c, condition in enumerate(names["condition"]):
            rows = np.nonzero((codes["method"] == m) & (codes["condition"] == c))[0]
            if len(rows):
                cells = np.full((len(where), len(where), int(draws[rows].max()) + 1), MISSING, dtype=np.uint16)
                cells[source[rows], image[rows], draws[rows]] = local[cell[rows]]
                found[method, condition] = cells
    return said, found


def _named(concept: str, image: str) -> str:
    """What tells a sample from all others: an image may stand for several concepts."""
    return f"{concept}\n{image}"


def _joined(table: pa.Table, concept: str, image: str) -> pa.ChunkedArray:
    join: Any = pc.binary_join_element_wise  # pyright: ignore[reportAttributeAccessIssue]
    return join(table[concept], table[image], "\n")


def _located(
    run: Run, where: Mapping[str, int], methods: Sequence[str]
) -> tuple[dict[str, list[int | None]], dict[str, list[list[str]]]]:
    sizes: dict[str, list[int | None]] = {method: [None] * len(where) for method in methods}
    notes: dict[str, list[list[str]]] = {method: [[] for _ in where] for method in methods}
    for row in run.table("located").select(["method", "concept", "image", "count", "notes"]).to_pylist():
        if row["method"] in sizes:
            at = where[_named(row["concept"], row["image"])]
            sizes[row["method"]][at] = row["count"]
            notes[row["method"]][at] = list(row["notes"])
    return sizes, notes


def _shot(record: Mapping[str, Any], data: DataPictures | None) -> Shot:
    path = None if data is None else data.find(record)
    original, edited = (None, None) if path is None else _pictures(record, path)
    return Shot(
        image=record["image_id"],
        concept=record["concept"],
        also=tuple(name for name in record["shown"] if name != record["concept"]),
        caption=record["caption"]["text"],
        edited_caption=record["caption_edited"]["text"],
        original="" if original is None else photo(with_boxes(original, _boxes(record)), THUMBNAIL, quality=78),
        edited="" if edited is None else photo(edited, THUMBNAIL, quality=78),
    )


def _pictures(record: Mapping[str, Any], path: Path) -> tuple[Image.Image, Image.Image | None]:
    """The original, and the edited picture where it can be had."""
    original = read_image(path)
    if pixel_hash(original) != record["image_sha256"]:
        raise RunMismatch(f"{path} is not the picture that the run used: its pixels differ")
    edit = record["edit"]
    if "mask" not in record or (edit["method"] not in INPAINTERS and "edited" not in record):
        return original, None
    mask = decode_mask(record["mask"], original.size)
    if "edited" in record:
        made = put_inside(original, mask, record["edited"])
    else:
        made = inpaint(original, mask, edit["method"], edit["radius"])
    return original, made if pixel_hash(made) == record["edited_sha256"] else None


def _boxes(record: Mapping[str, Any]) -> list[Box]:
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in record["boxes"]]


def _told(shots: Sequence[Shot], data: DataPictures | None) -> str:
    if data is None:
        return "A run holds no pictures; give the data (--data) for thumbnails."
    missing, unedited = sum(not shot.original for shot in shots), sum(not shot.edited for shot in shots)
    text = "Thumbnails are from the data, each proved to be the picture that the run used."
    if missing:
        text += f" {missing} of {len(shots)} pictures are not there."
    if unedited > missing:
        text += f" {unedited - missing} edited pictures cannot be made again."
    return text

"""Which neurons of an index get pages, and writing these, the list and the export."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...errors import InvalidOption
from ...files import clear_result, is_file, named_like, output_folder, require_ending, write_text
from ...index.described import Described, Named, describe, document
from ...index.file import NeuronIndex
from ...index.profile import layer_figures
from ...loading import VLM
from ...report.neurons import ATLAS, FOLDER, Album, write_atlas, write_neuron
from ...types import Neuron, Neurons
from .settings import Pages

#: Members of one set that get a page, best first.
SHOWN = 100
_PAGE = r"L\d+\.U\d+\.html"


def read_sets(paths: Sequence[Path]) -> list[Named]:
    """The sets of some files, by their concepts, and by the files' names where there is none or two have one.

    Raises RunMismatch for a file that is no set, and InvalidOption for one that is given twice.
    """
    loaded = [(path, Neurons.load(path)) for path in paths]
    often = Counter(neurons.concept for _, neurons in loaded)
    named = [
        Named(neurons.concept if neurons.concept and often[neurons.concept] == 1 else str(path), neurons)
        for path, neurons in loaded
    ]
    if twice := [name for name, count in Counter(one.name for one in named).items() if count > 1]:
        raise InvalidOption(f"--sets names {twice[0]} twice")
    return named


def require_export(path: Path | None) -> None:
    """Refuse a file that cannot be one, before any long work."""
    if path is not None:
        require_ending(path, (".jsonl",), "an export")
        output_folder(path.parent)


def chosen(index: NeuronIndex, sets: Sequence[Named], most: int) -> tuple[list[Neuron], int]:
    """The members of the sets, and the neurons whose top pictures stand out most; and how many members were left out.

    Members that the index does not have are left out, too: their layer has no neurons to watch.
    """
    members = [neuron for one in sets for neuron in one.neurons[:SHOWN]]
    hidden = sum(max(0, len(one.neurons) - SHOWN) for one in sets)
    return list(dict.fromkeys([*members, *standing_out(index, most)])), hidden


def standing_out(index: NeuronIndex, most: int) -> list[Neuron]:
    """The neurons of all layers whose top pictures stand out most, most first; of equal ones the earlier."""
    found: list[tuple[float, Neuron]] = []
    for layer in index.layers if most else ():
        figures = layer_figures(index.layer(layer), index.quantile, len(index.pictures))
        standing = np.where(figures.tokens > 0, figures.standing, 0)
        best = np.argsort(-standing, kind="stable")[:most]
        found += [(-float(standing[unit]), Neuron(layer, int(unit))) for unit in best if standing[unit] > 0]
    return [neuron for _, neuron in sorted(found)[:most]]


def write_pages(
    vlm: VLM,
    index: NeuronIndex,
    neurons: Sequence[Neuron],
    sets: Sequence[Named],
    pages: Pages,
    folder: Path,
    *,
    images: Path | None = None,
    hidden: int | None = None,
    force: bool = False,
    step: Callable[[str], None] = lambda _: None,
) -> list[Described]:
    """Pages of some neurons, and the export.

    Args:
        vlm: the model of the index.
        index: the index.
        neurons: whose pages.
        sets: what they may belong to.
        pages: the settings.
        folder: where the pages go.
        images: where the pictures are; where the index says if not given.
        hidden: members of the sets without a page; with it the list is written, and pages of earlier lists are removed.
        force: take an index and sets of other weights at their addresses.
        step: told what is being done.

    Raises RunMismatch for other weights, NeuronOutOfRange for neurons that are not in the index, InvalidSample for
    pictures that are not there any more, and InvalidOption where files cannot be written.
    """
    found = (
        describe(vlm, index, neurons, sets, seed=pages.seed, folder=images, force=force, step=step) if neurons else []
    )
    output_folder(folder)
    place = output_folder(folder / FOLDER)
    if hidden is not None:
        clear_result(folder, ATLAS, *(f"{FOLDER}/{name}" for name in named_like(place, _PAGE)))
        output_folder(place)
    album = Album(index, images)
    listed = hidden is not None or is_file(folder / ATLAS)
    for one in found:
        write_neuron(one, index, album, folder, listed=listed)
    if hidden is not None:
        other = next((str(one) for one in standing_out(index, len(found) + 1) if one not in set(neurons)), "L0.U0")
        command = shlex.join(["neuronscope", "neuron", other, "--index", str(folder)])
        write_atlas(found, index, album, folder, hidden=hidden, command=command)
    if pages.export is not None:
        lines = (json.dumps(document(one, index), ensure_ascii=False, allow_nan=False) for one in found)
        write_text(pages.export, "".join(f"{line}\n" for line in lines))
    return found

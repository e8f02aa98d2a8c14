"""Which neurons of an index get pages, and writing these, the list and the export."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InvalidOption
from ...files import clear_result, is_file, named_like, output_folder, replacing, require_ending
from ...index.described import DescribedNeuron, NamedSet, describe, document
from ...index.file import NeuronIndex
from ...index.profile import layer_figures
from ...loading import VLM
from ...report.neurons import ATLAS, FOLDER, Album, ListedNeuron, write_atlas, write_neuron
from ...types import Neuron, Neurons
from .settings import Pages

#: Members of one set that get a page, best first.
SHOWN = 100
#: Neurons whose maps are held at once.
GROUP = 128
_PAGE = r"L\d+\.U\d+\.html"


def read_sets(paths: Sequence[Path]) -> list[NamedSet]:
    """The sets of some files, by their concepts, and by the files' names where there is none or two have one.

    Raises RunMismatch for a file that is no set, and InvalidOption for one that is given twice.
    """
    loaded = [(path, Neurons.load(path)) for path in paths]
    often = Counter(neurons.concept for _, neurons in loaded)
    named = [
        NamedSet(neurons.concept if neurons.concept and often[neurons.concept] == 1 else str(path), neurons)
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


def chosen(index: NeuronIndex, sets: Sequence[NamedSet], most: int) -> tuple[list[Neuron], int]:
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
    sets: Sequence[NamedSet],
    pages: Pages,
    folder: Path,
    *,
    images: Path | None = None,
    hidden: int | None = None,
    force: bool = False,
    each: Callable[[DescribedNeuron], object] = lambda _: None,
    step: Callable[[str], None] = lambda _: None,
) -> list[ListedNeuron]:
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
        each: given every neuron, whose maps are not kept.
        step: told what is being done.

    Raises RunMismatch for other weights, NeuronOutOfRange for neurons that are not in the index, InvalidSample for
    pictures that are not there any more, and InvalidOption where files cannot be written.
    """
    groups = [neurons[start : start + GROUP] for start in range(0, len(neurons), GROUP)]

    def described(group: Sequence[Neuron]) -> list[DescribedNeuron]:
        return describe(vlm, index, group, sets, seed=pages.seed, folder=images, force=force, step=step)

    first = described(groups[0]) if groups else []  # what is refused is refused before anything is written
    output_folder(folder)
    place = output_folder(folder / FOLDER)
    if hidden is not None:
        clear_result(folder, ATLAS, *(f"{FOLDER}/{name}" for name in named_like(place, _PAGE)))
        output_folder(place)
    album, rows = Album(index, images), list[ListedNeuron]()
    listed = hidden is not None or is_file(folder / ATLAS)
    with _exporting(pages.export, index) as export:
        for number, group in enumerate(groups):
            for one in described(group) if number else first:
                write_neuron(one, index, album, folder, listed=listed)
                rows.append(ListedNeuron.of(one, index))
                export(one)
                each(one)
            first = []
    if hidden is not None:
        other = next((str(one) for one in standing_out(index, len(rows) + 1) if one not in set(neurons)), "L0.U0")
        command = shlex.join(["neuronscope", "neuron", other, "--index", str(folder)])
        write_atlas(rows, index, album, folder, hidden=hidden, command=command)
    return rows


def write_export(
    vlm: VLM,
    index: NeuronIndex,
    layers: Sequence[int],
    sets: Sequence[NamedSet],
    pages: Pages,
    *,
    images: Path | None = None,
    force: bool = False,
    step: Callable[[str], None] = lambda _: None,
) -> int:
    """The export of all neurons of some layers, without pages; returns how many there are.

    Arguments and errors as in :func:`write_pages`; NeuronOutOfRange also for a layer that is not in the index.
    """
    neurons = [Neuron(layer, unit) for layer in dict.fromkeys(layers) for unit in range(index.width(layer))]
    how: dict[str, Any] = {"seed": pages.seed, "folder": images, "force": force, "maps": False, "step": step}
    found = describe(vlm, index, neurons, sets, **how)
    with _exporting(pages.export, index) as export:
        for one in found:
            export(one)
    return len(found)


@contextmanager
def _exporting(path: Path | None, index: NeuronIndex) -> Generator[Callable[[DescribedNeuron], object]]:
    """Writes a line for each neuron that it is given, where a file was asked for."""
    if path is None:
        yield lambda _: None
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        yield lambda one: stream.write(json.dumps(document(one, index), ensure_ascii=False, allow_nan=False) + "\n")

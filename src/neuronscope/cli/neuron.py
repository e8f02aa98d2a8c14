"""`neuronscope neuron`: the page of any neuron of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import made
from ..studies.index.settings import Pages
from .decode import parse_neurons
from .output import AnyModelOption, DeviceOption, DtypeOption, JsonOption, emit, lines, open_model
from .steps import progress
from .takes import Given, takes


@takes(Pages)
def run(
    parsed: Given,
    neurons: Annotated[
        list[str], typer.Argument(help="Addresses such as L3.U417, or one neurons.json.", metavar="NEURON")
    ],
    index: Annotated[Path, typer.Option("--index", help="Folder of `neuronscope index`.")] = Path("neuronscope-index"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the pages; that of the index.", show_default=False)
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Where the pictures are by now.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model; what the index was made with.", show_default=False)
    ] = None,
    any_model: AnyModelOption = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make the pages of neurons: pictures that move them, words, density, sets, each beside a random neuron."""
    from ..index.described import document, verdict
    from ..index.file import NeuronIndex
    from ..report.neurons import page_of
    from ..studies.index.pages import read_sets, require_export, write_pages

    pages = made(Pages, parsed)
    opened = NeuronIndex.load(index)
    chosen = parse_neurons(neurons)
    opened.require_part(chosen.anywhere() if any_model else chosen)
    sets = read_sets(pages.sets)
    require_export(pages.export)
    folder = opened.path.parent if out is None else out
    with progress(0, "loading the model") as step:
        vlm = open_model(opened.loaded if model is None else model, device, dtype)
        found = write_pages(vlm, opened, list(chosen), sets, pages, folder, images=images, force=any_model, step=step)
    rows = [(one, folder / page_of(one.neuron)) for one in found]
    emit(
        {"index": str(opened.path), "neurons": [{"page": str(path), **document(one, opened)} for one, path in rows]},
        as_json,
        lambda: lines(*(f"{one.neuron}. {verdict(one)}\nwritten to {path}" for one, path in rows)),
    )

"""`neuronscope neuron`: the page of any neuron of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..options import Loading, made
from ..studies.index.settings import Pages
from .decode import parse_neurons
from .output import AnyModelOption, DeviceOption, DtypeOption, JsonOption, counted, emit, lines, open_model
from .steps import progress
from .takes import Given, flag, takes


@takes(Pages)
def run(
    parsed: Given,
    neurons: Annotated[
        list[str] | None, typer.Argument(help="Addresses such as L3.U417, or one neurons.json.", metavar="NEURON")
    ] = None,
    layers: Annotated[
        list[int] | None,
        typer.Option("--layer", min=0, help="With --export: all neurons of a layer instead; may be repeated."),
    ] = None,
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
    attn: Annotated[str | None, flag(Loading, "attn")] = None,
    revision: Annotated[str | None, flag(Loading, "revision")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the pages of neurons: pictures that move them, words, density, sets, each beside a random neuron."""
    from ..index.described import document
    from ..index.file import NeuronIndex
    from ..studies.index.pages import read_sets, require_export, write_export, write_pages

    pages = made(Pages, parsed)
    if bool(neurons) == bool(layers):
        raise InvalidOption("name either neurons (NEURON...) or layers (--layer)")
    if layers and pages.export is None:
        raise InvalidOption(f"--layer {layers[0]} makes no pages, which would be thousands: name a file with --export")
    opened = NeuronIndex.load(index)
    chosen = parse_neurons(neurons or [])
    opened.require_part(chosen.anywhere() if any_model else chosen)
    for layer in layers or []:
        opened.width(layer)
    sets = read_sets(pages.sets)
    require_export(pages.export)
    folder = opened.path.parent if out is None else out
    named = opened.loaded if model is None else model
    loading = Loading(model=named, device=device, dtype=dtype, attn=attn, revision=revision)
    with progress(0, "loading the model") as step:
        vlm = open_model(loading)
        how: dict[str, Any] = {"images": images, "force": any_model, "step": step}
        if layers:
            count = write_export(vlm, opened, layers, sets, pages, **how)
            said = {"index": str(opened.path), "layers": layers, "neurons": count, "export": str(pages.export)}
            verdict = f"{counted(count, 'neuron')} with everything that their pages have."
            emit(verdict, said, as_json, lambda: lines(f"written to {pages.export}"))
            return
        documents: list[dict[str, Any]] = []
        rows = write_pages(
            vlm,
            opened,
            list(chosen),
            sets,
            pages,
            folder,
            each=lambda one: documents.append(document(one, opened)) if as_json else None,
            **how,
        )
    paths = [folder / row.page for row in rows]
    found = [{"page": str(path), **one} for path, one in zip(paths, documents, strict=False)]
    told = [f"{row.found.neuron}. {row.verdict}" for row in rows]
    several = f"{counted(len(rows), 'neuron')} have a page now."
    texts = [f"{each}\nwritten to {path}" for each, path in zip(told, paths, strict=True)]
    texts = texts if len(rows) != 1 else [f"written to {paths[0]}"]
    verdict = told[0] if len(rows) == 1 else several
    emit(verdict, {"index": str(opened.path), "neurons": found}, as_json, lambda: lines(*texts))

"""`neuronscope pictures`: the pictures of a folder that move some neurons most, beside those that move random ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidOption
from ..files import output_folder, replacing, require_picture
from ..options import PICTURES, Loading, Reading, made
from .decode import parse_neurons
from .output import (
    AnyModelOption,
    JsonOption,
    emit,
    lines,
    open_model,
    table,
)
from .steps import progress
from .takes import Given, takes

if TYPE_CHECKING:
    from collections.abc import Sequence


@takes(Loading, Reading)
def run(
    parsed: Given,
    neurons: Annotated[str, typer.Argument(help="Addresses such as L3.U417, joined by commas, or one neurons.json.")],
    sources: Annotated[
        list[str], typer.Argument(help=f"{PICTURES} One of the last by itself has labels.", metavar="PICTURE")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG of the pictures: the set's above, random ones' below.")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Top pictures shown.")] = 6,
    pool: Annotated[str, typer.Option("--pool", help="Over image tokens: max or mean.")] = "max",
    concept: Annotated[
        str | None, typer.Option("--concept", help="What annotated pictures are judged by; that of the set.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="A picture to leave out, as the one of the set; may be repeated."),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", help="Random sets of the same layers.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Of the random sets.")] = 0,
    any_model: AnyModelOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the pictures that move neurons most, beside random neurons; with annotations an AUC."""
    from ..meaning import top_pictures
    from ..view.sheet import contact_sheet

    chosen = parse_neurons([neurons])
    chosen = chosen if concept is None else replace(chosen, concept=concept)
    reading = made(Reading, parsed)
    paths, showing = _pictures(sources, chosen.concept, frozenset(exclude or ()), reading)
    if out is not None:
        require_picture(out)
        output_folder(out.parent)
    with progress(len(paths) + 1, "loading the model") as step:
        vlm = open_model(made(Loading, parsed))
        found = top_pictures(
            vlm,
            paths,
            chosen,
            showing=showing,
            count=count,
            pool=pool,  # pyright: ignore[reportArgumentType]
            draws=draws,
            seed=seed,
            force=any_model,
            step=lambda number: step(f"looking at {paths[number].name}"),
        )
    if out is not None:
        rows = {
            f"{len(chosen)} neurons": [paths[one.number] for one in found.top],
            "random neurons of the same layers": [paths[one.number] for one in found.random],
        }
        with replacing(out) as temporary:
            contact_sheet(rows).save(temporary)

    def cell(place: int, tops: Sequence[tuple[int, float]]) -> str:
        number, score = tops[place]
        mark = "" if showing is None else " +" if showing[number] else " -"
        return f"{paths[number].name}{mark} {score:+.2f}"

    own, random = ([(one.number, one.score) for one in tops] for tops in (found.top, found.random))

    def show() -> None:
        head = ("", "the set", "random neurons of the same layers")
        table("pictures that move them most", head, [(k + 1, cell(k, own), cell(k, random)) for k in range(len(own))])
        lines(*([] if out is None else [f"written to {out}"]))

    emit(found.sentence, {**found.to_dict(), "files": [path.name for path in paths], "model": vlm.id}, as_json, show)


def _pictures(
    sources: Sequence[str], concept: str, exclude: frozenset[str], reading: Reading
) -> tuple[list[Path], list[bool] | None]:
    """The pictures, and which of them show the concept where annotations say so."""
    from ..samples import annotated
    from ..samples.annotations.opened import is_annotated
    from ..samples.picture_files import gather

    known = [source for source in sources if is_annotated(source)]
    if known and len(sources) > 1:
        raise InvalidOption(f"{known[0]} is annotated: name it alone, so that all labels are of one kind")
    if known:
        folder = annotated(known[0], split=reading.split, allow_outside=reading.allow_outside)
        name = concept or folder.concepts()[0]  # without a concept only the pictures are wanted
        pairs = [(path, shows) for path, shows in folder.showing(name) if not {path.name, path.stem} & exclude]
        return [path for path, _ in pairs], [shows for _, shows in pairs] if concept else None
    found = gather(sources, split=reading.split, allow_outside=reading.allow_outside).items
    return [one.path for one in found if not {one.name, one.path.stem} & exclude], None

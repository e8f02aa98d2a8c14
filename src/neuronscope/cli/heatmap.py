"""`neuronscope heatmap`: where on an image neurons are active."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption, InvalidSample
from ..files import output_folder, replacing, require_picture
from ..options import Asking, Loading, given, made
from ..studies.locate.pointing import Pointing
from ..types import whole_number
from .decode import parse_neurons
from .output import AnyModelOption, JsonOption, counted, emit, lines, open_model, tell_notice
from .steps import progress
from .takes import Given, takes


@takes(Asking, Pointing, Loading)
def run(
    parsed: Given,
    image: Annotated[str, typer.Argument(help="Image file.")],
    neurons: Annotated[
        list[str], typer.Argument(help="Addresses such as L3.U417, or one neurons.json.", metavar="NEURON")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file to write.")] = Path("heatmap.png"),
    top: Annotated[int, typer.Option("--top", help="Average this many neurons of a located set.")] = 5,
    resize: Annotated[str, typer.Option("--resize", help="half_pixel, pan, or footprint.")] = "half_pixel",
    trace: Annotated[
        str, typer.Option("--trace", help="auto, tokens, gradient, from-grey, rollout, or occlusion.")
    ] = "auto",
    draws: Annotated[int, typer.Option("--draws", help="With --box: maps of random neurons beside.")] = 40,
    any_model: AnyModelOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the heat map of some neurons over an image; with a box, say whether it lies on it beside random neurons.

    Boxes are drawn; with --box auto a detector looks for the concept of the set.
    The model is asked what it was asked when the set was located, unless an option says otherwise.
    """
    from ..locate.located import asked_of
    from ..meaning import place
    from ..models.decoding import Decoding
    from ..samples.image import read_image
    from ..samples.sample import boxes_mask
    from ..view import heatmap

    whole_number("--draws", draws, 1)
    whole_number("--top", top, 1)
    picture = read_image(image)
    pointing, loading = made(Pointing, parsed), made(Loading, parsed)
    chosen = parse_neurons(neurons)
    if pointing.sought and not chosen.concept:
        raise InvalidOption(f"--box {pointing.sought}: these neurons have no concept to look for; give --box x,y,w,h")
    require_picture(out)
    output_folder(out.parent)
    decoding = Decoding.asked(made(Asking, parsed)) if given(Asking, parsed) else asked_of(chosen)
    how: Any = {"resize": resize, "trace": trace, "decoding": decoding}
    chosen = chosen.anywhere() if any_model else chosen
    found = pointing.regions(picture, chosen.concept, loading.device) if pointing.boxes else None
    boxes = pointing.given_boxes if found is None else tuple(one.box for one in found.taken)
    outline = None if found is None else found.mask
    placed, why = None, ""
    with progress(2 if boxes else 1, "loading the model") as step:
        vlm = open_model(loading)
        notice = tell_notice(vlm, picture, image)
        step("mapping the neurons")
        heat = heatmap(vlm, picture, chosen, top=top, **how)
        if boxes:
            step("mapping random neurons")
            mask = boxes_mask(boxes, picture.size) if outline is None else outline
            try:
                placed = place(vlm, picture, chosen, heat, mask, draws=draws, **how)
            except (InvalidOption, InvalidSample) as error:  # the map itself is right
                why = f"the map is not compared with the object: {error}"
    with replacing(out) as temporary:
        heat.overlay(boxes).save(temporary)
    document = {
        "file": str(out),
        "sent": vlm.sent(decoding),
        "grids": [grid.tolist() for grid in heat.grids],
        "neurons": heat.neurons.addresses,
        "place": None if placed is None else placed.to_dict(),
        "note": why,
        "notice": notice,
        "found_by": None if found is None else found.to_dict(),
    }
    said = [f"notice: {notice}"] if notice else []
    said += [] if found is None else [found.sentence]
    shown = f"The map shows where {counted(len(heat.neurons), 'neuron')} are active on {image}, on average"
    told = f"{shown}; {why or 'no box says where to compare it with an object'}."
    verdict = told if placed is None else placed.sentence
    emit(verdict, document, as_json, lambda: lines(*said, f"written to {out}"))

"""`neuronscope locate`: two-stage filtering on the user's own image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import output_folder, replacing, write_text
from .output import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    emit,
    lines,
    open_model,
    parse_box,
    progress,
    table,
)


def run(
    image: Annotated[str, typer.Argument(help="Image file.")],
    concept: Annotated[str, typer.Argument(help="The object to find neurons for, as a caption would name it.")],
    box: Annotated[list[str] | None, typer.Option("--box", help="Its box x,y,w,h in pixels; may be repeated.")] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="A picture of the same size, white on the object.")
    ] = None,
    edited: Annotated[Path | None, typer.Option("--edited", help="Your own edit of the image without it.")] = None,
    method: Annotated[str, typer.Option("--edit", help="telea, navier_stokes or mean_fill.")] = "telea",
    preset: Annotated[str, typer.Option("--preset", help="recommended or paper.")] = "recommended",
    budget: Annotated[int | None, typer.Option("--budget", help="Keep this many neurons per stage instead.")] = None,
    q: Annotated[float, typer.Option("--q", help="Accepted share of false finds.")] = 0.1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-locate"),
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the neurons that hold a concept in an image.

    Writes neurons.json, edited.png, heatmap.png, overlay.png, layers.png and summary.txt.
    """
    import numpy as np

    from ..locate import Budget, TargetDecoy, TwoStage
    from ..samples import Sample, counterfactual
    from ..samples.image import read_image
    from ..view import decode, heatmap, layer_distribution, plot_layers

    if preset not in ("recommended", "paper"):
        raise InvalidOption(f"--preset {preset!r} is not one of recommended, paper")
    picture = read_image(image)
    region = np.asarray(read_image(mask).convert("L")) > 127 if mask is not None else None
    boxes = [parse_box(text) for text in box or []]
    sample = Sample(image=picture, concept=concept, boxes=boxes, mask=region, image_id=image)
    pair = counterfactual(sample, "edited" if edited else method, edited=edited)  # pyright: ignore[reportArgumentType]
    rule = TargetDecoy(q) if budget is None else Budget(budget)
    two_stage = TwoStage.paper(concept) if preset == "paper" else TwoStage(activation=rule, gradient=rule)
    folder = output_folder(out)
    with progress(3, "loading the model") as step:
        vlm = open_model(model, device, dtype)
        step("locating neurons")
        found = two_stage.locate(vlm, pair)
        step("drawing")
        neurons = found.neurons
        decoded = decode(vlm, neurons)
        heat = heatmap(vlm, picture, neurons) if len(neurons) else None
        neurons.save(folder / "neurons.json")
        pictures = {"edited.png": pair.edited}
        if heat is not None:
            heat.save(folder / "heatmap.png")
            pictures["overlay.png"] = heat.overlay(boxes)
        for name, content in pictures.items():
            with replacing(folder / name) as temporary:
                content.save(temporary)
        plot_layers({"two-stage": layer_distribution(neurons, vlm.widths)}, folder / "layers.png")
    captions = found.validity
    summary = [
        f"image     {image}",
        f"concept   {concept} (named as {captions.match.surface!r})",
        f"caption   {captions.original.full}",
        f"edited    {captions.edited.full}",
        f"neurons   {len(neurons)}",
        *(f"{name:9} {cut}" for name, cut in _cuts(neurons.provenance)),
        *(f"note      {note}" for note in found.notes),
        *(f"note      only the original caption names {word!r}" for word in captions.lost),
    ]
    write_text(folder / "summary.txt", "\n".join(summary) + "\n")
    document: dict[str, Any] = {
        **neurons.to_dict(),
        "caption_original": captions.original.full,
        "caption_edited": captions.edited.full,
        "tokens": [list(d.tokens) for d in decoded],
        "folder": str(folder),
    }

    def show() -> None:
        lines(*summary)
        rows = [
            (d.neuron, f"{a:.3g}", f"{g:.3g}", " ".join(d.tokens))
            for d, a, g in zip(decoded, neurons.scores["activation"], neurons.scores["gradient"], strict=True)
        ]
        if rows:
            table(f"neurons of {concept!r}", ("neuron", "difference", "grad x act", "promotes"), rows)
        lines(f"written to {folder}")

    emit(document, as_json, show)


def _cuts(provenance: Any) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, cut in provenance["thresholds"].items():
        value = "none" if cut["threshold"] is None else f"{cut['threshold']:.4g}"
        share = "" if cut["achieved"] is None else f", estimated share of false finds {cut['achieved']:.2f}"
        rows.append((name, f"> {value} by {cut['rule']}{share}"))
    return rows

"""`neuronscope locate`: two-stage filtering, or any other method, on the user's own image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from ..locate import Method, TwoStage
    from ..types import Neurons

#: What the columns of the table are called where the score's own name says too little.
_HEADINGS = {"activation": "difference", "gradient": "grad x act", "original": "activation"}


def run(
    image: Annotated[str, typer.Argument(help="Image file.")],
    concept: Annotated[str, typer.Argument(help="The object to find neurons for, as a caption would name it.")],
    box: Annotated[list[str] | None, typer.Option("--box", help="Its box x,y,w,h in pixels; may be repeated.")] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="A picture of the same size, white on the object.")
    ] = None,
    edited: Annotated[Path | None, typer.Option("--edited", help="Your own edit of the image without it.")] = None,
    edit: Annotated[str, typer.Option("--edit", help="telea, navier_stokes or mean_fill.")] = "telea",
    method: Annotated[
        str, typer.Option("--method", help="two-stage, or another; a wrong name lists all.")
    ] = "two-stage",
    count: Annotated[int | None, typer.Option("--count", help="Rankings: how many neurons; 100.")] = None,
    like: Annotated[
        Path | None, typer.Option("--like", help="random-layer-matched: the neurons.json it matches.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="two-stage: recommended or paper.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", help="two-stage: keep this many per stage instead.")] = None,
    q: Annotated[float | None, typer.Option("--q", help="two-stage: accepted share of false finds; 0.1.")] = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Also caption without the neurons, and beside a random control.")
    ] = True,
    draws: Annotated[int, typer.Option("--draws", help="Noise draws of the test.")] = 3,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-locate"),
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the neurons that hold a concept in an image.

    Writes neurons.json, edited.png, heatmap.png, overlay.png, layers.png, summary.txt, and the folder evidence, which
    `neuronscope report` makes a page of.
    """
    import numpy as np

    from ..report import Origin, Test, gather, locate_watched
    from ..report.recipe import Asked
    from ..run.settings import environment
    from ..samples import Sample, counterfactual
    from ..samples.image import read_image
    from ..view import decode, heatmap, layer_distribution, plot_layers

    if draws < 1:
        raise InvalidOption(f"--draws {draws} must be at least 1")
    locator = _method(method, concept, count=count, like=like, preset=preset, budget=budget, q=q)
    picture = read_image(image)
    region = np.asarray(read_image(mask).convert("L")) > 127 if mask is not None else None
    boxes = [parse_box(text) for text in box or []]
    sample = Sample(image=picture, concept=concept, boxes=boxes, mask=region, image_id=image)
    pair = counterfactual(sample, "edited" if edited else edit, edited=edited)  # pyright: ignore[reportArgumentType]
    asked = Asked(
        image,
        concept,
        model,
        method,
        edit,
        tuple(boxes),
        *(mask, edited, count, like, preset, budget, q, device),
        None if dtype == "auto" else dtype,
        draws if test else None,
    )
    folder = output_folder(out)
    with progress(6 if test else 4, "loading the model") as step:
        vlm = open_model(model, device, dtype)
        step("locating neurons")
        found, curves = locate_watched(locator, vlm, pair)
        evidence = gather(
            vlm,
            pair,
            found,
            curves,
            test=Test(_level(found.neurons), draws) if test else None,
            origin=Origin(Path(image).name, asked.command(), asked.python(), environment()),
            step=step,
        )
        step("drawing")
        neurons = found.neurons
        decoded = decode(vlm, neurons)
        heat = heatmap(vlm, picture, neurons) if len(neurons) else None
        evidence.save(folder)
        if heat is not None:
            heat.save(folder / "heatmap.png")
            with replacing(folder / "overlay.png") as temporary:
                heat.overlay(boxes).save(temporary)
        plot_layers({neurons.method: layer_distribution(neurons, vlm.widths)}, folder / "layers.png")
    captions = found.validity
    summary = [
        f"image     {image}",
        f"concept   {concept} (named as {captions.match.surface!r})",
        f"caption   {captions.original.full}",
        f"edited    {captions.edited.full}",
        f"method    {neurons.method}",
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
        names = [name for name in neurons.scores if not name.endswith("_patch")]
        rows = [
            (d.neuron, *(f"{neurons.scores[name][i]:.3g}" for name in names), " ".join(d.tokens))
            for i, d in enumerate(decoded)
        ]
        if rows:
            headings = ("neuron", *(_HEADINGS.get(name, name) for name in names), "promotes")
            table(f"neurons of {concept!r}", headings, rows)
        lines(f"written to {folder}")

    emit(document, as_json, show)


def _method(
    name: str,
    concept: str,
    *,
    count: int | None,
    like: Path | None,
    preset: str | None,
    budget: int | None,
    q: float | None,
) -> Method:
    """The method that the options ask for. Raises InvalidOption for an option that it does not have."""
    from ..locate import Budget, TargetDecoy, TwoStage
    from ..locate import method as by_name
    from ..types import Neurons

    if preset not in (None, "recommended", "paper"):
        raise InvalidOption(f"--preset {preset!r} is not one of recommended, paper")
    chosen = by_name(name)
    filters = isinstance(chosen, TwoStage)
    for option, value in {"--preset": preset, "--budget": budget, "--q": q}.items():
        if value is not None and not filters:
            raise InvalidOption(f"{option} sets the thresholds of two-stage filtering; {name} has none")
    if count is not None and filters:
        raise InvalidOption(f"--count: {name} keeps what passes its thresholds; --budget sets a number for each stage")
    if filters:
        if preset == "paper":
            return _paper(chosen, concept, budget, q)
        rule = TargetDecoy(0.1 if q is None else q) if budget is None else Budget(budget)
        return by_name(name, activation=rule, gradient=rule)
    options = {"count": count, "like": Neurons.load(like) if like is not None else None}
    return by_name(name, **{option: value for option, value in options.items() if value is not None})


def _paper(chosen: TwoStage, concept: str, budget: int | None, q: float | None) -> Method:
    """The paper's preset, whose thresholds are published numbers."""
    from ..locate import TwoStage

    if budget is not None or q is not None:
        raise InvalidOption("--preset paper has its own thresholds: leave out --budget and --q")
    return TwoStage.paper(concept, stages=chosen.stages)


def _level(neurons: Neurons) -> float | None:
    """The noise level of the test: none for sets without activation differences to measure it in."""
    from ..intervene import recommended_level

    level = recommended_level(neurons) if neurons.scores.get("activation") else 0.0
    return level if level > 0 else None


def _cuts(provenance: Any) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, cut in provenance.get("thresholds", {}).items():
        value = "none" if cut["threshold"] is None else f"{cut['threshold']:.4g}"
        share = "" if cut["achieved"] is None else f", estimated share of false finds {cut['achieved']:.2f}"
        rows.append((name, f"> {value} by {cut['rule']}{share}"))
    return rows

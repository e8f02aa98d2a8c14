"""Locating one concept in one image, with everything that is kept of it.

neurons.json                the set
edited.png, evidence/       the edited image, and what `neuronscope report` makes a page of
heatmap.png, overlay.png    where the neurons are active, alone and over the image
layers.png                  how many lie in each layer
summary.txt                 captions, thresholds, what words and map say, and notes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import NoGrid
from ...files import clear_result, output_folder, replacing, write_text
from ...held import in_turn
from ...intervene import recommended_level
from ...loading import VLM
from ...locate import Located, Method
from ...locate.located import decoding_of
from ...locate.validity import Validity
from ...models.decoding import Decoding
from ...report import Evidence, Origin, Test, gather, locate_watched
from ...report.evidence import DOCUMENT, FOLDER
from ...samples import Counterfactual
from ...types import Neurons
from ...view import Heatmap, heatmap, layer_distribution, plot_layers


@dataclass(frozen=True)
class Result:
    """What a folder holds.

    Attributes:
        located: the set, with captions and notes.
        evidence: what a page shows of it.
        summary: the lines of summary.txt.
    """

    located: Located
    evidence: Evidence
    summary: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of `neuronscope locate --json`, but for the folder."""
        return {
            "verdict": self.evidence.verdict,
            **self.located.neurons.to_dict(),
            "caption_original": self.located.validity.original.full,
            "caption_edited": self.located.validity.edited.full,
            "removal": None if self.evidence.removal is None else self.evidence.removal.to_dict(),
            "words": self.evidence.words.to_dict(),
            "place": None if self.evidence.place is None else self.evidence.place.to_dict(),
        }


@in_turn
def locate_into(
    folder: str | Path,
    vlm: VLM,
    method: Method,
    pair: Counterfactual,
    *,
    validity: Validity | None = None,
    draws: int | None = 3,
    origin: Origin | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Result:
    """Locate a concept's neurons, and write the folder of `neuronscope locate`, which `neuronscope report` takes.

    Args:
        folder: made if need be.
        vlm: the model.
        method: such as `ns.method("two-stage")`.
        pair: the image and its counterfactual.
        validity: the captions of the pair, where they are known (:func:`neuronscope.locate.validity.valid_pair`).
        draws: noise draws of the test beside a random control; None for no test, which saves most of the time.
        origin: the image's name, and how the result was made, for the page.
        step: told what is being done, for progress displays.

    Raises InvalidOption for a folder that cannot be written to, and what the method raises.
    """
    target = output_folder(folder)
    step("locating neurons")
    found, curves = locate_watched(method, vlm, pair, validity)
    neurons = found.neurons
    test = None if draws is None else Test(_level(neurons), draws)
    decoding = decoding_of(method)
    heat = _map(vlm, pair, neurons, decoding) if len(neurons) else None
    evidence = gather(vlm, pair, found, curves, test=test, heat=heat, origin=origin, decoding=decoding, step=step)
    step("drawing")
    drawn = () if heat is not None else ("heatmap.png", "overlay.png")
    clear_result(target, f"{FOLDER}/{DOCUMENT}", *drawn)
    if heat is not None:
        heat.save(target / "heatmap.png")
        with replacing(target / "overlay.png") as temporary:
            heat.overlay(pair.sample.boxes).save(temporary)
    plot_layers({neurons.method: layer_distribution(neurons, vlm.widths)}, target / "layers.png")
    result = Result(found, evidence, _summary(pair, found, evidence))
    write_text(target / "summary.txt", "\n".join(result.summary) + "\n")
    evidence.save(target)
    return result


def _map(vlm: VLM, pair: Counterfactual, neurons: Neurons, decoding: Decoding) -> Heatmap | None:
    """The set's map; none where the image does not reach it, of which the page has a note."""
    try:
        return heatmap(vlm, pair.original, neurons, decoding=decoding)
    except NoGrid:
        return None


def _summary(pair: Counterfactual, found: Located, evidence: Evidence) -> tuple[str, ...]:
    captions, neurons = found.validity, found.neurons
    return (
        evidence.verdict,
        f"image     {pair.sample.image_id}",
        f"sent      {evidence.sent!r}",
        f"concept   {pair.sample.concept} (named as {captions.match.surface!r})",
        f"caption   {captions.original.full}",
        f"edited    {captions.edited.full}",
        f"method    {neurons.method}",
        f"neurons   {len(neurons)}",
        *(f"{name:9} {_cut(cut)}" for name, cut in _thresholds(neurons).items()),
        f"words     {evidence.words.sentence}",
        *([] if evidence.place is None else [f"map       {evidence.place.sentence}"]),
        *([] if evidence.removal is None else [f"removal   {evidence.removal.sentence}"]),
        *(f"note      {note}" for note in evidence.notes),
    )


def _level(neurons: Neurons) -> float | None:
    """The noise level of the test: none for sets without activation differences to measure it in."""
    level = recommended_level(neurons) if neurons.scores.get("activation") else 0.0
    return level if level > 0 else None


def _thresholds(neurons: Neurons) -> Mapping[str, Any]:
    found: Any = neurons.provenance.get("thresholds", {})
    return found


def _cut(cut: Mapping[str, Any]) -> str:
    value = "none" if cut["threshold"] is None else f"{cut['threshold']:.4g}"
    share = "" if cut["achieved"] is None else f", estimated share of false finds {cut['achieved']:.2f}"
    return f"> {value} by {cut['rule']}{share}"

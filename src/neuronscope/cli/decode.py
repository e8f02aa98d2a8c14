"""`neuronscope decode`: the words that neurons promote."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..options import Asking, Loading, given, made
from ..types import Neurons
from .output import (
    AnyModelOption,
    JsonOption,
    emit,
    open_model,
    table,
)
from .steps import progress
from .takes import Given, takes
from .words import WORDS, word_cells


@takes(Asking, Loading)
def run(
    parsed: Given,
    neurons: Annotated[
        list[str], typer.Argument(help="Addresses such as L3.U417, or one neurons.json.", metavar="NEURON")
    ],
    top: Annotated[int, typer.Option("--top", help="Tokens per neuron.")] = 5,
    concept: Annotated[
        str | None, typer.Option("--concept", help="Whose words are looked for; that of the set.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random neurons.")] = 0,
    norm: Annotated[str, typer.Option("--norm", help="none (the papers), gain, or full.")] = "gain",
    any_model: AnyModelOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read neurons' value vectors through the unembedding, beside random neurons of the same layers."""
    from ..locate.located import asked_of
    from ..meaning import decode
    from ..models.decoding import Decoding

    chosen = parse_neurons(neurons)
    chosen = chosen if concept is None else replace(chosen, concept=concept)
    kind: Any = norm
    decoding = Decoding.asked(made(Asking, parsed)) if given(Asking, parsed) else asked_of(chosen)
    with progress(1, "loading the model") as step:
        vlm = open_model(made(Loading, parsed))
        step("reading the words of neurons")
        found = decode(vlm, chosen, top=top, norm=kind, seed=seed, force=any_model, decoding=decoding)

    def show() -> None:
        table(
            f"promoted tokens (norm: {norm})",
            ("neuron", *WORDS),
            [(d.neuron, *word_cells(found, k)) for k, d in enumerate(found)],
        )

    emit(found.sentence, {"model": vlm.id, "norm": norm, **found.to_dict()}, as_json, show)


def parse_neurons(texts: list[str]) -> Neurons:
    """Addresses or a neurons.json. Raises InvalidOption for anything else."""
    if len(texts) == 1 and texts[0].endswith(".json"):
        return Neurons.load(texts[0])
    listed = [one for text in texts for one in text.replace(",", " ").split() or [text]]
    try:
        return Neurons.at(*listed)
    except InvalidOption as error:
        raise InvalidOption(f"{error}; one neurons.json can be named instead") from error

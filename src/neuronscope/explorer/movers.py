"""Pictures that move neurons most: of the whole shelf, and of the picture at hand where it is not on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import InvalidSample
from ..intervene import activations
from ..loading import VLM
from ..models.decoding import Decoding
from ..types import Neurons
from .picture_list import Shelf, shrunk
from .state import HERE, Found, PictureAtHand, best_seen

#: Pictures that are shown of a neuron.
BEST = 6


def movers(
    vlm: VLM,
    found: Found,
    picture: PictureAtHand,
    shelf: Shelf,
    *,
    decoding: Decoding,
    step: Callable[[str, Mapping[str, Any]], None],
) -> Mapping[str, Any]:
    """Every located neuron's largest activation in every picture, so that the next neuron is known at once.

    In the same passes that of the random neuron beside each: any neuron has pictures that move it most. The picture at
    hand comes first. `step` is told of every picture, and now and then of what is best so far: whenever the number of
    pictures that were looked at doubles, so that a large folder is not sorted again for each of its pictures.

    Returns the fields `tops`, `beside` and `note` of a state.
    """
    neurons, others = found.evidence.neurons, found.evidence.words.beside
    both = Neurons((*neurons, *(one.neuron for one in others if one is not None)), site=neurons.site)
    own = HERE if picture.number is None else picture.number
    order = [own, *(number for number in range(len(shelf.entries)) if number != own)]
    rows: dict[int, Float[np.ndarray, "_"]] = {}
    unread: list[str] = []

    def best(looked: int) -> Mapping[str, Any]:
        ranked = {neuron: best_seen(rows, k, BEST) for k, neuron in enumerate(both)}
        pairs = zip(neurons, others, strict=True)
        notes = [f"so far, of {looked} of {len(order)} pictures"] if looked < len(order) else []
        notes += [f"{len(unread)} pictures cannot be read; the first: {unread[0]}"] if unread else []
        return {
            "tops": {neuron: ranked[neuron] for neuron in neurons},
            "beside": {neuron: ranked[other.neuron] for neuron, other in pairs if other is not None},
            "note": "; ".join(notes),
        }

    so_far: Mapping[str, Any] = {}
    for looked, number in enumerate(order):
        if looked and not looked & (looked - 1):
            so_far = best(looked)
        step(f"looking at picture {looked + 1} of {len(order)}", so_far)
        try:
            image = found.pair.original if number == own else shrunk(shelf.entry(number).load())
            rows[number] = activations(vlm, image, both, decoding=decoding).max(axis=0)
        except InvalidSample as error:
            unread.append(str(error))
    return best(len(order))

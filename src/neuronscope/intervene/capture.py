"""Reading activations without changing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import HookNeverFired, InvalidOption
from ..held import in_turn
from ..hooks import HookSession, Tap
from ..models.decoding import Decoding
from ..models.finite import finite_scores
from ..models.inputs import Inputs
from ..models.loaded import LoadedModel
from ..models.origin import require_own
from ..models.spans import require_span
from ..samples.image import ImageSource
from ..types import ALONG_PROMPT, Neuron, Neurons, Part, Site, Span
from .positions import Positions

#: Told the row, the layer, and that row's activations at the positions that are watched, on the model's device.
Watcher: TypeAlias = Callable[[int, int, Float[Tensor, "positions width"]], None]


@in_turn
def watch(
    vlm: LoadedModel,
    inputs: Inputs,
    see: Watcher,
    *,
    layers: Iterable[int],
    span: Span,
    site: Site = "neuron",
    part: Part = "text",
) -> int:
    """One forward pass in which every row's activations over a span are shown to `see`, layer by layer, and not kept.

    Returns how many positions of all rows belong to the span. Raises HookNeverFired where none does.
    """
    require_span(vlm.family, span)
    positions = Positions(vlm)

    def tap(layer: int) -> Tap:
        def read(z: Tensor) -> None:
            inside = positions.ranks(span, "both", z.shape[1]) >= 0
            for row, own in enumerate(inside.to(z.device)):
                see(row, layer, z[row, own])

        return Tap(layer, site, read, part)

    with torch.no_grad(), positions.watching(), HookSession(vlm.structure, [tap(layer) for layer in layers]):
        vlm.logits(inputs)
    count = positions.count(span)
    if not count:
        raise HookNeverFired(f"span={span!r} has no position in the prompt")
    return count


@in_turn
def activations(
    vlm: LoadedModel,
    image: ImageSource,
    neurons: Neurons,
    *,
    span: Span | None = None,
    decoding: Decoding = Decoding(),
    force: bool = False,
) -> Float[np.ndarray, "positions neurons"]:
    """Activations of some neurons over a span of one image's prompt, columns in the order of `neurons`.

    Only the chosen neurons are kept, in float32. Neurons before the decoder are read at all positions that they see;
    `span` does not concern them. Without a span the others are read where the decoder meets the image:
    :attr:`LoadedModel.picture_span`.

    Raises RunMismatch for neurons of other weights, unless `force` takes them at their addresses, NeuronOutOfRange for
    neurons the model does not have, HookNeverFired when no position of the prompt belongs to the span, and
    NoImagePositions where the decoder has no such positions.
    """
    neurons = neurons.anywhere() if force else neurons
    require_own(vlm, neurons)
    if neurons.part not in ALONG_PROMPT:
        return _before_decoder(vlm, image, neurons, decoding)
    span = span or vlm.picture_span
    require_span(vlm.family, span)
    inputs = vlm.prepare([image], decoding)
    by_layer, taken = neurons.by_layer(), dict[int, Tensor]()

    def keep(_row: int, layer: int, z: Tensor) -> None:
        taken[layer] = z[:, by_layer[layer]].float().cpu()

    count = watch(vlm, inputs, keep, layers=by_layer, span=span, site=neurons.site, part=neurons.part)
    columns = {neuron: i for i, neuron in enumerate(neurons)}
    result = np.zeros((count, len(neurons)), dtype=np.float32)
    for layer, units in by_layer.items():
        for i, unit in enumerate(units):
            result[:, columns[Neuron(layer, unit)]] = taken[layer][:, i]
    finite_scores({"an activation": result})
    return result


@in_turn
def mean_activations(
    vlm: LoadedModel,
    images: Sequence[ImageSource],
    *,
    site: Site = "neuron",
    decoding: Decoding = Decoding(),
) -> tuple[Float[np.ndarray, "_"], ...]:
    """The mean of every decoder neuron over the image tokens of some images, one array per layer.

    Raises InvalidOption without images and NoImagePositions where the decoder has no image tokens.
    """
    if not images:
        raise InvalidOption("mean activations need at least one image, got images=[]")
    vlm.require_image_positions()
    sums = [np.zeros(width) for width in vlm.widths]
    count = 0

    def add(_row: int, layer: int, z: Tensor) -> None:
        sums[layer] += z.double().sum(0).cpu().numpy()

    for image in images:
        inputs = vlm.prepare([image], decoding)
        count += watch(vlm, inputs, add, layers=vlm.structure.studied, span="image", site=site)
    means = tuple(total / count for total in sums)
    finite_scores({f"the mean of a neuron of layer {layer}": mean for layer, mean in enumerate(means)})
    return means


def _before_decoder(
    vlm: LoadedModel, image: ImageSource, neurons: Neurons, decoding: Decoding
) -> Float[np.ndarray, "positions neurons"]:
    """Activations in the vision tower or the projector; pictures of one image (tiles) follow one another."""
    inputs = vlm.prepare([image], decoding)
    taken: dict[int, list[Tensor]] = {layer: [] for layer in neurons.by_layer()}
    taps = [
        Tap(layer, neurons.site, lambda z, kept=kept: kept.append(z.flatten(0, 1).float().cpu()), neurons.part)
        for layer, kept in taken.items()
    ]
    with torch.no_grad(), HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    columns = [torch.cat(taken[neuron.layer])[:, neuron.unit] for neuron in neurons]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise InvalidOption(f"these neurons' layers see different numbers of positions ({lengths}): read them apart")
    found = torch.stack(columns, 1).numpy()
    finite_scores({"an activation": found})
    return found

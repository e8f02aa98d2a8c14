"""An edit weighted so that it is heard where the concept is, and little elsewhere.

    w_i' = w_i + r_i Delta_i                          Delta_i: what an editor changes in the value vector of neuron i
    r    = k (C + m I)^-1 a                           k such that a . r = sum a: on the object all adds up as before

    z_i  = activation_i |Delta_i|                     by token: how far neuron i lets its change be heard
    a    = mean of z over the concept's tokens        tokens of `images` with at least half the image's largest sum of z
    C    = mean of z z^T over all image tokens of `keep`;  m: the mean of C's diagonal, so that few tokens do not decide

Of all weights with that sum on the object these have the smallest mean square of r . z elsewhere, but for m: neurons
that are also active elsewhere, or together with such, give way to the others. It is the least-squares form of editing
one layer (Meng et al., ROME, 2022: C^-1 k), for a few neurons of many layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..intervene.capture import activations
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.image import ImageSource
from ..types import Neurons
from .edit import Edit
from .editor import WordEditor


@checked_methods
@dataclass(frozen=True)
class Focused:
    """An editor whose changes are weighted by neuron; see the formula above.

    Attributes:
        editor: makes the changes that are weighted.
    """

    editor: WordEditor
    name: ClassVar[str] = "focused"

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def source(self) -> str:
        """The word that is to go."""
        return self.editor.source

    @property
    def target(self) -> str:
        """The word that is to take its place."""
        return self.editor.target

    @property
    def decoding(self) -> Decoding:
        """How captions are written."""
        return self.editor.decoding

    @in_turn
    def edit(
        self,
        vlm: VLM,
        neurons: Neurons,
        images: Sequence[ImageSource] = (),
        *,
        keep: Sequence[ImageSource] = (),
        force: bool = False,
    ) -> Edit:
        """The editor's edit with its changes weighted, not in force; `report["weights"]` has r.

        Args:
            vlm: the model.
            neurons: whose value vectors are rewritten.
            images: of the concept.
            keep: images that do not show it.
            force: take neurons of other weights at their addresses.

        Raises InvalidOption without images of both kinds, NoImagePositions where the decoder has none, and what the
        editor raises.
        """
        if not len(images) or not len(keep):
            raise InvalidOption("Focused needs images of the concept and images without it (keep)")
        neurons = neurons.anywhere() if force else neurons
        made = self.editor.edit(vlm, neurons, images)
        units = neurons.by_layer()
        lengths = {layer: made.delta(layer).norm(dim=0).cpu().numpy() for layer in units}
        at = {(layer, unit): lengths[layer][n] for layer, chosen in units.items() for n, unit in enumerate(chosen)}
        heard = np.array([at[neuron.layer, neuron.unit] for neuron in neurons])
        read = partial(activations, vlm, decoding=self.decoding)
        members = replace(neurons, site="neuron")  # what W_out multiplies, wherever the set was found
        shown, others = ([read(image, members) * heard for image in group] for group in (images, keep))
        r = focus(shown, others)
        weight = {(neuron.layer, neuron.unit): float(r[n]) for n, neuron in enumerate(neurons)}
        new = {
            layer: (
                made.old[layer].to(made.delta(layer))
                + made.delta(layer) * torch.tensor([weight[layer, unit] for unit in chosen]).to(made.delta(layer))
            ).to(made.old[layer].dtype)
            for layer, chosen in units.items()
        }
        return replace(made, new=new, editor=f"{made.editor}, focused", report={"weights": [*map(float, r)]})


def focus(
    shown: Sequence[Float[np.ndarray, "_tokens neurons"]], others: Sequence[Float[np.ndarray, "_others neurons"]]
) -> Float[np.ndarray, "neurons"]:
    """r of the formula above.

    Args:
        shown: z by token, of each image of the concept.
        others: the same of images without it.

    1 for every neuron where none is heard on the object, or none elsewhere.
    """
    sums = [z.sum(1) for z in shown]
    seen = [z[s >= s.max() / 2] for z, s in zip(shown, sums, strict=True) if s.max() > 0]
    if not seen:  # the neurons are not active on the object
        return np.ones(shown[0].shape[1])
    a = np.concatenate(seen).mean(0, dtype=np.float64)
    elsewhere = np.concatenate(others).astype(np.float64)
    c = elsewhere.T @ elsewhere / len(elsewhere)
    mean = np.trace(c) / len(c)
    if not mean:  # never active elsewhere
        return np.ones(len(a))
    r = np.linalg.solve(c + mean * np.eye(len(c)), a)
    return r * a.sum() / (a @ r)

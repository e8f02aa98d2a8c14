"""Where on its top pictures a neuron is active: read again, since a pass over a folder keeps only where to look.

That is one forward pass for each picture, whatever the number of neurons that are looked at in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..errors import InvalidSample
from ..intervene import activations
from ..loading import VLM
from ..samples.image import read_image
from ..samples.picture_files import digest
from ..types import Neuron
from ..view.heatmap import paint, thinned
from .file import NeuronIndex


@dataclass(frozen=True)
class Look:
    """One neuron in one picture.

    Attributes:
        values: its activation at every image token.
        map: the same over the picture, coarse; None where image tokens have no place on it, or none was made.
        grids: rows and columns of its grids of tokens, one after another; none where there is no map.
    """

    values: Float[np.ndarray, "tokens"]
    map: Float[np.ndarray, "rows columns"] | None
    grids: tuple[tuple[int, int], ...] = ()


#: (neuron, picture's number) -> what it does there.
Looks: TypeAlias = Mapping[tuple[Neuron, int], Look]


def look(
    vlm: VLM,
    index: NeuronIndex,
    wanted: Mapping[int, Sequence[Neuron]],
    *,
    folder: Path | None = None,
    force: bool = False,
    maps: bool = True,
    step: Callable[[str], None] = lambda _: None,
) -> dict[tuple[Neuron, int], Look]:
    """Some neurons in some pictures.

    Args:
        vlm: the model of the index.
        index: where the pictures are listed.
        wanted: picture's number -> the neurons to look at.
        folder: where the pictures are; where the index says if not given.
        force: take an index of other weights at its addresses.
        maps: whether maps are made, which take most of the memory.
        step: told the name of every picture that is looked at.

    Raises InvalidSample for a picture that is missing or is not the one that was indexed; RunMismatch for neurons of
    other weights.
    """
    found: dict[tuple[Neuron, int], Look] = {}
    for number in sorted(wanted):
        step(f"looking at {index.pictures[number].name}")
        picture = indexed_picture(index, number, folder)
        members = index.members(wanted[number])
        values = activations(vlm, picture, members, decoding=index.decoding, force=force)
        tokens = vlm.prepare([picture], index.decoding).images[0]
        grids = tuple((tile.tokens.shape[0], tile.tokens.shape[1]) for tile in tokens.tiles)
        for k, neuron in enumerate(members):
            own = values[:, k]
            heat = paint(own.astype(np.float64), tokens, picture, members[k : k + 1]).values if grids and maps else None
            found[neuron, number] = Look(own, None if heat is None else thinned(heat), grids)
    return found


def indexed_picture(index: NeuronIndex, number: int, folder: Path | None = None) -> Image.Image:
    """A picture of the index, as it is seen. Raises InvalidSample where it is missing, or another one by now."""
    shown = index.pictures[number]
    path = (index.place if folder is None else folder) / shown.path
    try:
        same = digest(path) == shown.sha256
    except (OSError, ValueError) as error:
        raise InvalidSample(
            f"picture {path} of the index cannot be read ({error}): name the folder of its pictures with --images"
        ) from error
    if not same:
        raise InvalidSample(f"picture {path} is not the one that was indexed: run `neuronscope index` again")
    return read_image(path)

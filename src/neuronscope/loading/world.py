"""Whether a picture is of the world that a model was made for, by the model's own vision tower.

    v = mean over patches of the hidden states after some layers, and their standard deviation after some
    d = || (v - mean) W ||,   W from the covariance of v over pictures of that world

Mahalanobis distance of the tower's features (Lee et al., 2018), as it was fitted and calibrated where the model was
made: `world.safetensors` beside the weights holds mean, W, the largest distance that counts as known, and how that was
measured. Only checkpoints that bring this file say anything; the bundled model does. What is told is a notice: pictures
of another world may lie nearer than the limit, and nothing is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import RunMismatch
from ..held import in_turn
from ..parsing import parse_json
from .load import checkpoint_directory

if TYPE_CHECKING:
    from .vlm import VLM

FILE = "world.safetensors"
#: Name of the JSON in the file's metadata.
ABOUT = "world"


@dataclass(frozen=True, eq=False)
class World:
    """What a model knows.

    Attributes:
        knows: in words, for the notice.
        tower: the vision tower's place in the model.
        layers: whose mean hidden states count, from 1.
        spread: whose standard deviations count.
        limit: the largest distance of a picture of this world.
        mean, whiten: of the features, [features] and [features, features].
    """

    knows: str
    tower: str
    layers: tuple[int, ...]
    spread: tuple[int, ...]
    limit: float
    mean: Float[Tensor, "features"]
    whiten: Float[Tensor, "features features"]

    def distance(self, vlm: VLM, image: Image.Image) -> float:
        """How far a picture is from this world; beyond `limit` it is none of it."""
        found = features(vlm, image, self.tower, self.layers, self.spread)
        return float(torch.linalg.vector_norm((found - self.mean) @ self.whiten))


@in_turn
def features(
    vlm: VLM, image: Image.Image, tower: str, layers: tuple[int, ...], spread: tuple[int, ...]
) -> Float[Tensor, "features"]:
    """Of a CLIP tower's hidden states: means over the patches after some layers, standard deviations after some."""
    pixels: Any = vlm.processor.image_processor(image, return_tensors="pt")[vlm.family.pixels]  # no prompt is needed
    module: Any = vlm.model.get_submodule(tower)
    with torch.no_grad():
        states = module(pixels.to(vlm.device), output_hidden_states=True).hidden_states
    patches = [state[0, 1:].float().cpu() for state in states]  # without the class token
    means = [patches[layer].mean(0) for layer in layers]
    return torch.cat([*means, *(patches[layer].std(0, correction=0) for layer in spread)])


def world_of(vlm: VLM) -> World | None:
    """What a model's checkpoint says that it knows; None for nearly all. Raises RunMismatch for a damaged file."""
    return _known(vlm.id)


@lru_cache(maxsize=16)  # asked for every picture, and the natural model's files are looked through to find its folder
def _known(source: str) -> World | None:
    try:
        folder = checkpoint_directory(source)
    except OSError:  # the name of a model in memory may be none of a file
        return None
    path = None if folder is None else folder / FILE
    return read_world(path) if path is not None and path.is_file() else None


def read_world(path: Path) -> World:
    """A file that benchmarks/world.py wrote. Raises RunMismatch for a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            about: Any = parse_json(file.metadata()[ABOUT])
            mean, whiten = file.get_tensor("mean").float(), file.get_tensor("whiten").float()
        layers, spread = tuple(about["layers"]), tuple(about["spread"])
        return World(about["knows"], about["tower"], layers, spread, float(about["limit"]), mean, whiten)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise RunMismatch(f"{path} is damaged: {error}") from error


def notice(vlm: VLM, image: Image.Image) -> str:
    """A sentence for a picture that the model was not made for, by its own measure; empty where nothing is to be said.

    Args:
        vlm: the model; those without `world.safetensors` say nothing.
        image: RGB.

    Raises RunMismatch for a damaged file.
    """
    world = world_of(vlm)
    if world is None or (distance := world.distance(vlm, image)) <= world.limit:
        return ""
    return (
        f"this model knows only {world.knows}, and by its own measure this picture is none of them (distance "
        f"{distance:.0f}, {world.limit:.0f} at most among them): what it says of it, and neurons found in it, mean "
        "little"
    )

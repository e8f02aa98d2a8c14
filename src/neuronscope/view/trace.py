"""Where on the image a neuron looks, for models whose image tokens have no place there (METHODS G2).

A projector of learned queries sums up the whole picture in each image token. The neuron's activation is then traced
back to the vision tower's patches: by *input x gradient*, one backward pass for the shown neurons, by the same gradient
times what a patch has changed by from a grey picture, or by *occlusion*, the change of the activation when a patch is
painted grey, which needs one forward pass per patch and is the causal test of the others. What is traced is y = mean_i
sum_q a_qi a_qi', with the first factor held fixed: activations weighted by themselves, so that query tokens count as
far as the neuron is active there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from ..architecture.towers import VISION_TOWERS
from ..caption.memory import Batches
from ..errors import ImageTokenMismatch, NoGrid
from ..held import hooked, in_turn
from ..hooks import HookSession, Tap
from ..hooks.skip import Enough
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.inputs import Inputs
from ..models.origin import require_own
from ..tokens import Frame, ImageTokens, Tile, equal_cells
from ..tokens.frame import Box
from ..types import ALONG_PROMPT, Neurons

_GREY = 128
_DEEPEST = 3  # how many layers before the end of the tower a projector may read


@in_turn
def input_times_gradient(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """F_p . dy/dF_p for every patch p of the vision tower, and where the patches lie.

    F is what enters the last layer of the tower that the projector reads. Raises NoGrid where the tower's patches have
    no place either.
    """
    return _slope(vlm, picture, neurons, decoding, grey=False)


@in_turn
def gradient_from_grey(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """(F_p - F'_p) . dy/dF_p, where F' is of a grey picture of the same size; otherwise :func:`input_times_gradient`.

    A norm often follows F, and what passes a norm does not depend on the length of F_p: F_p . dy/dF_p is then next to
    nothing, and the way to grey is not.
    """
    return _slope(vlm, picture, neurons, decoding, grey=True)


def _slope(
    vlm: VLM, picture: Image.Image, neurons: Neurons, decoding: Decoding, *, grey: bool
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    inputs = vlm.prepare([picture], decoding)
    for layer in vision_layers(vlm)[:_DEEPEST]:
        leaves: list[Tensor] = []
        with torch.enable_grad(), hooked(layer, "before", _leaf(leaves)):
            y = traced(vlm, inputs, neurons)
            if not y.requires_grad:  # the projector reads the tower before this layer
                continue
            (gradient,) = torch.autograd.grad(y, leaves[:1])
        features = leaves[0].detach().float()
        if grey:
            features = features - _entering(vlm, layer, Image.new("RGB", picture.size, (_GREY,) * 3), decoding)
        values = (features * gradient.float()).sum(-1)
        values = values.reshape(-1, values.shape[-1]).cpu().numpy()
        extra, where = patch_places(vlm, picture, values.shape)
        return values[:, extra:].ravel(), where
    raise NoGrid(f"{vlm.id}: the neurons do not depend on the last {_DEEPEST} layers of its vision tower")


def _entering(vlm: VLM, layer: nn.Module, picture: Image.Image, decoding: Decoding) -> Float[Tensor, "*features"]:
    """What enters a layer of the tower for a picture; nothing behind it is run."""
    found: list[Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append((args[0] if args else kwargs["hidden_states"]).detach().float())
        raise Enough

    with torch.no_grad(), hooked(layer, "before", keep), suppress(Enough):
        vlm.logits(vlm.prepare([picture], decoding))
    return found[0]


def _leaf(leaves: list[Tensor]) -> Callable[..., Any]:
    """A pre-hook that makes what enters a layer the start of the graph."""

    def run(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        features = args[0] if args else kwargs["hidden_states"]
        leaves.append(features.detach().requires_grad_())
        if args:
            return (leaves[-1], *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": leaves[-1]}

    return run


@in_turn
def occlusion(
    vlm: VLM,
    picture: Image.Image,
    neurons: Neurons,
    where: ImageTokens,
    *,
    decoding: Decoding = Decoding(),
    batch_size: int = 16,
) -> Float[np.ndarray, "patches"]:
    """y of the picture minus y with the patch painted grey, for every patch of `where`; 0 where it has no place."""
    weights = _activations(vlm, vlm.prepare([picture], decoding), neurons)
    full = float((weights * weights).sum())
    boxes = {patch: box for patch in range(where.count) if (box := where.footprint(patch)) is not None}
    drops = np.zeros(where.count)

    def drop(patches: Sequence[int]) -> list[float]:
        painted = [_painted(picture, boxes[patch]) for patch in patches]
        seen = _activations(vlm, vlm.prepare(painted, decoding), neurons)
        return ((full - (weights * seen).flatten(1).sum(1)).cpu().numpy() / len(neurons)).tolist()

    batches = Batches(1 if vlm.family.single or vlm.family.alone else batch_size)
    drops[list(boxes)] = batches.run(list(boxes), drop)
    return drops


def _painted(picture: Image.Image, box: Box) -> Image.Image:
    """The picture with a box in grey."""
    x, y, w, h = box
    pixels = np.array(picture)
    pixels[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = _GREY
    return Image.fromarray(pixels)


def traced(vlm: VLM, inputs: Inputs, neurons: Neurons) -> Tensor:
    """y of one row, with its graph."""
    seen = _activations(vlm, inputs, neurons, graph=True)
    return (seen.detach() * seen).sum() / len(neurons)


def _activations(vlm: VLM, inputs: Inputs, neurons: Neurons, *, graph: bool = False) -> Float[Tensor, "rows tokens n"]:
    """Activations of the neurons at the image tokens of each row."""
    require_along_prompt(vlm, neurons)
    found: dict[int, Tensor] = {}
    at = [torch.as_tensor(tokens.positions, device=vlm.device) for tokens in inputs.images]

    def keep(layer: int, units: list[int]) -> Callable[[Tensor], None]:
        def run(z: Tensor) -> None:
            rows = [z[row].index_select(0, where.to(z.device))[:, units] for row, where in enumerate(at)]
            found[layer] = torch.stack(rows).float()

        return run

    taps = [Tap(layer, neurons.site, keep(layer, units), neurons.part) for layer, units in neurons.by_layer().items()]
    with torch.set_grad_enabled(graph), HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    return torch.cat([found[layer].to(vlm.device) for layer in sorted(found)], dim=2)


def require_along_prompt(vlm: VLM, neurons: Neurons) -> None:
    """Refuse neurons of another model, and those that do not see the prompt's positions."""
    require_own(vlm, neurons, neurons.part if neurons.part in ALONG_PROMPT else "text")


def vision_layers(vlm: VLM) -> list[nn.Module]:
    """The vision tower's layers, last first. Raises NoGrid where there is no tower with layers."""
    for holder in (vlm.model, getattr(vlm.model, "model", None)):
        for name in VISION_TOWERS:
            tower: Any = getattr(holder, name, None)
            if isinstance(tower, nn.Module):
                stacks = [m for m in tower.modules() if isinstance(m, nn.ModuleList) and len(m)]
                if stacks:
                    return list(max(stacks, key=len))[::-1]
    raise NoGrid(f"{vlm.id} has no vision tower whose patches a neuron could be traced to")


def patch_places(vlm: VLM, picture: Image.Image, shape: tuple[int, int]) -> tuple[int, ImageTokens]:
    """How many of a picture's tokens come before its patches (a tower may put CLS first), and where the patches lie.

    `shape` is the number of pictures (tiles) that the tower sees, and of tokens of each.

    Raises NoGrid where the patches do not divide the pictures into equal cells.
    """
    pictures, tokens = shape
    numbered = vlm.prepare([picture]).tensors.get("flattened_patches")
    if numbered is not None:
        return 0, _numbered(numbered[..., :2].reshape(-1, 2).long().cpu().numpy(), picture.size)
    frames = vlm.frames(picture)
    for extra in (0, 1):
        count = pictures * (tokens - extra)
        try:
            return extra, ImageTokens(np.arange(count), equal_cells(frames, count))
        except ImageTokenMismatch:
            continue
    raise NoGrid(f"the vision tower's {tokens} tokens do not divide the picture into equal cells")


def _numbered(numbers: Int[np.ndarray, "patches 2"], size: tuple[int, int]) -> ImageTokens:
    """Patches that begin with their row and column, from 1, on a stretched picture; 0 is padding (Pix2Struct)."""
    rows, columns = (int(n) for n in numbers.max(0))
    grid = np.zeros((rows, columns), dtype=int)
    real = np.flatnonzero(numbers.min(1) > 0)
    grid[numbers[real, 0] - 1, numbers[real, 1] - 1] = real
    frame = Frame(size, (columns, rows), (size[0] / columns, size[1] / rows), (0.0, 0.0))
    return ImageTokens(np.arange(len(numbers)), (Tile(grid, frame),))

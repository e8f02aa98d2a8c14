"""Where on the image a neuron looks, for models whose image tokens have no place there (METHODS G2).

A projector of learned queries sums up the whole picture in each image token. The neuron's activation is then traced
back to the vision tower's patches: by *input x gradient*, one backward pass for the shown neurons, or by *occlusion*,
the change of the activation when a patch is painted grey, which needs one forward pass per patch and is the causal
test of the first. What is traced is y = mean_i sum_q a_qi a_qi', with the first factor held fixed: activations
weighted by themselves, so that query tokens count as far as the neuron is active there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..errors import ImageTokenMismatch, NoGrid
from ..hooks import HookSession, Tap
from ..models.inputs import Inputs
from ..tokens import ImageTokens, equal_cells
from ..types import Neurons

if TYPE_CHECKING:
    from ..models.vlm import VLM

_TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "image_encoder")
_GREY = 128
_DEEPEST = 3  # how many layers before the end of the tower a projector may read


def input_times_gradient(
    vlm: VLM, picture: Image.Image, neurons: Neurons
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """F_p . dy/dF_p for every patch p of the vision tower, and where the patches lie.

    F is what enters the last layer of the tower that the projector reads. Raises NoGrid where the tower's patches have
    no place either.
    """
    inputs = vlm.prepare([picture])
    for layer in vision_layers(vlm)[:_DEEPEST]:
        leaves: list[Tensor] = []
        handle = layer.register_forward_pre_hook(_leaf(leaves), with_kwargs=True)
        try:
            with torch.enable_grad():
                y = traced(vlm, inputs, neurons)
                if not y.requires_grad:  # the projector reads the tower before this layer
                    continue
                (gradient,) = torch.autograd.grad(y, leaves[:1])
        finally:
            handle.remove()
        values = (leaves[0].detach().float() * gradient.float()).sum(-1)
        return _placed(vlm, picture, values.reshape(-1, values.shape[-1]).cpu().numpy())
    raise NoGrid(f"{vlm.id}: the neurons do not depend on the last {_DEEPEST} layers of its vision tower")


def _leaf(leaves: list[Tensor]) -> Callable[..., Any]:
    """A pre-hook that makes what enters a layer the start of the graph."""

    def run(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        features = args[0] if args else kwargs["hidden_states"]
        leaves.append(features.detach().requires_grad_())
        if args:
            return (leaves[-1], *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": leaves[-1]}

    return run


def occlusion(
    vlm: VLM, picture: Image.Image, neurons: Neurons, where: ImageTokens, *, batch_size: int = 16
) -> Float[np.ndarray, "patches"]:
    """y of the picture minus y with the patch painted grey, for every patch of `where`."""
    pixels = np.asarray(picture)
    weights = _activations(vlm, vlm.prepare([picture]), neurons)
    full = float((weights * weights).sum())
    painted: list[Image.Image] = []
    for patch in range(where.count):
        box = where.footprint(patch)
        copy = pixels.copy()
        if box is not None:
            x, y, w, h = box
            copy[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = _GREY
        painted.append(Image.fromarray(copy))
    drops: list[float] = []
    for start in range(0, len(painted), 1 if vlm.family.single else batch_size):
        stop = start + (1 if vlm.family.single else batch_size)
        seen = _activations(vlm, vlm.prepare(painted[start:stop]), neurons)
        drops += (full - (weights * seen).flatten(1).sum(1)).tolist()
    return np.array(drops) / len(neurons)


def traced(vlm: VLM, inputs: Inputs, neurons: Neurons) -> Tensor:
    """y of one row, with its graph."""
    seen = _activations(vlm, inputs, neurons, graph=True)
    return (seen.detach() * seen).sum() / len(neurons)


def _activations(vlm: VLM, inputs: Inputs, neurons: Neurons, *, graph: bool = False) -> Float[Tensor, "rows tokens n"]:
    """Activations of the neurons at the image tokens of each row."""
    found: dict[int, Tensor] = {}
    at = [torch.as_tensor(tokens.positions, device=vlm.device) for tokens in inputs.images]

    def keep(layer: int, units: list[int]) -> Callable[[Tensor], None]:
        def run(z: Tensor) -> None:
            rows = [z[row].index_select(0, where.to(z.device))[:, units] for row, where in enumerate(at)]
            found[layer] = torch.stack(rows).float()

        return run

    taps = [Tap(layer, neurons.site, keep(layer, units)) for layer, units in neurons.by_layer().items()]
    with torch.set_grad_enabled(graph), HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    return torch.cat([found[layer].to(vlm.device) for layer in sorted(found)], dim=2)


def vision_layers(vlm: VLM) -> list[nn.Module]:
    """The vision tower's layers, last first. Raises NoGrid where there is no tower with layers."""
    for holder in (vlm.model, getattr(vlm.model, "model", None)):
        for name in _TOWERS:
            tower: Any = getattr(holder, name, None)
            if isinstance(tower, nn.Module):
                stacks = [m for m in tower.modules() if isinstance(m, nn.ModuleList) and len(m)]
                if stacks:
                    return list(max(stacks, key=len))[::-1]
    raise NoGrid(f"{vlm.id} has no vision tower whose patches a neuron could be traced to")


def _placed(
    vlm: VLM, picture: Image.Image, values: Float[np.ndarray, "pictures tokens"]
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """Values of the patches alone (a tower may put CLS first) and where they lie."""
    frames = vlm.frames(picture)
    for extra in (0, 1):
        kept = values[:, extra:]
        try:
            tiles = equal_cells(frames, kept.size)
        except ImageTokenMismatch:
            continue
        return kept.ravel(), ImageTokens(np.arange(kept.size), tiles)
    raise NoGrid(f"the vision tower's {values.shape[1]} tokens do not divide the picture into equal cells")

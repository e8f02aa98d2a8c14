"""Activations together with their gradients, layer by layer of one backward pass.

    forward    the first neurons reached become the leaf at which the graph starts; what lies before them has no graph
    backward   as soon as a layer's gradient dy/dO is there, `see` is given O and dy/dO; neither is kept behind it

So a pass holds what autograd itself holds and one layer's gradient, never all of them. Activations are not held twice:
where a gated FFN multiplies, O = a * u, autograd keeps a and u, and O is made of them again, to the bit, when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..architecture.structure import Structure
from ..held import Held, Undo
from ..types import Site
from .session import HookSession, Tap

#: Neurons of one layer, read at one site.
Place: TypeAlias = tuple[int, Site]
#: Sees a place, its activations and their gradient [positions, width], of one row, or [rows, positions, width] of all.
See: TypeAlias = Callable[[Place, Float[Tensor, "*rows _ _"], Float[Tensor, "*rows _ _"]], None]


class GradientSession(Held["GradientSession"]):
    """One graph, and as many backward passes over it as there are targets.

    Inside the block run the model within :meth:`forward`, make y of its logits, then call :meth:`backward`. On exit
    the graph is let go.

    Args:
        structure: where the layers are.
        places: layers and sites; several sites of a layer share the passes.
        positions: those of a row that are read.
        row: of the batch; None reads all rows, whose positions are the same.
    """

    def __init__(
        self,
        structure: Structure,
        places: Sequence[Place],
        positions: Int[Tensor, "positions"],
        row: int | None = 0,
    ) -> None:
        super().__init__()
        self._row = row
        self._structure = structure
        self._places = tuple(places)
        self._at = _span(positions)
        self._roots: list[Tensor] = []
        self._clean: dict[Place, Callable[[], Tensor]] = {}
        self._handles: dict[Place, RemovableHandle] = {}
        self._waiting: dict[Place, See] = {}

    def _change(self, undo: Undo) -> GradientSession:
        undo.note(self._let_go)
        return self

    def _let_go(self) -> None:
        for handle in self._handles.values():
            handle.remove()
        for held in (self._roots, self._clean, self._handles, self._waiting):  # graph -> hook -> self -> graph
            held.clear()

    def forward(self) -> HookSession:
        """The hooks of the forward pass. Raises InvalidOption for a site that a layer does not have."""
        return HookSession(self._structure, [Tap(*place, partial(self._reached, place)) for place in self._places])

    def backward(self, y: Float[Tensor, ""], see: See, *, again: bool = False) -> None:
        """dy/dO of every place, from the last layer to the first.

        Where y does not depend on a place its gradient is zero, as at image tokens in the last layer (METHODS a,
        identity 4). With `again` the graph is kept for another target.
        """
        self._waiting = dict.fromkeys(self._places, see)
        torch.autograd.grad(y, self._roots, retain_graph=again, allow_unused=True)
        for place in self._waiting:
            clean = self._clean[place]()
            see(place, clean, torch.zeros_like(clean))

    def _reached(self, place: Place, z: Tensor) -> Tensor:
        if place in self._handles:  # a model may run a layer twice: the last time counts
            self._handles.pop(place).remove()
        if not z.requires_grad:
            z = z.detach().requires_grad_()
            self._roots.append(z)
        self._clean[place] = _held(z, place[1], self._read)
        self._handles[place] = z.register_hook(partial(self._passed, place))
        return z

    def _passed(self, place: Place, slope: Tensor | None) -> None:
        if slope is not None:  # None: a zero that autograd did not write out
            see = self._waiting.pop(place)
            see(place, self._clean[place](), self._read(slope))

    def _read(self, values: Float[Tensor, "batch sequence width"]) -> Float[Tensor, "*rows positions width"]:
        """What is read of all positions; a view where they lie side by side."""
        found = values.detach() if self._row is None else values.detach()[self._row]
        if isinstance(self._at, slice):
            return found[..., self._at, :]
        return found.index_select(-2, self._at.to(found.device))


def _span(positions: Int[Tensor, "positions"]) -> slice | Tensor:
    """Positions as a slice where they lie side by side: it needs no copy."""
    count = len(positions)
    begin = int(positions[0]) if count else 0
    together = positions.tolist() == list(range(begin, begin + count))
    return slice(begin, begin + count) if together else positions


def _held(
    z: Float[Tensor, "batch sequence width"], site: Site, read: Callable[[Tensor], Tensor]
) -> Callable[[], Tensor]:
    """What gives the activations at the backward pass, with as little as possible kept until then."""
    if site == "pre":  # the activation function's backward needs its input
        whole = z.detach()
        return lambda: read(whole)
    if (factors := _factors(z)) is not None:
        return lambda: torch.mul(*(read(factor) for factor in factors().values()))
    few = read(z)
    few = few.clone() if few._is_view() else few  # a view would hold all positions
    return lambda: few


def _factors(z: Tensor) -> Callable[[], Mapping[str, Tensor]] | None:
    """What autograd keeps of z = a * u until it has gone back over it; None where z is not such a product."""
    node: Any = z.grad_fn
    if node is None or node.name() != "MulBackward0":
        return None

    def saved() -> dict[str, Any]:
        return {name: getattr(node, name) for name in ("_saved_self", "_saved_other")}

    whole = all(isinstance(f, Tensor) and (f.shape, f.dtype) == (z.shape, z.dtype) for f in saved().values())
    return saved if whole else None

"""The one owner of hook handles.

A :class:`HookSession` resolves and validates every tap before the first hook goes in, counts how often each one fired,
removes exactly what it installed - also after an exception or an interrupt - and says when a tap was never reached.
Hooks that others placed are never touched. Calls of the model in other threads are refused meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jaxtyping import Float
from torch import Tensor

from ..architecture.structure import FFN, Structure
from ..errors import HookNeverFired, InvalidOption, NeuronOutOfRange
from ..held import Held, Undo
from ..types import Neurons, Part, Site
from .routed import tap_routed
from .running import runs

#: Sees a layer's activations [batch, positions, d_f], before the decoder [pictures, positions, d_f]; returns a
#: replacement, or None to leave them as they are.
TapFunction: TypeAlias = Callable[[Float[Tensor, "batch positions width"]], Tensor | None]


@dataclass(frozen=True)
class Tap:
    """Read or replace one layer's neurons at one site."""

    layer: int
    site: Site
    function: TapFunction
    part: Part = "text"


class HookSession(Held["HookSession"]):
    """Installs taps on entry, removes them on exit.

    Args:
        structure: where the layers are.
        taps: what to install. Raises NeuronOutOfRange or InvalidOption at construction for a layer or site that the
            model does not have.
        must_fire: raise HookNeverFired on a clean exit when a tap was not reached.
    """

    def __init__(self, structure: Structure, taps: Sequence[Tap], *, must_fire: bool = True) -> None:
        super().__init__()
        for tap in taps:
            check_layer(structure, tap.layer, tap.part)
            ffn = structure.stack(tap.part).ffns[tap.layer]
            sites = ffn.sites
            if not sites:
                raise NeuronOutOfRange(f"layer {tap.layer} has no neurons: {ffn.note}")
            if tap.site not in sites:
                raise InvalidOption(
                    f"site {tap.site!r} cannot be hooked in layer {tap.layer}: its activation is a function, "
                    f"not a module. Available: {', '.join(sites)}."
                )
        self._structure = structure
        self._taps = tuple(taps)
        self._must_fire = must_fire
        self._rows: dict[int, int] = {}
        self.fired = [0] * len(self._taps)

    def _change(self, undo: Undo) -> HookSession:
        for layer in {tap.layer for tap in self._taps if tap.part == "text"}:
            self._count_rows(undo, layer)
        for index, tap in enumerate(self._taps):
            self._install(undo, index, tap, self._structure.stack(tap.part).ffns[tap.layer])
        return self

    def _left(self, error: BaseException | None) -> None:
        if error is None and self._must_fire:
            silent = sorted(
                {(tap.part, tap.layer) for tap, count in zip(self._taps, self.fired, strict=True) if not count}
            )
            if silent:
                where = ", ".join(f"{part}.{layer}" for part, layer in silent)
                raise HookNeverFired(f"the model never reached the hooked neurons of {where}")

    def _count_rows(self, undo: Undo, layer: int) -> None:
        """Remember the batch size that a layer is called with: some FFNs see rows and positions in one axis."""

        def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            self._rows[layer] = hidden.shape[0]

        undo.hook(self._structure.layers[layer], "before", before, with_kwargs=True)

    def _install(self, undo: Undo, index: int, tap: Tap, ffn: FFN) -> None:
        def call(activations: Tensor) -> Tensor | None:
            self.fired[index] += 1
            if activations.ndim == 3:
                return tap.function(activations)
            if tap.part == "text":
                if not runs(self._structure.layers[tap.layer]):  # the rows are those of another call
                    raise InvalidOption(
                        f"the FFN of layer {tap.layer} was called outside of its layer, and its input of shape "
                        f"{tuple(activations.shape)} does not say how many rows there are: call the layer, or the model"
                    )
                seen = activations.unflatten(0, (self._rows[tap.layer], -1))
            elif activations.ndim == 2:  # towers that see the patches of all pictures in one axis
                seen = activations[None]
            else:  # towers that keep rows and columns of patches apart
                seen = activations.flatten(1, -2)
            changed = tap.function(seen)
            return None if changed is None else changed.reshape(activations.shape)

        if ffn.experts:
            tap_routed(undo, ffn.output, call)
            return

        if tap.site == "act":
            assert ffn.activation is not None

            def after(_module: Any, _inputs: Any, output: Tensor) -> Tensor | None:
                return call(output)

            undo.hook(ffn.activation, "after", after)
            return

        def before(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            changed = call(inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        module = ffn.output if tap.site == "neuron" else ffn.activation
        assert module is not None
        undo.hook(module, "before", before)


def check_layer(structure: Structure, layer: int, part: Part = "text") -> None:
    """Raise NeuronOutOfRange unless the model's part has this layer."""
    ffns = structure.stack(part).ffns
    if not 0 <= layer < len(ffns):
        whose = "the model" if part == "text" else f"its {part} part"
        raise NeuronOutOfRange(f"layer {layer} does not exist; {whose} has layers 0 to {len(ffns) - 1}")


def check_neurons(structure: Structure, neurons: Neurons) -> None:
    """Raise NeuronOutOfRange unless the model has all of these neurons."""
    for neuron in neurons:
        check_unit(structure, neuron.layer, neuron.unit, neurons.part)


def check_unit(structure: Structure, layer: int, unit: int, part: Part = "text") -> None:
    """Raise NeuronOutOfRange unless the model has this neuron."""
    check_layer(structure, layer, part)
    width = structure.stack(part).ffns[layer].width
    if not 0 <= unit < width:
        raise NeuronOutOfRange(f"unit {unit} does not exist in layer {layer}, which has units 0 to {width - 1}")

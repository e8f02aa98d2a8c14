"""Hooks go in after validation, come out in every case, and leave those of others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

import neuronscope as ns
from neuronscope.architecture.structure import Structure
from neuronscope.errors import HookNeverFired, InvalidOption, NeuronOutOfRange
from neuronscope.hooks import HookSession, Tap, check_unit


def hooks(vlm: ns.VLM) -> list[tuple[str, int]]:
    """Every hook in the decoder layers, by its handle's number (transformers keeps its own in the vision tower)."""
    return [
        (name, number)
        for name, module in nn.ModuleList(vlm.structure.layers).named_modules()
        for table in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for number in table
    ]


class StopError(Exception):
    """Raised inside the model."""


def stop(error: type[BaseException]) -> Callable[[torch.Tensor], None]:
    def function(_: torch.Tensor) -> None:
        raise error

    return function


@pytest.fixture
def foreign(vlm: ns.VLM) -> Iterator[list[tuple[str, int]]]:
    """Somebody else's hooks on the same modules, and what is installed with them."""
    ffn = vlm.structure.ffns[1]
    handles = [ffn.output.register_forward_hook(lambda *_: None), ffn.output.register_forward_pre_hook(lambda *_: None)]
    yield hooks(vlm)
    for handle in handles:
        handle.remove()


def functional(structure: Structure) -> Structure:
    """The same decoder, as if layer 1 had its activation as a function instead of a module."""
    ffns = list(structure.ffns)
    ffns[1] = replace(ffns[1], activation=None)
    return replace(structure, ffns=tuple(ffns))


CASES = {
    "success": ([Tap(1, "neuron", lambda z: z), Tap(2, "act", lambda z: z), Tap(3, "pre", lambda _: None)], None),
    "no tap at all": ([], None),
    "layer too high": ([Tap(1, "neuron", lambda z: z), Tap(4, "neuron", lambda z: z)], NeuronOutOfRange),
    "layer negative": ([Tap(-1, "neuron", lambda z: z)], NeuronOutOfRange),
    "bad site": ([Tap(1, "neuron", lambda z: z), Tap(1, "act", lambda z: z)], InvalidOption),
    "exception inside the model": ([Tap(1, "neuron", lambda z: z), Tap(2, "neuron", stop(StopError))], StopError),
    "interrupt inside the model": ([Tap(1, "act", stop(KeyboardInterrupt))], KeyboardInterrupt),
}


@pytest.mark.parametrize("case", CASES)
def test_hooks_are_removed_in_every_case_and_foreign_ones_stay(vlm: ns.VLM, picture, foreign: list, case: str):
    taps, error = CASES[case]
    structure = functional(vlm.structure) if case == "bad site" else vlm.structure
    inputs = vlm.prepare([picture])

    def run() -> None:
        with HookSession(structure, taps) as session:
            # one on each tapped layer besides, for its batch size
            assert len(hooks(vlm)) == len(foreign) + len(taps) + len({tap.layer for tap in taps})
            vlm.logits(inputs)
        assert session.fired == [1] * len(taps)

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    assert hooks(vlm) == foreign


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_bad_layer_is_named_before_any_hook_goes_in(vlm: ns.VLM, layer: int):
    with pytest.raises(NeuronOutOfRange, match=rf"layer {layer} does not exist; the model has layers 0 to 3"):
        HookSession(vlm.structure, [Tap(0, "neuron", lambda _: None), Tap(layer, "neuron", lambda _: None)])
    assert not hooks(vlm)


@pytest.mark.parametrize("unit", [-1, 48])
def test_a_bad_unit_is_named(vlm: ns.VLM, unit: int):
    with pytest.raises(NeuronOutOfRange, match=rf"unit {unit} does not exist in layer 2, which has units 0 to 47"):
        check_unit(vlm.structure, 2, unit)


def test_a_site_that_cannot_be_hooked_names_those_that_can(vlm: ns.VLM):
    with pytest.raises(InvalidOption, match=r"site 'pre' cannot be hooked in layer 1.*Available: neuron\."):
        HookSession(functional(vlm.structure), [Tap(1, "pre", lambda _: None)])


def test_a_hook_that_never_fired_is_an_error(vlm: ns.VLM):
    with pytest.raises(HookNeverFired, match=r"neurons of text\.0, text\.2"):  # noqa: SIM117
        with HookSession(vlm.structure, [Tap(2, "neuron", lambda _: None), Tap(0, "act", lambda _: None)]):
            pass
    with HookSession(vlm.structure, [Tap(2, "neuron", lambda _: None)], must_fire=False):
        pass
    assert not hooks(vlm)


def test_the_models_own_error_is_not_hidden_by_hook_never_fired(vlm: ns.VLM):
    with pytest.raises(StopError), HookSession(vlm.structure, [Tap(2, "neuron", lambda _: None)]):
        raise StopError


@pytest.mark.parametrize("site", ["neuron", "act", "pre"])
def test_each_site_reads_and_replaces_what_its_formula_says(vlm: ns.VLM, picture, site):
    """A replaced site changes everything after it; sites are tied by n = act(pre) * up (METHODS a)."""
    inputs = vlm.prepare([picture])
    seen: dict[str, torch.Tensor] = {}

    def keep(z: torch.Tensor, at: str) -> None:
        seen[at] = z.detach().clone()

    taps = [Tap(1, name, lambda z, at=name: keep(z, at)) for name in ("pre", "act", "neuron")]
    block = vlm.structure.ffns[1].block
    up: list[torch.Tensor] = []
    handle = block.up_proj.register_forward_hook(lambda _m, _i, out: up.append(out))
    try:
        with torch.no_grad(), HookSession(vlm.structure, [Tap(1, site, lambda z: z * 0 + 2), *taps]):
            vlm.logits(inputs)
    finally:
        handle.remove()
    replaced = torch.full_like(seen[site], 2)
    expected = {"pre": {"pre": replaced}, "act": {"act": replaced}, "neuron": {"neuron": replaced}}[site]
    act = expected.get("act", torch.nn.functional.silu(expected.get("pre", seen["pre"])))
    torch.testing.assert_close(seen["act"], act)
    torch.testing.assert_close(seen["neuron"], expected.get("neuron", act * up[0]))

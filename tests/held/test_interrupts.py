"""An interrupt at places all over an operation leaves everything as it was; only an edit may have to be reverted."""

from __future__ import annotations

import contextlib
import gc
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from benchmarks.interrupts import WAYS, Bench, alarms, interrupted, odd, places

import neuronscope as ns
from neuronscope.held import Changing
from neuronscope.held.modes import FunctionMode
from neuronscope.held.undo import opened
from neuronscope.intervene.permuted import permuted_image
from neuronscope.testing import tiny_vlm
from neuronscope.view.rollout import watched

#: Operation -> places that are tried, spread over all; lines of beginning and ending a block are tried below.
TRIED = {
    "apply, revert": 12,
    "with edit": 25,
    "frozen": 10,
    "intervene": 8,
    "permuted image": 8,
    "activations": 8,
    "captions under noise": 5,
    "backward pass": 8,
    "decode": 8,
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(odd(tiny_vlm(layers=3)))


@pytest.mark.usefixtures("unchecked")  # the type checker of these tests draws from Python's random numbers
@pytest.mark.parametrize("way", ["signal", "raise"])
@pytest.mark.parametrize("name", TRIED)
def test_nothing_is_left(bench: Bench, name: str, way: str):
    run, count = bench.operations()[name], Counter[str]()
    run()
    with alarms():
        end = min(int(places(run, way)) for _ in range(2))
        for n in range(TRIED[name]):
            bench.trial(run, way, 1 + int((n + 0.5) * end / TRIED[name]), count)
    assert count["interrupted"] >= TRIED[name] - 1  # one may come when the work, shorter this time, is done
    assert not count["left"], dict(count)


def test_every_way_is_known():
    assert set(WAYS) == {"timer", "signal", "raise"}


def test_a_signal_waits_until_a_change_is_whole_and_is_delivered_then():
    done: list[str] = []

    def change(undo) -> None:
        undo.note(lambda: done.append("back"))
        signal.raise_signal(signal.SIGALRM)
        done.append("changed")

    with alarms(), pytest.raises(KeyboardInterrupt), Changing(change):
        done.append("inside")
    assert done == ["changed", "back"]


def test_a_handler_that_returns_interrupts_nothing():
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: seen.append(number))
    try:
        with Changing(lambda _undo: signal.raise_signal(signal.SIGALRM)):
            assert seen == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_set_inside_the_block_stays():
    def own(*_: object) -> None: ...

    before = signal.getsignal(signal.SIGALRM)
    try:
        with alarms(), Changing(lambda _undo: None):
            signal.signal(signal.SIGALRM, own)
            with Changing(lambda _undo: None):
                pass
            assert signal.getsignal(signal.SIGALRM) is own
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_operation_that_is_not_interrupted_says_so():
    assert interrupted(lambda: None, "raise", -1)[0] is False


#: What modules call their tables of hooks; others would be further attributes.
HOOKS = [name for name, table in vars(torch.nn.Module()).items() if "_hooks" in name and isinstance(table, dict)]


def left(vlm: ns.VLM) -> dict[str, object]:
    """What beginning and ending a block could leave, in a millisecond: no values of weights."""
    modules = [vars(m) for m in vlm.model.modules()]
    return {
        "hooks": [(k, name, list(own[name])) for k, own in enumerate(modules) for name in HOOKS if own[name]],
        "attributes": [set(own) for own in modules],
        "training": [own["training"] for own in modules],
        "requires_grad": [p.requires_grad for own in modules for p in own["_parameters"].values() if p is not None],
        "modes": (torch.is_grad_enabled(), torch._C._len_torch_function_stack()),
        "opened": list(opened()),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)],
    }


NEURONS = ns.Neurons.of([(layer, unit) for layer in (0, 2) for unit in (1, 5)])
BLOCKS: dict[str, Callable[[ns.VLM], Callable[[], AbstractContextManager[object]]]] = {
    "intervene": lambda vlm: lambda: vlm.intervene(ns.Zero(NEURONS)),
    "intervene in the tower": lambda vlm: lambda: vlm.intervene(ns.Zero(ns.Neurons.at("vision.0.3"))),
    "permuted image": lambda vlm: lambda: permuted_image(vlm, 1),
    "frozen": lambda vlm: vlm.frozen,
    "watched": lambda vlm: lambda: watched(vlm),
    "within each other": lambda vlm: (
        lambda: Changing(
            lambda undo: [undo.enter(Changing(lambda inner: inner.hook(vlm.model, "before", print))) for _ in range(2)]
        )
    ),
    "a mode of torch": lambda _: lambda: Changing(lambda undo: undo.enter(FunctionMode())),
}


#: Blocks that do the same for every parameter or part: of how many lines one is tried; else all are.
STEPS = {"frozen": 5, "watched": 3}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BLOCKS)
def test_an_exception_before_any_line_of_beginning_or_ending_a_block_leaves_nothing(bench: Bench, name: str):
    block = BLOCKS[name](bench.vlm)

    def run() -> None:
        with block():
            raise ZeroDivisionError  # an intervention that meets no call is an error of its own

    def tried(at: int) -> int:
        try:
            return interrupted(run, "raise", at)[1]
        except ZeroDivisionError:
            return -1

    tried(0)
    before = left(bench.vlm)
    lines = 0
    with alarms():
        inside = left(bench.vlm)["handlers"]
        for at in range(1, 10**5, STEPS.get(name, 1)):
            came = tried(at) >= 0
            gc.collect(0)
            assert left(bench.vlm) == {**before, "handlers": inside}, at
            lines = at
            if not came:
                break
    assert lines > 20


@pytest.mark.parametrize("within", [True, False], ids=["gradients", "no gradients"])
@pytest.mark.parametrize("name", [name for name in BLOCKS if name != "a mode of torch"])  # that one calls nothing
def test_gradients_are_on_or_off_as_before_when_a_model_that_was_called_inside_has_left_them(
    bench: Bench, name: str, within: bool
):
    """Torch's own `no_grad`, interrupted between two lines, stays in force: in the user's call of his model."""
    with torch.set_grad_enabled(within):
        with contextlib.suppress(KeyboardInterrupt), BLOCKS[name](bench.vlm)():
            torch.set_grad_enabled(not within)
            raise KeyboardInterrupt
        assert torch.is_grad_enabled() == within

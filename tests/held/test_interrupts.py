"""An interrupt at places all over an operation leaves everything as it was; only an edit may have to be reverted."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from benchmarks.interrupts import WAYS, Bench, alarms, interrupted, odd, places

from neuronscope.held import Changing
from neuronscope.testing import tiny_vlm

#: Operation -> places that are tried, spread over all.
TRIED = {
    "apply, revert": 12,
    "with edit": 25,
    "frozen": 25,
    "intervene": 15,
    "permuted image": 15,
    "activations": 8,
    "captions under noise": 5,
    "backward pass": 8,
    "decode": 8,
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(odd(tiny_vlm()))


@pytest.mark.usefixtures("unchecked")  # the type checker of these tests draws from Python's random numbers
@pytest.mark.parametrize("way", ["signal", "raise"])
@pytest.mark.parametrize("name", TRIED)
def test_nothing_is_left(bench: Bench, name: str, way: str):
    run, count = bench.operations()[name], Counter[str]()
    run()
    with alarms():
        end = int(places(run, way))
        for n in range(TRIED[name]):
            bench.trial(run, way, 1 + int((n + 0.5) * end / TRIED[name]), count)
    assert count["interrupted"] == TRIED[name]
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

"""Ctrl-C at every place: what of the model, and of the process, is then not as it was?

    python -m benchmarks.interrupts [--trials 2000] [--model demo]

Three ways of interrupting an operation:

    timer    a real signal after a random time; its handler raises KeyboardInterrupt, as Ctrl-C does
    signal   a signal before the k-th instruction of this package, of contextlib, or of torch's hooks and gradient modes
    raise    KeyboardInterrupt raised at the start of the k-th line of this package, whatever it is in the midst of:
             harsher than any signal, which handlers can hold back

After each one weights, edits, hooks, modes, gradients, random numbers, settings, signal handlers and whose turn it is
are compared with before. "mended" counts edits that were in force afterwards, as their ledger said, and which revert()
took back to the bit: those of `apply` whose revert was not reached. Everything else that differs is "left".
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.autograd import grad_mode
from torch.nn.modules import module as torch_module

import neuronscope as ns
from neuronscope.caption import generate_captions
from neuronscope.edit.ledger import ledger_of
from neuronscope.held.turns import turn
from neuronscope.held.undo import opened
from neuronscope.intervene import activations
from neuronscope.intervene.permuted import permuted_image
from neuronscope.locate.scores import activation_differences, grad_times_activation

PACKAGE = str(Path(ns.__file__).parent)
BESIDE = (contextlib.__file__, grad_mode.__file__, torch_module.__file__)
#: Way -> (also instructions, files).
WAYS = {"timer": (False, ()), "signal": (True, BESIDE), "raise": (False, ())}


def state(vlm: ns.VLM) -> dict[str, Any]:
    """All that an operation could leave changed."""
    model: Any = vlm.model
    modules = dict(model.named_modules())
    legacy: Any = np.random.get_state()  # noqa: NPY002  (it is the one that a careless call would change)
    return {
        "weights": {name: (id(p), p.detach().clone()) for name, p in model.state_dict(keep_vars=True).items()},
        "edits": [entry.digest for entry in ledger_of(vlm).entries],
        "fingerprint": vlm.fingerprint,
        "hooks": {name: _hooks(m) for name, m in modules.items()},
        "attributes": {name: sorted(vars(m)) for name, m in modules.items()},
        "training": {name: m.training for name, m in modules.items()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "settings": (model.config.to_dict(), model.generation_config.to_dict()),
        "modes": (torch.is_grad_enabled(), torch._C._len_torch_function_stack()),
        "random": (torch.get_rng_state().tolist(), random.getstate(), legacy[1].tolist(), legacy[2:]),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM)],
        "opened": list(opened()),
        "turn": free(vlm),
    }


def _hooks(module: Any) -> list[Any]:
    return [list(hooks) for table, hooks in vars(module).items() if "_hooks" in table and isinstance(hooks, dict)]


def free(vlm: ns.VLM) -> bool:
    """Whether another thread gets its turn at once."""
    got = threading.Event()

    def ask() -> None:
        with turn(vlm.model):
            got.set()

    threading.Thread(target=ask, daemon=True).start()
    return got.wait(2)


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The names of what is not as before."""

    def same(name: str) -> bool:
        if name != "weights":
            return now[name] == before[name]
        return all(
            a[0] == b[0] and torch.equal(a[1], b[1])
            for a, b in zip(before[name].values(), now[name].values(), strict=True)
        )

    return [name for name in before if not same(name)]


def interrupted(run: Callable[[], object], way: str, at: float) -> tuple[bool, int]:
    """Run with an interrupt: (whether it came, how many places were passed). `at`: seconds, or a place."""
    passed = 0
    instructions, beside = WAYS[way]

    def act() -> None:
        if way == "raise":
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGALRM)

    def local(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal passed
        if event in ("opcode", "call") if instructions else event == "line":
            passed += 1
            if passed == at:
                sys.settrace(None)
                act()
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) and name not in beside:
            return None
        frame.f_trace_opcodes = instructions
        return local(frame, event, arg)

    try:
        if way == "timer":
            signal.setitimer(signal.ITIMER_REAL, at)
        else:
            sys.settrace(trace)
        run()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True, passed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(None)
    return False, passed


class Bench:
    """Operations on one model, by name; `edits` are those that may be in force at the end of one."""

    def __init__(self, vlm: ns.VLM) -> None:
        self.vlm = vlm
        self.picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
        self.neurons = ns.Neurons.of([(layer, unit) for layer in range(vlm.layers - 1) for unit in range(0, 48, 5)])
        self.edit = ns.Ablate().edit(vlm, self.neurons)
        self.inputs = vlm.prepare([self.picture])
        self.short = ns.Decoding(max_new_tokens=2)
        self._whole: tuple[object, dict[str, Any]] | None = None

    def operations(self) -> dict[str, Callable[[], object]]:
        """Name -> what is run."""
        vlm, picture, inputs, zero = self.vlm, self.picture, self.inputs, ns.Zero(self.neurons)
        forward: Callable[[], object] = lambda: vlm.model(**inputs.tensors)  # noqa: E731

        def within(block: Callable[[], Any], run: Callable[[], object]) -> Callable[[], None]:
            def both() -> None:
                with block():
                    run()

            return both

        def apply() -> None:
            self.edit.apply()
            self.edit.revert()

        return {
            "apply, revert": apply,
            "with edit": within(lambda: self.edit, lambda: None),
            "frozen": within(vlm.frozen, lambda: None),
            "intervene": within(lambda: vlm.intervene(zero), forward),
            "permuted image": within(lambda: permuted_image(vlm, 1), forward),
            "logits": lambda: vlm.logits(inputs),
            "activations": lambda: activations(vlm, picture, self.neurons),
            "captions": lambda: generate_captions(vlm, [picture], decoding=self.short),
            "captions under noise": lambda: generate_captions(
                vlm, [picture], ns.Noise(self.neurons, level=9.0, draws=2), decoding=self.short
            ),
            "captioner": lambda: ns.Captioner(vlm, [picture], decoding=self.short).captions(zero),
            "differences": lambda: activation_differences(vlm, picture, [picture], site="neuron"),
            "backward pass": lambda: grad_times_activation(vlm, inputs, [[(1, 5)], [(1, 6)]]),
            "decode": lambda: ns.decode(vlm, self.neurons, top=2),
        }

    def trial(self, run: Callable[[], object], way: str, at: float, count: Counter[str]) -> int:
        """One interrupt. Adds up in `count`; returns how many places were passed.

        A trial that left nothing ended in the state that it began with: from there the next of the same run begins.
        """
        before = self._whole[1] if self._whole is not None and self._whole[0] is run else state(self.vlm)
        came, passed = interrupted(run, way, at)
        gc.collect(0)
        found = differing(before, state(self.vlm))
        count["trials"] += 1
        count["interrupted"] += came
        if found and set(found) <= {"weights", "edits", "fingerprint"} and self.edit.applied:
            self.edit.revert()
            found = differing(before, state(self.vlm))
            count["mended"] += not found
        if found:
            count["left"] += 1
            count[f"left: {', '.join(found)}"] += 1
        self._whole = None if found else (run, before)
        return passed


def raising(_number: int, _frame: FrameType | None) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def alarms() -> Iterator[None]:
    """The alarm interrupts, for the time of the block."""
    before = signal.signal(signal.SIGALRM, raising)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def odd(vlm: ns.VLM) -> ns.VLM:
    """In training, with gradients asked for: there is more to leave behind."""
    vlm.model.train()
    vlm.model.requires_grad_(True)
    return vlm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="in all")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(odd(ns.load(asked.model)))
    operations, rng = bench.operations(), random.Random(asked.seed)
    share = max(1, asked.trials // (len(operations) * len(WAYS)))
    table = Table("operation", "way", "places", "trials", "interrupted", "mended", "left")
    total: Counter[str] = Counter()
    with alarms():
        for name, run in operations.items():
            run()
            for way in WAYS:
                count: Counter[str] = Counter()
                end = places(run, way)
                for n in range(share):
                    at = rng.uniform(1e-6, end) if way == "timer" else 1 + int((n + rng.random()) * end / share)
                    bench.trial(run, way, at, count)
                shown = f"{end * 1000:.1f} ms" if way == "timer" else str(int(end))
                table.add_row(
                    name, way, shown, *(str(count[key]) for key in ("trials", "interrupted", "mended", "left"))
                )
                total += count
    console = Console(width=110)
    console.print(table)
    console.print(dict(total))
    sys.exit(total["left"] > 0)


def places(run: Callable[[], object], way: str) -> float:
    """How many places an operation passes; for the timer how many seconds it takes."""
    if way == "timer":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    return interrupted(run, way, -1)[1]


if __name__ == "__main__":
    main()

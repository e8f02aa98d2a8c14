"""What is left behind: hooks, forwards, modes, gradients, tensors."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import NeuronOutOfRange
from ..held import hooked
from ..loading import VLM
from ..loading.checks.common import (
    STEPS,
    Outcome,
    checked_span,
    generate,
    noise_picture,
    some_neurons,
    without_positions,
)
from ..models.inputs import Inputs
from ..types import Neurons


def check_model_is_left_alone(vlm: VLM) -> Outcome:
    """After success, a bad argument, an exception and an interrupt inside the model, the model is as it was."""
    from ..intervene.operations import Zero

    inputs = vlm.prepare([noise_picture()])
    before = _traces(vlm.model)
    seen: list[int] = []
    foreign = vlm.structure.layers[0].register_forward_hook(lambda *_: seen.append(1))
    try:
        with_foreign = _traces(vlm.model)
        zero = Zero(some_neurons(vlm), span=checked_span(vlm))
        generate(vlm, inputs, zero)
        problems = [] if _traces(vlm.model) == with_foreign else ["success"]
        for name, error, act in _accidents(vlm, inputs, zero):
            try:
                act()
                problems.append(f"{name} raised nothing")
            except error:
                pass
            if _traces(vlm.model) != with_foreign:
                problems.append(name)
        if not seen:
            problems.append("a foreign hook was lost")
    finally:
        foreign.remove()
    if _traces(vlm.model) != before:
        problems.append("the end")
    return (f"traces left after: {', '.join(problems)}" if problems else "hooks, forwards, modes, gradients"), (
        not problems
    )


def _accidents(vlm: VLM, inputs: Inputs, change: Any) -> Iterable[tuple[str, type[BaseException], Callable[[], Any]]]:
    class _Accident(Exception):
        pass

    def inside(error: type[BaseException]) -> Callable[[], Any]:
        def run() -> None:
            def stop(*_: Any) -> None:
                raise error

            with hooked(vlm.structure.layers[-1], "after", stop):
                generate(vlm, inputs, change)

        return run

    def bad() -> None:
        with vlm.intervene(type(change)(Neurons.of([(vlm.layers, 0)]), span=change.span)):
            pass

    return (
        ("a bad argument", NeuronOutOfRange, bad),
        ("an exception in the model", _Accident, inside(_Accident)),
        ("an interrupt in the model", KeyboardInterrupt, inside(KeyboardInterrupt)),
    )


def _traces(model: nn.Module) -> list[tuple[Any, ...]]:
    """Everything about a model's modules that a careless tool could leave changed."""
    return [
        (
            name,
            len(m._forward_hooks),  # pyright: ignore[reportPrivateUsage]
            len(m._forward_pre_hooks),  # pyright: ignore[reportPrivateUsage]
            len(m._backward_hooks),  # pyright: ignore[reportPrivateUsage]
            m.training,
            sorted(key for key, value in vars(m).items() if callable(value) and not key.startswith("_")),
            tuple(p.requires_grad for p in m.parameters(recurse=False)),
        )
        for name, m in model.named_modules()
    ]


def check_memory(vlm: VLM) -> Outcome:
    """Scores and captions, made once more, leave no more tensors behind than the time before."""
    from ..caption import generate_captions
    from ..intervene.operations import Noise
    from ..locate.scores import activation_differences, grad_times_activation
    from ..models.decoding import Decoding

    picture, short = noise_picture(), Decoding(max_new_tokens=STEPS)
    noise = Noise(some_neurons(vlm), level=1.0, draws=2, span=checked_span(vlm))

    def run() -> None:
        generate_captions(vlm, [picture], noise, decoding=short)
        if not without_positions(vlm):
            grad_times_activation(vlm, vlm.prepare([picture]), [[(1, 5)]])
            activation_differences(vlm, picture, [picture], site="neuron")

    with _old_objects_aside():
        run()  # what is kept for good is made now
        first = _tensors()
        run()
        second = _tensors()
    return f"{second - first} more tensors after a second run", second <= first


def _tensors() -> int:
    """How many tensors are alive, of the objects that are not set aside."""
    gc.collect()
    # The type, not isinstance(): asking some lazy objects for their class wakes them up.
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


@contextmanager
def _old_objects_aside() -> Generator[None]:
    """Take what exists already out of the garbage collector's view: looking through a large program takes a while."""
    if gc.get_freeze_count():  # the program does this by itself
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

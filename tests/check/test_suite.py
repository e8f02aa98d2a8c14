"""Every family of the table passes every check that applies to it, on a tiny random model from its real config.

In float32, and in bfloat16 where the type of the weights can matter. float16, and what each check still tells with 16
bits, are in test_dtypes.py; models that are split over devices in test_devices.py.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import neuronscope as ns
from neuronscope.check import conformance
from neuronscope.check.suite import CHECKS
from neuronscope.check.traces import check_memory
from neuronscope.errors import InvalidOption
from neuronscope.intervene.capture import activations
from neuronscope.loading.checks.common import NotApplicable
from neuronscope.loading.selfcheck import Check
from neuronscope.locate.validity import check_validity
from neuronscope.models.families import FAMILIES
from neuronscope.studies.demo.scenes import scenes_of
from zoo import ZOO

#: What does not hang on the type of the weights: where image tokens are, what is kept, and what is left behind.
FORM = (
    *("coloured square", "several images", "copied = whole", "effects = one by one", "heat map"),
    *("vision neurons", "projector neurons", "model left alone", "memory released"),
)


#: By default every second family in float32 and every tenth in bfloat16; NEURONSCOPE_ZOO=all takes all of them.
ALL = os.environ.get("NEURONSCOPE_ZOO") == "all"
CASES = [(name, torch.float32) for name in list(ZOO)[:: 1 if ALL else 2]]
CASES += [(name, torch.bfloat16) for name in list(ZOO)[:: 1 if ALL else 10]]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda one: str(one).removeprefix("torch."))
def test_family(name: str, dtype: torch.dtype):
    animal = ZOO[name]
    if FAMILIES[animal.model_type].refused:
        pytest.fail("a family that cannot be studied does not belong into the zoo")
    model, processor = animal.build()
    vlm = ns.load((model.to(dtype), processor), check=False)
    assert vlm.dtype == dtype
    report = conformance(vlm, skip=() if dtype == torch.float32 else FORM)
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


def test_the_natural_model_passes_and_with_it_its_family(natural_vlm: ns.VLM):
    assert natural_vlm.family.model_type == "fast_vlm"
    # Those left out take half of the time, and the tiny models of every family have them; for this model's own map see
    # tests/loading/checks/test_image.py.
    slow = (
        "coloured square",
        "gradient = differences",
        "memory released",
        "several images",
        "projector neurons",
        "copied = whole",
    )
    report = conformance(natural_vlm, skip=(*slow, "noise repeats"))
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


def test_only_checks_that_exist_can_be_skipped(vlm: ns.VLM):
    with pytest.raises(InvalidOption, match=r"skip='cached' is not known\..*, cached = uncached,"):
        conformance(vlm, skip=["cached"])
    with pytest.raises(InvalidOption, match=r"only='cached' is not known\."):
        conformance(vlm, only=["cached"])
    rows = conformance(vlm, skip=[name for name in CHECKS if name != "heat map"]).rows
    names = [row.name for row in rows]
    assert names[-1] == "heat map"
    assert not set(names) & set(FORM) - {"heat map"}
    said: list[Check] = []
    assert conformance(vlm, only=["heat map"], done=said.append).rows == tuple(said) == rows


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_memory_is_released_after_captions_and_locate(demo: ns.VLM):
    """As many tensors as before, while neurons, captions and maps are still held."""
    pair = ns.counterfactual(scenes_of("bear", 1)[0])
    method = ns.TwoStage(points=2, rounds=1)
    known = check_validity(demo, pair)
    kept: list[object] = []
    counts: list[int] = []
    gc.freeze()  # what was there before is counted no time
    try:
        for _ in range(3):
            found = method.locate(demo, pair, validity=known)
            kept += [found.neurons, demo.captions([pair.original], ns.Noise(found.neurons, level=8.0, draws=2))]
            kept.append(ns.heatmap(demo, pair.original, found.neurons))
            del found  # its score arrays stand on tensors
            counts.append(tensors())
    finally:
        gc.unfreeze()
    assert counts[0] == counts[1] == counts[2]


#: What people do, and what must not wait for the garbage collector: on a GPU a batch's pixels would stay until it runs.
WORK: dict[str, Callable[[ns.VLM, ns.Counterfactual], object]] = {
    "captions": lambda vlm, pair: vlm.captions([pair.original], ns.Noise(SOME, level=2.0, draws=3)),
    "locate": lambda vlm, pair: ns.TwoStage(points=2, rounds=1).locate(vlm, pair),
    "baselines": lambda vlm, pair: [ns.Schwettmann().locate(vlm, pair), ns.Pan(count=5).locate(vlm, pair)],
    "heat map": lambda vlm, pair: ns.heatmap(vlm, pair.original, SOME),
    "effects": lambda vlm, pair: ns.effects(vlm, pair, SOME),
    "ceiling": lambda vlm, pair: ns.ceiling(vlm, pair),
    "discover": lambda vlm, pair: list(ns.discover(vlm, [pair.original])),
    "decode": lambda vlm, pair: ns.decode(vlm, SOME),
    "activations": lambda vlm, pair: activations(vlm, pair.original, SOME),
}
SOME = ns.Neurons.of([(0, 1), (2, 5)])


@pytest.mark.parametrize("name", WORK)
def test_no_tensor_waits_for_the_garbage_collector(demo: ns.VLM, name: str):
    pair = ns.counterfactual(scenes_of("bear", 1)[0])
    gc.freeze()  # what was there before is not looked through
    WORK[name](demo, pair)  # what is kept for good is made now
    gc.collect()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        WORK[name](demo, pair)
        gc.collect()
        waited = [type(thing).__name__ for thing in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
    assert not {"Tensor", "ndarray", "Image", "Row", "Inputs"} & set(waited)


def test_a_model_is_let_go_with_everything_that_was_done_to_it(make_vlm, picture):
    gc.freeze()  # what was there before is not looked through
    vlm = make_vlm(seed=3)
    alive = weakref.ref(vlm.model)
    neurons = ns.Neurons.of([(0, 1), (2, 5)])
    vlm.captions([picture], ns.Noise(neurons, level=2.0, draws=2))
    with vlm.intervene(ns.Zero(neurons)):
        vlm.caption(picture)
    del vlm
    gc.collect()
    gc.unfreeze()
    assert alive() is None


@pytest.mark.parametrize("frozen", [False, True], ids=["", "the program freezes its own objects"])
def test_a_tensor_that_is_kept_is_noticed(make_vlm, frozen: bool):
    vlm = make_vlm(seed=4)
    kept: list[Tensor] = []
    outcome = check_memory(vlm)
    assert not isinstance(outcome, NotApplicable)
    assert outcome[1]
    handle = vlm.structure.layers[0].register_forward_hook(lambda _m, args, _o: kept.append(args[0]))
    if frozen:
        gc.freeze()
    try:
        leaking = check_memory(vlm)
        assert (gc.get_freeze_count() > 0) is frozen  # as the program left it
    finally:
        gc.unfreeze()
        handle.remove()
    assert not isinstance(leaking, NotApplicable)
    assert not leaking[1]
    assert "more tensors" in leaking[0]

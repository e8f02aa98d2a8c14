"""One table over all methods and all operations: odd input, what is left behind, dtypes, batches.

Rows are read from the registry of methods and from the classes of operations. A new one is covered by itself, or fails
here until it has a row.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.modules import module as torch_module

import neuronscope as ns
from neuronscope import Counterfactual, intervene
from neuronscope.caption import generate_captions
from neuronscope.errors import (
    ConceptNotNamed,
    ConceptStillNamed,
    InvalidOption,
    InvalidSample,
    NeuronOutOfRange,
    NoImagePositions,
    OtherConceptRemoved,
    UnsegmentedScript,
)
from neuronscope.intervene.permuted import permuted_image
from neuronscope.locate import METHODS, Located, Method, Ranking, validity
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.models import Inputs
from neuronscope.testing import tiny_model, tiny_processor, tiny_vlm

NEURONS = 4 * 48  # of the tiny model
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


# The table of methods: a method's options by name, wherever it has one of that name.

SHORT = ns.Decoding(max_new_tokens=3)
#: What makes a method quick, or is needed to run it at all.
QUICK: dict[str, Any] = {
    "steps": 2,
    "candidates": 5,
    "controls": 2,
    "decoys": 2,
    "activation": ns.TargetDecoy(),  # as filters; their product needs an edit that makes the word less likely
    "count": 7,
    "like": ns.Neurons.of([(0, 1), (2, 5)]),
    "decoding": SHORT,
    "among": ns.method("difference-x-gradient"),
}
#: Numbers of which no more are needed: each of them is one gradient.
FEWER = {"points": 2, "rounds": 1}
#: What makes a method keep nothing.
NOTHING: dict[str, Any] = {
    "count": 0,
    "candidates": 0,
    "like": ns.Neurons(()),
    "activation": ns.Fixed(1e9),
    "gradient": ns.Fixed(1e9),
}


def options_of(name: str) -> list[str]:
    made: Any = METHODS[name]()
    return [field.name for field in dataclasses.fields(made) if field.init]


def make(name: str, **options: Any) -> Method:
    """A method with the quick options, and those of `options` that it has."""
    has, own = options_of(name), METHODS[name]()
    fewer = {option: min(most, getattr(own, option)) for option, most in FEWER.items() if option in has}
    given = {option: value for option, value in {**QUICK, **options}.items() if option in has}
    return ns.method(name, **{**fewer, **given})


COUNTED = [name for name in METHODS if "count" in options_of(name)]
RANKINGS = [name for name in METHODS if isinstance(METHODS[name](), Ranking)]
READERS = [name for name in METHODS if getattr(METHODS[name](), "needs_image", True)]

MISFIT = ns.Region("dog", (5, 5, 8, 8), np.ones((2, 2), dtype=bool))
#: Why a sample is refused: the error, the two captions, other objects, what the message says.
REFUSED: dict[str, tuple[type[InvalidSample], str, str, tuple[ns.Region, ...], str]] = {
    "concept not named": (ConceptNotNamed, "dog on grass", "grass", (), "dog on grass"),
    "concept still named": (ConceptStillNamed, "bear on grass", "bear on snow", (), "bear on snow"),
    "mask of another size": (InvalidSample, "bear", "grass", (MISFIT,), r"shape \(2, 2\)"),
}


# The table of operations: one row for every class, more where an option changes the path taken.

OPERATIONS: dict[str, Callable[[ns.Neurons], ns.Zero | ns.Scale | ns.Mean | ns.Patch | ns.Noise]] = {
    "zero": ns.Zero,
    "scale": partial(ns.Scale, factor=-3.0),
    "mean": lambda neurons: ns.Mean(neurons, means=(9.0,) * len(neurons)),
    "patch": lambda neurons: ns.Patch(neurons, source=np.full((17, len(neurons)), 9.0, dtype=np.float32)),
    "noise": partial(ns.Noise, level=20.0, draws=3),
    "noise relative": partial(ns.Noise, level=9.0, draws=3, relative=True),
    "noise replaced": partial(ns.Noise, level=20.0, draws=3, op="replace"),
    "noise of the paper": partial(ns.Noise.paper, draws=3),
}
PARTS = {
    "text": ns.Neurons.of([(0, 3), (0, 40), (1, 7), (2, 0), (2, 47)]),
    "vision": ns.Neurons.at("vision.0.3", "vision.0.7", "vision.1.0"),
    "projector": ns.Neurons.at("projector.0.5", "projector.0.1"),
}


def _block(row: Callable[[ns.Neurons], Any], neurons: ns.Neurons, vlm: ns.VLM) -> AbstractContextManager[Any]:
    return vlm.intervene(row(neurons))


#: What changes a model for the time of a block.
BLOCKS: dict[str, Callable[[ns.VLM], AbstractContextManager[Any]]] = {
    **{
        f"{name} of {part}": partial(_block, row, neurons)
        for name, row in OPERATIONS.items()
        for part, neurons in PARTS.items()
    },
    "permuted image": partial(permuted_image, order=3),
}
#: The type checker of these tests draws from Python's random numbers.
unchecked = pytest.mark.usefixtures("unchecked")
each_method = pytest.mark.parametrize("name", METHODS)
each_operation = pytest.mark.parametrize("operation", OPERATIONS)
each_part = pytest.mark.parametrize("part", PARTS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def below(kind: type) -> set[type]:
    """All subclasses."""
    return {inner for own in kind.__subclasses__() for inner in (own, *below(own))}


def test_every_operation_and_every_refusal_has_a_row():
    rooms = [import_module(f"{intervene.__name__}.{found.name}") for found in iter_modules(intervene.__path__)]
    named = {value for module in rooms for value in vars(module).values() if isinstance(value, type)}
    classes = {kind for kind in named if callable(getattr(kind, "change", None))} - {intervene.Intervention}
    assert {type(row(PARTS["text"])) for row in OPERATIONS.values()} == classes
    # A study refuses samples for reasons of its own, before any method sees them.
    kinds = {kind for kind in below(InvalidSample) if not kind.__module__.startswith("neuronscope.studies.")}
    # Another object that went with the edit is recorded; only the strict reading refuses it (locate/test_validity.py).
    # Words that nothing can tell apart do not hang on the method (tests/words).
    assert {row[0] for row in REFUSED.values()} == {InvalidSample, *kinds} - {OtherConceptRemoved, UnsegmentedScript}


# What has to be as it was.


def state(vlm: ns.VLM) -> dict[str, Any]:
    """All of a model and of the process that a call could leave changed."""
    model: Any = vlm.model
    modules = dict(model.named_modules())
    legacy: Any = np.random.get_state()  # noqa: NPY002  (it is the one that a careless call would change)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        "weights": {name: (id(p), p.dtype, p.detach().numpy().tobytes()) for name, p in tensors},
        "gradients": {name: p.grad.numpy().tobytes() for name, p in tensors if p.grad is not None},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: module.training for name, module in modules.items()},
        "hooks": {
            f"{name}.{table}": list(hooks)
            for name, module in modules.items()
            for table, hooks in vars(module).items()
            if table.endswith("_hooks") and hooks
        },
        "attributes": {name: (type(module), sorted(vars(module))) for name, module in modules.items()},
        "forward": {name: vars(module)["forward"] for name, module in modules.items() if "forward" in vars(module)},
        "global hooks": [
            list(hooks) for table, hooks in vars(torch_module).items() if table.endswith("_hooks") and hooks
        ],
        "settings": (model.config.to_dict(), model.generation_config.to_dict()),
        "tokenizer": (vlm.tokenizer.padding_side, len(vlm.tokenizer)),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        "random": (torch.get_rng_state().numpy().tobytes(), random.getstate(), legacy[1].tobytes(), legacy[2:]),
    }


class StopError(Exception):
    """Raised inside the model."""


class _Backward(torch.autograd.Function):
    """The identity, which asks on the way back."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, passed: Callable[[], None]) -> Tensor:
        ctx.passed = passed
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        ctx.passed()
        return slopes[0], None


class Saboteur:
    """Counts how often a layer of the model runs forwards and backwards; raises where it is told to."""

    def __init__(self, vlm: ns.VLM) -> None:
        self._way = ""
        self._left = 0
        self._error: type[BaseException] = StopError
        self.forget()
        self.handle = vlm.structure.layers[2].register_forward_hook(self._ran)

    def forget(self) -> None:
        self.runs = {"forward": 0, "backward": 0}

    def arm(self, way: str, run: int, error: type[BaseException]) -> None:
        self.forget()
        self._way, self._left, self._error = way, run, error

    def _passed(self, way: str) -> None:
        self.runs[way] += 1
        if way == self._way:
            self._left -= 1
            if not self._left:
                self._way = ""
                raise self._error

    def _ran(self, _module: Any, _args: Any, output: Any) -> Any:
        self._passed("forward")
        hidden = output[0] if isinstance(output, tuple) else output
        if not hidden.requires_grad:
            return None
        hidden = _Backward.apply(hidden, partial(self._passed, "backward"))
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@pytest.fixture(scope="module")
def odd() -> ns.VLM:
    """A model that is not as it was loaded: partly in training, partly frozen, with gradients and hooks of others."""
    vlm = tiny_vlm()
    vlm.model.requires_grad_(True)  # whatever loading left
    vlm.structure.layers[1].train()
    for parameter in vlm.structure.layers[0].parameters():
        parameter.requires_grad_(False)
    vlm.structure.ffns[3].output.weight.grad = torch.ones_like(vlm.structure.ffns[3].output.weight)
    for module in (vlm.model, vlm.structure.ffns[0].output, vlm.structure.layers[3]):
        module.register_forward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_: None)
    return vlm


@pytest.fixture
def saboteur(odd: ns.VLM) -> Iterator[Saboteur]:
    made = Saboteur(odd)
    yield made
    made.handle.remove()


def stays(vlm: ns.VLM, saboteur: Saboteur, run: Callable[[], object]) -> None:
    """A run leaves everything as it was, also where it is cut short forwards or backwards, early or late."""
    before = state(vlm)
    run()  # what is tried out once for a model is not counted
    saboteur.forget()
    run()
    assert state(vlm) == before
    runs = dict(saboteur.runs)
    for way, count in runs.items():
        middle = (count + 1) // 2
        for at in {1, middle, count} if count else ():
            # In the middle only the one that a handler of Exception does not hear.
            for error in (KeyboardInterrupt,) if 1 < at < count else (StopError, KeyboardInterrupt):
                saboteur.arm(way, at, error)
                with pytest.raises(error):
                    run()
                now = state(vlm)
                assert [key for key in before if now[key] != before[key]] == [], f"{error.__name__} in {way} pass {at}"


# Methods.

Speaks = Callable[..., None]
#: Their scores hang on whole sets' effects, which in the tiny model are smaller than what sixteen bits tell apart.
LEARNED = ["learned-mask"]


@pytest.fixture(scope="module")
def pair() -> Counterfactual:
    """One whose edit makes the word less likely, and so do all neurons patched from it."""
    image = Image.fromarray(np.random.default_rng(19).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    return ns.counterfactual(ns.Sample(image=image, concept="bear", boxes=[(4, 4, 16, 16)]))


@pytest.fixture(scope="module")
def checked() -> list[Validity]:
    """The captions of the pair, once they have been made."""
    return []


@pytest.fixture
def known(vlm: ns.VLM, pair: Counterfactual, speaks: Speaks, checked: list[Validity]) -> Validity:
    if not checked:
        speaks(vlm, "brown bear on grass", "grass")
        checked.append(check_validity(vlm, pair))
    return checked[0]


@pytest.fixture(scope="module")
def before() -> dict[str, Located]:
    """What methods found, by name, for tests that compare with it."""
    return {}


@pytest.fixture
def first(vlm: ns.VLM, pair: Counterfactual, speaks: Speaks, before: dict[str, Located]) -> Callable[[str], Located]:
    """What a method finds that has to have the captions made; once for each."""

    def locate(name: str) -> Located:
        if name not in before:
            speaks(vlm, "brown bear on grass", "grass")
            before[name] = make(name).locate(vlm, pair)
        return before[name]

    return locate


@each_method
def test_every_method_keeps_the_protocol(first: Callable[[str], Located], vlm: ns.VLM, tmp_path: Path, name: str):
    chosen: Any = make(name)
    assert isinstance(chosen, Method)
    found = first(name)
    assert isinstance(found, Located)
    assert found.neurons.method == chosen.name == name
    assert found.neurons.concept == "bear"
    assert found.neurons.model == vlm.identity()
    assert json.loads(json.dumps(found.neurons.options)) == found.neurons.options
    assert set(found.neurons.options) == {field.name for field in dataclasses.fields(chosen)}
    assert found.scores.arrays[found.ranked_by].values.shape == (NEURONS,)
    values = found.neurons.scores.get(found.ranked_by, ())
    assert list(values) == sorted(values, reverse=True)
    found.neurons.save(tmp_path / "neurons.json")
    assert ns.Neurons.load(tmp_path / "neurons.json") == found.neurons
    if name in COUNTED:
        assert len(found.neurons) == 7 or (name == "schwettmann-published" and 0 < len(found.neurons) <= 7)
        best = np.sort(found.scores.arrays[found.ranked_by].values)[::-1][: len(found.neurons)]
        np.testing.assert_allclose(values, best)


@each_method
def test_known_captions_are_not_made_again(
    vlm: ns.VLM,
    pair: Counterfactual,
    first: Callable[[str], Located],
    known: Validity,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    expected = first(name)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("captions were generated although they are known")

    monkeypatch.setattr(validity, "generate_captions", fail)
    found = make(name).locate(vlm, pair, validity=known)
    assert found.validity is known
    assert found.neurons == expected.neurons


@each_method
def test_a_method_that_keeps_nothing_says_so(
    vlm: ns.VLM, pair: Counterfactual, known: Validity, tmp_path: Path, name: str
):
    found = make(name, **NOTHING).locate(vlm, pair, validity=known)
    assert len(found.neurons) == 0
    assert found.scores.arrays[found.ranked_by].values.shape == (NEURONS,)
    found.neurons.save(tmp_path / "neurons.json")
    assert ns.Neurons.load(tmp_path / "neurons.json") == found.neurons


@unchecked
@each_method
@pytest.mark.parametrize("why", REFUSED)
def test_every_method_refuses_unsuitable_samples(
    odd: ns.VLM, pair: Counterfactual, speaks: Speaks, name: str, why: str
):
    error, original, edited, others, reason = REFUSED[why]
    speaks(odd, original, edited)
    before = state(odd)
    with pytest.raises(InvalidSample, match=reason) as raised:
        make(name).locate(odd, dataclasses.replace(pair, sample=dataclasses.replace(pair.sample, others=others)))
    assert raised.type is error
    assert state(odd) == before


@pytest.mark.parametrize("name", READERS)
def test_models_without_image_tokens_are_refused(
    vlm: ns.VLM, pair: Counterfactual, known: Validity, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(vlm, "family", dataclasses.replace(vlm.family, no_image="the image is elsewhere"))
    with pytest.raises(NoImagePositions, match="the image is elsewhere"):
        make(name).locate(vlm, pair, validity=known)


@pytest.mark.parametrize("name", COUNTED)
def test_sizes_that_a_model_does_not_have_are_refused(vlm: ns.VLM, pair: Counterfactual, known: Validity, name: str):
    with pytest.raises(InvalidOption, match="count=193 is more than the 192 neurons"):
        make(name, count=NEURONS + 1).locate(vlm, pair, validity=known)
    for bad in (-1, 1.5, "many", True, None):
        with pytest.raises(InvalidOption, match="count="):
            make(name, count=bad)


@pytest.mark.parametrize("name", RANKINGS)
def test_every_bad_value_is_refused_with_the_choices(name: str):
    chosen: Any = ns.method(name)
    for option, values in {**chosen.choices, "match": ("lexicon", "strict", "substring")}.items():
        with pytest.raises(InvalidOption, match=f"{option}='nonsense' is not known.*{values[-1]}"):
            dataclasses.replace(chosen, **{option: "nonsense"})


@unchecked
@each_method
def test_a_method_leaves_the_model_as_it_was(
    odd: ns.VLM, saboteur: Saboteur, pair: Counterfactual, known: Validity, speaks: Speaks, name: str
):
    """All rankings make captions in the same lines: asked of those without passes of their own, and of filters."""
    speaks(odd, "brown bear on grass", "grass", write=True)
    chosen, writes = make(name), name == "two-stage" or name not in READERS
    stays(odd, saboteur, lambda: chosen.locate(odd, pair, validity=None if writes else known))
    assert saboteur.runs["forward"]


@pytest.fixture(scope="module")
def of_dtype() -> Callable[[torch.dtype], ns.VLM]:
    made: dict[torch.dtype, ns.VLM] = {}

    def load(dtype: torch.dtype) -> ns.VLM:
        if dtype not in made:
            made[dtype] = ns.load((tiny_model().to(dtype), tiny_processor()), check=False)
        return made[dtype]

    return load


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LEARNED])
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_sixteen_bits_score_about_as_thirty_two_do(
    of_dtype: Callable[[torch.dtype], ns.VLM],
    pair: Counterfactual,
    first: Callable[[str], Located],
    known: Validity,
    name: str,
    dtype: torch.dtype,
):
    fine, coarse = first(name), make(name).locate(of_dtype(dtype), pair, validity=known)
    for score, pooled in coarse.scores.arrays.items():
        assert pooled.values.dtype == fine.scores.arrays[score].values.dtype
        assert np.isfinite(pooled.values).all()
        assert np.corrcoef(pooled.values, fine.scores.arrays[score].values)[0, 1] > 0.9


@each_method
def test_a_batch_is_its_rows_and_what_came_before_does_not_matter(
    vlm: ns.VLM,
    pair: Counterfactual,
    first: Callable[[str], Located],
    known: Validity,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    together = first(name)
    with contextlib.suppress(InvalidSample):  # an edit the other way round may have no effect
        make(name).locate(vlm, dataclasses.replace(pair, original=pair.edited, edited=pair.original), validity=known)
    again = make(name).locate(vlm, pair, validity=known)
    assert again.neurons == together.neurons
    monkeypatch.setattr(Inputs, "batches", lambda self: [[row] for row in range(len(self.rows))])
    alone = make(name, batch_size=1).locate(vlm, pair, validity=known)
    assert set(alone.neurons) == set(together.neurons)
    for score, pooled in alone.scores.arrays.items():
        np.testing.assert_allclose(pooled.values, together.scores.arrays[score].values, rtol=1e-3, atol=1e-6)


# Operations.


@each_operation
@each_part
def test_an_operation_on_no_neurons_changes_no_bit(vlm: ns.VLM, picture: Image.Image, operation: str, part: str):
    inputs = vlm.prepare([picture])
    change = OPERATIONS[operation](dataclasses.replace(PARTS[part], members=()))
    with torch.no_grad():
        plain = vlm.logits(inputs)
        with vlm.intervene(change):
            assert torch.equal(vlm.logits(inputs), plain)


@unchecked
@each_operation
@each_part
def test_neurons_that_the_model_does_not_have_are_refused(odd: ns.VLM, operation: str, part: str):
    before = state(odd)
    for address, reason in ((f"{part}.9.0", "layer 9 does not exist"), (f"{part}.0.999", "unit 999 does not exist")):
        with pytest.raises(NeuronOutOfRange, match=reason):
            odd.intervene(OPERATIONS[operation](ns.Neurons.at(f"{part}.0.0", address)))
    assert state(odd) == before


@unchecked
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_leaves_the_model_as_it_was(odd: ns.VLM, saboteur: Saboteur, picture: Image.Image, block: str):
    inputs = odd.prepare([picture])

    def read() -> None:
        with torch.no_grad(), BLOCKS[block](odd):
            odd.logits(inputs)

    def write() -> None:
        with BLOCKS[block](odd):
            odd.model.generate(  # pyright: ignore[reportCallIssue]
                **inputs.tensors, max_new_tokens=2, min_new_tokens=2, do_sample=False
            )

    stays(odd, saboteur, read)
    stays(odd, saboteur, write)


@pytest.fixture(scope="module")
def undisturbed() -> dict[torch.dtype, tuple[Inputs, Tensor]]:
    """The picture as a model reads it, and its logits, by the type of the weights."""
    return {}


@each_operation
@each_part
@each_dtype
def test_an_operation_keeps_the_dtype_and_is_felt(
    of_dtype: Callable[[torch.dtype], ns.VLM],
    undisturbed: dict[torch.dtype, tuple[Inputs, Tensor]],
    picture: Image.Image,
    operation: str,
    part: str,
    dtype: torch.dtype,
):
    vlm = of_dtype(dtype)
    with torch.no_grad():
        if dtype not in undisturbed:
            inputs = vlm.prepare([picture])
            undisturbed[dtype] = inputs, vlm.logits(inputs)
        inputs, plain = undisturbed[dtype]
        with vlm.intervene(OPERATIONS[operation](PARTS[part])):
            changed = vlm.logits(inputs)
    assert changed.dtype == plain.dtype == dtype
    assert changed.isfinite().all()
    assert not torch.equal(changed, plain)


@pytest.fixture(scope="module")
def prepared(vlm: ns.VLM, pictures: list[Image.Image]) -> tuple[Inputs, list[Inputs]]:
    """Pictures as the model reads them, together and one by one."""
    return vlm.prepare(pictures), [vlm.prepare([picture]) for picture in pictures]


@each_operation
@each_part
def test_an_operation_on_a_batch_is_that_on_its_rows(
    vlm: ns.VLM, pictures: list[Image.Image], prepared: tuple[Inputs, list[Inputs]], operation: str, part: str
):
    change = OPERATIONS[operation](PARTS[part])
    draws = [2, 0, 1]
    with torch.no_grad():
        with vlm.intervene(change, draws=draws):
            together = vlm.logits(prepared[0])
        for row, draw in enumerate(draws):
            with vlm.intervene(change, draws=[draw]):
                alone = vlm.logits(prepared[1][row])
            torch.testing.assert_close(together[row], alone[0], rtol=1e-3, atol=1e-3)
    two = ns.Decoding(max_new_tokens=2)  # one from the prompt, one from what is kept of it
    written = generate_captions(vlm, pictures, change, decoding=two, batch_size=4)
    assert written == [generate_captions(vlm, [picture], change, decoding=two)[0] for picture in pictures]

"""Bad arguments for every public callable of Python, made from what its annotations say.

`callables()` walks through `ns.__all__`: functions, constructors, and the public methods of classes. What a parameter
needs is looked up by its hint (and by its name, where a hint does not say enough): a new one is tried by itself, or
fails here until Good has what it needs. One argument at a time is then everything that a value of its kind cannot be.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.edit.words import pair_words
from neuronscope.evaluate import planted
from neuronscope.hints import hints_of
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.options import Asking
from neuronscope.samples.inpainters import INPAINTERS
from neuronscope.studies.demo.scenes import scenes_of

#: Of the engine, called for every layer of a pass with values that it made itself.
INNER = ("change", "epsilon")
#: Whole numbers that may be below zero.
NEGATIVE = ("sign",)


@dataclass(frozen=True)
class Public:
    """A public callable.

    Attributes:
        name: as a user writes it.
        call: bound to an object where it is a method.
        hints: parameter -> hint.
        required: parameters without a default, and those behind `*`.
        many: the parameter behind `*`.
    """

    name: str
    call: Callable[..., Any]
    hints: Mapping[str, Any]
    required: tuple[str, ...]
    many: str = ""


class Good:
    """Arguments that a callable can be given."""

    def __init__(self, vlm: ns.VLM, coco: Path, place: Path) -> None:
        self.vlm = vlm
        self.coco = coco
        self.place = place
        name = next((coco / "images").iterdir()).name
        (place / "files.txt").write_text(f"{name}\n", encoding="utf-8")
        (place / "captions.txt").write_text("a bear\n", encoding="utf-8")
        (place / "table.csv").write_text(f"file,caption\n{name},a bear\n", encoding="utf-8")

    @cached_property
    def sample(self) -> ns.Sample:
        return scenes_of("bear", 1)[0]

    @cached_property
    def pair(self) -> ns.Counterfactual:
        return ns.counterfactual(self.sample)

    @cached_property
    def neurons(self) -> ns.Neurons:
        return planted(self.vlm)["bear"]

    @cached_property
    def validity(self) -> Validity:
        return check_validity(self.vlm, self.pair)

    @cached_property
    def located(self) -> ns.Located:
        return ns.Activation(count=3).locate(self.vlm, self.pair, validity=self.validity)

    @cached_property
    def scored(self) -> ns.ScoredConcept:
        pairs = (self.pair, ns.counterfactual(scenes_of("bear", 2)[1]))
        method = ns.Activation(count=3)
        found = (self.located, method.locate(self.vlm, pairs[1]))
        return ns.ScoredConcept(self.vlm, pairs, method, found, (1.0, 2.0))

    @cached_property
    def discovered(self) -> ns.Discovered:
        return next(iter(ns.discover(self.vlm, [self.sample.load()])))

    @cached_property
    def heatmap(self) -> ns.Heatmap:
        return ns.heatmap(self.vlm, self.sample.load(), self.neurons)

    @cached_property
    def effects(self) -> ns.Effects:
        return ns.effects(self.vlm, self.pair, self.neurons[:2])

    @cached_property
    def edit(self) -> ns.Edit:
        return ns.Ablate().edit(self.vlm, self.neurons)

    @cached_property
    def folder(self) -> ns.CocoFolder:
        return ns.CocoFolder.open(self.coco)

    def object(self, name: str) -> Any:
        """One of a public class."""
        two = {"source": "bear", "target": "dog"}
        swap = ns.Swap(**two)
        known: dict[str, Callable[[], Any]] = {
            **dict.fromkeys(("VLM", "LoadedModel", "nn.Module"), lambda: self.vlm),
            "Neurons": lambda: self.neurons,
            "Neuron": lambda: ns.Neuron(1, 2),
            "Sample": lambda: self.sample,
            "Counterfactual": lambda: self.pair,
            "Inpainter": lambda: INPAINTERS["telea"],
            "Regions": lambda: ns.Regions(self.sample.load(), "bear", ()),
            "Region": lambda: ns.Region("dog", (1, 2, 9, 9)),
            "Located": lambda: self.located,
            "Scores": lambda: self.located.scores,
            "Effects": lambda: self.effects,
            "Validity": lambda: self.validity,
            "ScoredConcept": lambda: self.scored,
            "Discovered": lambda: self.discovered,
            "Layout": lambda: self.discovered.layout,
            "NounNeurons": lambda: self.discovered.nouns[0],
            "Heatmap": lambda: self.heatmap,
            "Edit": lambda: self.edit,
            "CocoFolder": lambda: self.folder,
            "ImageList": lambda: ns.ImageList.folder(self.coco / "images"),
            "Captioned": lambda: ns.ImageList.folder(self.coco / "images").items[0],
            "Captioner": lambda: ns.Captioner(self.vlm, [self.sample.load()]),
            "Ceiling": lambda: ns.Ceiling(1.0, {"patch": {"all layers": 0.5}}),
            "Family": lambda: self.vlm.family,
            "Lexicon": ns.Lexicon.default,
            "Inputs": lambda: self.vlm.prepare([self.sample.load()]),
            "Row": lambda: self.vlm.prepare([self.sample.load()]).rows[0],
            "Caption": lambda: Caption("bear", "The image shows a bear", (1,)),
            "WordPair": lambda: pair_words(self.vlm, "bear", "dog"),
            "Method": ns.Activation,
            "Ranking": ns.Activation,
            "WordEditor": lambda: swap,
            "Focused": lambda: ns.Focused(swap),
            "Tuned": lambda: ns.Tuned((swap,)),
            "Threshold": lambda: ns.Fixed(1.0),
            "Fixed": lambda: ns.Fixed(1.0),
            "Budget": lambda: ns.Budget(2),
            "Graft": lambda: ns.Graft(**two, donors=self.neurons),
            "Embed": lambda: ns.Embed(**two),
            "Swap": lambda: swap,
            "Learned": lambda: ns.Learned(**two),
            "Mean": lambda: ns.Mean(self.neurons, (0.5,) * len(self.neurons)),
            "Patch": lambda: ns.Patch(self.neurons, np.zeros((16, len(self.neurons)))),
            "Noise": lambda: ns.Noise(self.neurons, level=2.0),
            "Scale": lambda: ns.Scale(self.neurons, 2.0),
            "Zero": lambda: ns.Zero(self.neurons),
            "Intervention": lambda: ns.Zero(self.neurons),
            "Asking": lambda: Asking(),
            "Image": lambda: self.sample.load(),
        }
        if name not in known and name not in ns.__all__:
            raise LookupError(f"no {name} is known here; a line in Good.object makes one")
        return known[name]() if name in known else getattr(ns, name)()

    def value(self, name: str, hint: Any) -> Any:
        """What a parameter can be given."""
        named: dict[str, Any] = {
            "name": "two-stage",
            "by": next(iter(self.neurons.scores), "x"),
            "layer": 3,
            "units": [1, 2],
            "factory": ns.Activation,
            "path": self.place / "table.csv",
            "folder": self.coco,
            "files": self.place / "files.txt",
            "captions": self.place / "captions.txt",
            "concept": "bear",
            "caption": "a bear" if hint is str else self.discovered.caption,
            "source": "bear" if hint is str else "demo",
            "target": "dog",
            "address": "text.1.2",
            "addresses": "text.1.2",
            "count": 2,
            "size": (96, 96) if "tuple" in str(hint) else 2,
            "last": 1,
            "box": (1.0, 2.0, 9.0, 9.0),
            "boxes": [(1.0, 2.0, 9.0, 9.0)],
            "pairs": self.scored.pairs if "Counterfactual" in str(hint) else [(1, 2)],
            "located": self.scored.located,
            "effects": self.scored.effects,
            "words": self.object("WordPair"),
            "mask": self.pair.mask,
            "decoys": np.zeros((2, 3)),
            "values": self.heatmap.values if "height" in str(hint) else np.zeros(3, np.float32),
            "flat": np.zeros(3, np.int64),
            "grids": self.heatmap.grids,
            "scores": self.located.scores if "Scores" in str(hint) else self.discovered.scores,
            "images": self.coco / "images" if hint in (Path, str | Path, str | Path | None) else [self.sample.load()],
            "instances": self.coco / "annotations" / "instances_scenes.json",
            "scale": "largest",
            "photograph": "0",
            "columns": {},
            "data": {},
            "tensors": {},
            "picture": self.coco,
            "shares": {"patch": {"all layers": 0.5}},
        }
        drawn = hint is Image.Image and name == "picture"
        own = name in ("mask", "decoys", "values", "scores", "flat") or not hasattr(hint, "array_type")
        if name in named and own and not drawn:
            return named[name]
        origin = typing.get_origin(hint)
        plain: dict[Any, Any] = {int: 2, float: 1.0, bool: True, str: "bear", Any: None, object: None}
        if hint in plain:
            return plain[hint]
        if origin is Literal:
            return typing.get_args(hint)[0]
        if origin in (Union, types.UnionType):
            args = typing.get_args(hint)
            return None if type(None) in args else self.value("", args[0])
        if hasattr(hint, "array_type"):
            shape = tuple(3 for _ in hint.dim_str.split())
            whole = str(hint.dtypes[0]).startswith(("int", "uint", "bool"))
            array = np.zeros(shape, int if whole else np.float32)
            return torch.zeros(shape) if hint.array_type is torch.Tensor else array
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {}
        if isinstance(origin, type) and issubclass(origin, Iterable):
            return () if origin is tuple else [self.value("", typing.get_args(hint)[0])]
        return self.object(getattr(hint, "__name__", str(hint)))


def callables(good: Good) -> Iterator[Public]:
    """Every public function, constructor and method."""
    for name in ns.__all__:
        thing: Any = getattr(ns, name)
        if not isinstance(thing, type):
            if callable(thing):
                yield _public(name, thing, thing)
            continue
        if getattr(thing, "_is_protocol", False) or inspect.isabstract(thing) or name == "VLM":
            pass  # nobody makes one
        elif dataclasses.is_dataclass(thing):
            hints = {field.name: hints_of(thing)[field.name] for field in dataclasses.fields(thing) if field.init}
            missing = dataclasses.MISSING
            needed = [f.name for f in dataclasses.fields(thing) if f.default is f.default_factory is missing and f.init]
            yield Public(name, thing, hints, tuple(needed))
        else:
            yield _public(name, thing, thing.__init__)
        if name == "Ranking" or getattr(thing, "_is_protocol", False):
            continue
        for method in dir(thing):
            static = inspect.getattr_static(thing, method)
            if method.startswith("_") or method in INNER or not _ours(static):
                continue
            if isinstance(static, (classmethod, staticmethod)):
                yield _public(f"{name}.{method}", getattr(thing, method), static.__func__)
            elif inspect.isfunction(static):
                own = good.object(name)
                yield _public(f"{name}.{method}", getattr(own, method), static)


def _ours(static: Any) -> bool:
    function = getattr(static, "__func__", static)
    return inspect.isfunction(function) and function.__module__.startswith("neuronscope")


def _public(name: str, call: Callable[..., Any], function: Any) -> Public:
    inner: Any = inspect.unwrap(function)
    hints = hints_of(inner)
    parameters = inspect.signature(inner).parameters
    named = {
        one: hints[one] for one, about in parameters.items() if one in hints and about.kind is not about.VAR_KEYWORD
    }
    many = next((one for one, about in parameters.items() if about.kind is about.VAR_POSITIONAL), "")
    required = [one for one in named if parameters[one].default is inspect.Parameter.empty and one != many]
    return Public(name, call, named, tuple(required), many)


NAN, INF = math.nan, math.inf
#: What is no value of a plain type.
PLAIN: dict[Any, list[Any]] = {
    int: ["3", "", 1.5, 2.0, NAN, INF, True, [1], {}, b"1", 1j, np.array([1, 2]), object()],
    float: ["3", "", NAN, INF, -INF, True, [1], {}, b"1", 1j, 10**400, np.array([1.0, 2.0]), object()],
    bool: ["x", "false", "", 1, 0, NAN, [], object()],
    str: [3, 1.5, True, b"x", ["x"], {}, NAN, "\ud800", Path("x"), object()],
}
#: What is no object of any class that is asked for.
NO_OBJECT: list[Any] = ["x", "", 3, NAN, True, [], {}, b"x", [None], object(), int]
NO_SEQUENCE: list[Any] = ["ab", 3, NAN, True, b"ab", {"a": 1}, object(), np.float32(1)]
NO_PICTURE: list[Any] = [
    *(3, 1.5, True, [[1, 2]], object(), b"x", {}, np.zeros(3), np.zeros((4, 4, 3)), np.zeros((9, 9), np.uint8)),
    *("no-such-file.png", "", "\0", Path("no-such-file.png"), Path("/"), Image.new("RGB", (2, 2))),
    *(np.zeros((0, 9, 3), np.uint8), np.array(["x"]), Image.new("RGB", (9, 9)).load()),
]
NO_PATH: list[Any] = [3, 1.5, True, b"x", ["x"], {}, object(), "", "\0"]


def wrong(name: str, hint: Any) -> Iterator[Any]:
    """Everything that a value of a hint cannot be."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        yield from (*PLAIN[hint], None)
        if hint is int and name not in NEGATIVE:
            yield -1
    elif origin is Literal:
        yield from ("no-such-thing", "", str(args[0]).upper(), 3, None, True, [args[0]], b"x", NAN, object())
    elif "ndarray" in str(hint) and "PIL" in str(hint) and origin in (Union, types.UnionType):
        yield from NO_PICTURE[: 10 if "Sequence" in str(hint) else None]
        if type(None) not in args:
            yield None
    elif origin in (Union, types.UnionType):
        kinds = [one for one in args if one is not type(None)]
        if len(kinds) == 1:
            yield from (value for value in wrong(name, kinds[0]) if value is not None)
        elif Path in kinds:
            yield from NO_PATH
        elif str in kinds:
            yield from (3, 1.5, True, b"x", [1], object(), NAN)
        else:
            yield from NO_OBJECT
        if type(None) not in args:
            yield None
    elif hasattr(hint, "array_type"):
        axes = len(hint.dim_str.split())
        tensor = hint.array_type is torch.Tensor
        other: Any = np.zeros((2,) * axes, np.float32) if tensor else torch.zeros((2,) * axes)
        yield from (
            None,
            3,
            "x",
            [[1.0]],
            object(),
            other,
            np.zeros((2,) * (axes + 1)),
            np.array(["x"] * 2),
            np.array(None),
        )
        if "float" in str(hint.dtypes) and not tensor and "height" not in hint.dim_str:  # maps hold NaN
            yield np.full((2,) * axes, NAN)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from (None, 3, "x", [], [1], object(), {1: 2}, {None: None})
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield from (*NO_SEQUENCE, None)
        item = args[0]
        if item not in (Any, object) and item is not Any:
            yield from ([bad] for bad in list(wrong(name, item))[:6])
            yield [[[]]]
    elif hint is Path:
        yield from (None, 3, b"x", [], object(), NAN)
    elif origin is Callable or hint is Callable or "Callable" in str(hint):
        yield from (None, 3, "x", [], object())
    elif hint not in (Any, object):
        yield from (*NO_OBJECT, None)


def arguments(public: Public, good: Good) -> Mapping[str, Any]:
    """The good arguments of a call."""
    return {name: good.value(name, public.hints[name]) for name in public.required}


def given(public: Public, good: Mapping[str, Any], name: str, value: Any) -> Any:
    """Call with one argument in a good one's place; what is made lazily is begun."""
    named = {**good, name: value}
    if name == public.many:
        del named[name]
        places = [named.pop(one) for one in list(named) if one in public.required]
        found = public.call(*places, value)
    else:
        found = public.call(**named)
    if isinstance(found, Iterator) and not isinstance(found, Sequence):
        next(iter(found), None)
    return found

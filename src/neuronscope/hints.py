"""What an annotation lets through: from the hint of a field or parameter, the function that reads values of it.

A `float` is a finite number, an `int` a whole one, a `bool` true or false, a `str` a text, a Literal one of its values,
and a class one of its objects; a Protocol is whatever has its members. Sequences, tuples and mappings hold what they
say. Numbers of numpy become Python's. A bool is no number, a text is no sequence, and 2.0 is no whole number: all of
them would do something, and not what was meant. An array has the kind of numbers and the axes that jaxtyping says, and
its numbers are finite.
"""

from __future__ import annotations

import builtins
import functools
import math
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Union, cast

from .cures import picture_cure
from .errors import suggest

#: Gives a value back as it is held; raises ValueError with what the value is not.
Reader = Callable[[object], object]

#: Classes that settings name without importing them.
_BY_NAME = ("Decoding", "Discovery", "Limits", "Neurons", "Recovery")

#: Class -> where its objects come from, for whom has none.
_FROM = {
    "VLM": "neuronscope.load(...)",
    "LoadedModel": "neuronscope.load(...)",
    "Counterfactual": "neuronscope.counterfactual(sample)",
    "Neurons": "a method's found.neurons, Neurons.of(...) or Neurons.load(path)",
    "Validity": "found.validity, or nothing",
}


def reader(hint: Any) -> Reader | None:
    """What reads values of a hint; None where the hint says nothing that could be looked at."""
    origin = typing.get_origin(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return _among(list(typing.get_args(hint)))
    if hint is Path:
        return path_of
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(hint))
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*map(reader, typing.get_args(hint)))
    if isinstance(origin, type) and origin.__name__ == "ndarray":
        return _instance(origin)
    if origin is Callable or hint is Callable:
        return _callable
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return _sequence(reader(typing.get_args(hint)[0]), sized=issubclass(origin, Sequence))
    if isinstance(origin, type):
        return _instance(origin)
    if hasattr(hint, "array_type"):
        return _array(hint)
    if getattr(hint, "_is_protocol", False):
        return _protocol(hint)
    return _instance(hint) if isinstance(hint, type) and hint not in (object, Any) else None


def items(readers: Sequence[Reader], *, endless: bool) -> Reader:
    """Reads a sequence of as many values as there are readers, or with `endless` of any number, as a tuple."""

    def read(value: object) -> object:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise ValueError("a sequence" if endless else f"{len(readers)} values")
        given = list(_listed(cast("Iterable[object]", value)))
        wanted = list(readers) * len(given) if endless else readers
        if len(given) != len(wanted):
            raise ValueError(f"{len(readers)} values")
        try:
            held = tuple(read(one) for read, one in zip(wanted, given, strict=True))
        except ValueError as error:
            raise ValueError(f"a sequence of which each is {error}") from error
        same = isinstance(value, tuple) and all(a is b for a, b in zip(held, given, strict=True))
        return cast("object", value) if same else held

    return read


def _listed(values: Iterable[object]) -> Iterable[object]:
    try:
        return list(values)
    except TypeError as error:  # an array without axes says that it can be gone through
        raise ValueError("a sequence") from error


def _tuple(hints: Sequence[Any]) -> Reader:
    endless = len(hints) == 2 and hints[1] is ...
    return items([reader(one) or _anything for one in (hints[:1] if endless else hints)], endless=endless)


def _sequence(item: Reader | None, *, sized: bool) -> Reader:
    """Any sequence, which is given back as it is; of what can be gone through once, nothing is looked at."""

    def read(value: object) -> object:
        gone_through = isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray, Mapping))
        if not gone_through or (sized and not (isinstance(value, Sized) and hasattr(value, "__getitem__"))):
            raise ValueError("a sequence")
        if item is not None and isinstance(value, Sized):
            try:
                for one in _listed(cast("Iterable[object]", value)):
                    item(one)
            except ValueError as error:
                wrong = str(error)
                raise ValueError(wrong if wrong == "a sequence" else f"a sequence of which each is {wrong}") from error
        return cast("object", value)

    return read


def _mapping(key: Reader | None = None, item: Reader | None = None) -> Reader:
    def read(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("a mapping")
        try:
            for name, inner in cast("Mapping[object, object]", value).items():
                _ = key and key(name)
                _ = item and item(inner)
        except ValueError as error:
            raise ValueError(f"a mapping of which each key or value is {error}") from error
        return cast("object", value)

    return read


def _among(choices: list[Any]) -> Reader:
    def read(value: object) -> object:
        if not any(type(value) is type(one) and value == one for one in choices):
            raise ValueError(f"known.{suggest(value, [str(one) for one in choices])}")
        return value

    return read


def _union(hints: Sequence[Any]) -> Reader | None:
    optional = type(None) in hints
    picture = any(getattr(one, "__module__", "") == "PIL.Image" for one in hints)
    readers = [path_of if one is str and Path in hints else reader(one) for one in hints if one is not type(None)]
    known = [one for one in dict.fromkeys(readers) if one is not None]
    if None in readers:
        return None

    def read(value: object) -> object:
        if optional and value is None:
            return None
        said: list[str] = []
        for one in known:
            try:
                return one(value)
            except ValueError as error:
                said.append(str(error))
        if picture and (cure := picture_cure(value)):
            raise ValueError(f"a picture; it is {cure}")
        told = list(dict.fromkeys(said))
        text = " or ".join(told)
        if optional:
            text = f"{text.removesuffix('.')}, or None" + "." * text.endswith(".")
        raise ValueError(text)

    return read


def _instance(kind: type) -> Reader:
    name = kind.__name__
    by_name = issubclass(kind, _Named)
    words = {"ndarray": "an array of numpy", "Image": "a picture of PIL", "PathLike": "a path"}.get(name, f"a {name}")
    said = f"{words}; {source} makes one" if (source := _FROM.get(name)) else words

    def read(value: object) -> object:
        if not (name in (one.__name__ for one in type(value).__mro__) if by_name else isinstance(value, kind)):
            raise ValueError(said)
        return value

    return read


def _protocol(kind: Any) -> Reader:
    members = [name for name in dir(kind) if not name.startswith("_")]
    members += [name for name in getattr(kind, "__annotations__", {}) if name not in members]

    def read(value: object) -> object:
        if isinstance(value, type) or not all(hasattr(value, name) for name in members):
            raise ValueError(f"a {kind.__name__}, which has {', '.join(members)}" if members else f"a {kind.__name__}")
        return value

    return read


def _array(hint: Any) -> Reader:
    """Arrays by kind of number and count of axes; jaxtyping's own check would bind the axes of whoever called."""
    kinds: Any = hint.dtypes if isinstance(hint.dtypes, (list, tuple)) else ()
    word = re.match(r"[a-z]*", kinds[0] if kinds else "any")[0]  # pyright: ignore[reportOptionalSubscript]
    where = "torch" if hint.array_type.__name__ == "Tensor" else "numpy"
    axes = None if re.search(r"[*.]", hint.dim_str) else len(hint.dim_str.split())
    said = f"an array of {where} with {word} values and the axes ({hint.dim_str})"

    def read(value: object) -> object:
        array: Any = value
        right = isinstance(value, hint.array_type) and axes in (None, array.ndim)
        if not right or (kinds and str(array.dtype).removeprefix("torch.") not in kinds):
            raise ValueError(said)
        if where == "numpy" and array.dtype.kind == "f":
            import numpy as np

            if not np.isfinite(array).all():
                raise ValueError("an array of finite numbers")
        return value

    return read


def _anything(value: object) -> object:
    return value


def _callable(value: object) -> object:
    if not callable(value):
        raise ValueError("a function")
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be written: names of files and words of a shell may hold bytes that are no UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def bool_of(value: object) -> object:
    """True or false. Raises ValueError."""
    if isinstance(value, bool):
        return value
    if _numpy_bool(value):
        return bool(value)
    raise ValueError("true or false")


def int_of(value: object) -> object:
    """A whole number. Raises ValueError."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or _numpy_bool(value) or not hasattr(value, "__index__"):
        raise ValueError("a whole number")
    try:
        return operator.index(cast("Any", value))
    except TypeError as error:  # an array of several
        raise ValueError("a whole number") from error


def float_of(value: object) -> object:
    """A finite number. Raises ValueError."""
    if isinstance(value, bool) or _numpy_bool(value) or not isinstance(value, Real):
        raise ValueError("a finite number")
    try:
        number = float(value)
    except OverflowError as error:  # a whole number beyond any float
        raise ValueError("a finite number") from error
    if not math.isfinite(number):
        raise ValueError("a finite number")
    given: Any = value
    return given if type(given) is int else number


def str_of(value: object) -> object:
    """A text that can be written. Raises ValueError."""
    if isinstance(value, str) and is_unicode(value):
        return value
    raise ValueError("a text" if not isinstance(value, str) else "a text: bytes of it are no UTF-8")


def path_of(value: object) -> object:
    """A path, or a text that names one: an empty text would be the current folder. Raises ValueError."""
    if isinstance(value, (str, Path)) and is_unicode(text := str(value)) and value and "\0" not in text:
        return value
    raise ValueError("the path of a file or folder")


def _numpy_bool(value: object) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


_PLAIN: dict[Any, Reader] = {bool: bool_of, float: float_of, int: int_of, str: str_of}


@functools.cache
def hints_of(thing: Any) -> dict[str, Any]:
    """Name -> hint of the fields of a class, or of the parameters of a function.

    Settings name some types that they do not import, so that a command line loads nothing heavy (options.py): those of
    :data:`_BY_NAME` are told by the names of a value's classes, and others are left to their class.
    """
    found: dict[str, Any] = {}
    for one in reversed(thing.__mro__) if isinstance(thing, type) else (thing,):
        names = _Names(vars(sys.modules[one.__module__]))
        for name, hint in vars(one).get("__annotations__", {}).items() if isinstance(one, type) else _annotated(one):
            found[name] = eval(hint, {}, names) if isinstance(hint, str) else hint
    return found


def _annotated(function: Any) -> Iterable[tuple[str, Any]]:
    return [(name, hint) for name, hint in function.__annotations__.items() if name != "return"]


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            return getattr(builtins, name)
        if name.startswith("_"):  # what a debugger asks of a frame
            raise KeyError(name)
        return type(name, (_Named,), {}) if name in _BY_NAME else Any


class _Named:
    """A class of ours that is known by its name only."""

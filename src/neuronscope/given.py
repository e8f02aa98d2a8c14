"""Arguments of public callables, looked at as they are annotated before anything is done with them.

    @checked            a function
    @checked_methods    a class: its own public methods, and its constructor where that is no dataclass's

What is no such value is refused as it is in the fields of option classes (fields.py): InvalidOption with the argument's
name, what was given, and what is taken. What a value may be beyond its annotation, its function says.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from .fields import RANGES, read_as, require_between
from .hints import Reader, hints_of, reader

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

_Look: TypeAlias = Callable[[Any], Any]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with its arguments looked at."""
    inner: Any = inspect.unwrap(function)

    @functools.wraps(function)
    def looked_at(*args: P.args, **kwargs: P.kwargs) -> R:
        placed, many, named = _readers(inner)
        ordered = [*placed, *([many] * (len(args) - len(placed)))]
        given = [read(value) for read, value in zip(ordered, args, strict=False)]
        others = {name: named.get(name, _as_it_is)(value) for name, value in kwargs.items()}
        return cast("Callable[..., R]", function)(*given, *args[len(given) :], **others)

    return looked_at


def checked_methods(kind: C) -> C:
    """The class, with the arguments of its own public methods looked at."""
    for name, method in list(vars(kind).items()):
        made = name == "__init__" and not hasattr(kind, "__dataclass_fields__")
        if name.startswith("_") and not made:
            continue
        if isinstance(method, (classmethod, staticmethod)):
            wrapper = cast("Callable[[Any], Any]", type(cast("Any", method)))
            setattr(kind, name, wrapper(checked(cast("Any", method).__func__)))
        elif inspect.isfunction(method):
            setattr(kind, name, checked(method))
    return kind


def _as_it_is(value: Any) -> Any:
    return value


@functools.cache
def _readers(function: Any) -> tuple[list[_Look], _Look, dict[str, _Look]]:
    """What reads the arguments that are told by their place, what is behind `*`, and what is told by its name."""
    hints = hints_of(function)
    placed: list[_Look] = []
    named: dict[str, _Look] = {}
    many: _Look = _as_it_is
    for name, one in inspect.signature(function).parameters.items():
        read = reader(hints.get(name, Any))
        look = _as_it_is if read is None else functools.partial(_look, name, read)
        if one.kind is one.VAR_POSITIONAL:
            many = look
        elif one.kind is not one.VAR_KEYWORD:
            named[name] = look
            _ = one.kind is one.KEYWORD_ONLY or placed.append(look)
    return placed, many, named


def _look(name: str, read: Reader, value: object) -> object:
    held = read_as(name, value, read)
    if name in RANGES:
        require_between(name, held, *RANGES[name])
    return held

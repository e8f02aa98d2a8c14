"""What the fields of option classes may hold: what they declare, looked at when an object is made.

    check_fields(self)      first in the __post_init__ of a frozen dataclass

A `float` is a finite number, an `int` a whole one, a `bool` true or false, a `str` a text, and a tuple of these a
sequence of them; numbers of numpy become Python's. A bool is no number, a text is none, and 2.0 is no whole number: all
of them would do something, and not what was meant. Fields of other types are left to their class. What a field says of
its range (`option(..., least=1)`) is looked at here, and so is what numbers of some names are everywhere (RANGES).
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from numbers import Real
from typing import Any, cast

from .errors import InvalidOption

#: Gives a value back as the field holds it; raises ValueError with what the value is not.
Reader = Callable[[object], object]

#: Classes of our own whose name alone is an annotation.
_OURS = ("Decoding", "Discovery", "Limits", "Neurons", "Recovery")


#: Name of a whole number -> its range wherever it is an option. A seed fits every generator; what is done again and
#: again is beyond the largest number only by a slip of the hand, and would not end.
RANGES: Mapping[str, tuple[int, int]] = {
    "seed": (0, 2**63 - 1),
    **dict.fromkeys(("controls", "draws", "random_sets", "replicates", "shuffles"), (0, 10**6)),
}


def check_fields(options: Any) -> None:
    """Raise InvalidOption, with name and value, for the first field that does not hold what it declares."""
    for name, read, least, most in _readers(type(options)):
        value = getattr(options, name)
        held = read_as(name, value, read)
        if least is not None or most is not None:
            require_between(name, held, least, most)
        if held is not value:
            object.__setattr__(options, name, held)


def require_between(name: str, value: object, least: float | None, most: float | None) -> None:
    """Raise InvalidOption for a number, or one of several, that is out of range; None is no number."""
    for one in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
        if not isinstance(one, Real):
            continue
        number: Any = one
        if least is not None and number < least:
            raise InvalidOption(f"{name}={shown(value)} must be at least {least:g}")
        if most is not None and number > most:
            raise InvalidOption(f"{name}={shown(value)} must be at most {most:,}")


def is_finite(value: object) -> bool:
    """Whether a value is a finite number: no text, no bool."""
    if _is(value, float):  # most are
        return math.isfinite(cast("float", value))
    try:
        _float(value)
    except ValueError:
        return False
    return True


def finite_number(name: str, value: object) -> float:
    """A value as a finite number. Raises InvalidOption for anything else, text and bool included."""
    return cast("float", read_as(name, value, _float))


def whole(name: str, value: object) -> int:
    """A value as a whole number in the range of its name. Raises InvalidOption for all else, 2.0 and bool included."""
    found = cast("int", read_as(name, value, _int))
    require_between(name, found, *RANGES.get(name.lstrip("-").replace("-", "_"), (None, None)))
    return found


def finite_numbers(name: str, values: object, count: int | None = None) -> tuple[float, ...]:
    """A sequence, of a certain length where it is given, of finite numbers. Raises InvalidOption for anything else."""
    return cast("tuple[float, ...]", read_as(name, values, _items([_float] * (count or 1), endless=count is None)))


def read_as(name: str, value: object, read: Reader) -> object:
    """What a reader makes of a value. Raises InvalidOption with name and value."""
    try:
        return read(value)
    except ValueError as error:
        raise InvalidOption(f"{name}={shown(value)} is not {error}") from error


def shown(value: object) -> str:
    """A value as errors show it: on one line, and cut where it is long."""
    text = str(value) if isinstance(value, Real) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@lru_cache(maxsize=256)
def _readers(options: type) -> list[tuple[str, Reader, float | None, float | None]]:
    found: list[tuple[str, Reader, float | None, float | None]] = []
    for one in dataclasses.fields(options):
        read = _reader(one.type if isinstance(one.type, str) else one.type.__name__) if one.init else None
        if read is not None:
            least, most = RANGES.get(one.name, (None, None))
            found.append((one.name, read, one.metadata.get("least", least), one.metadata.get("most", most)))
    return found


def _reader(annotation: str) -> Reader | None:
    """What reads values of an annotation; None where it is not one of those above."""
    kinds = [kind.strip() for kind in annotation.split("|")]
    optional = "None" in kinds
    kinds = [kind for kind in kinds if kind != "None"]
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    read = _READERS.get(kind)
    if kind in _OURS:
        read = _instance(kind)
    elif kind.startswith("tuple[") and kind.endswith("]"):
        items = [item.strip() for item in kind.removeprefix("tuple[").removesuffix("]").split(",")]
        endless = items[-1] == "..."
        readers = [_READERS.get(item) for item in (items[:-1] if endless else items)]
        known = [one for one in readers if one is not None]
        read = _items(known, endless=endless) if len(known) == len(readers) else None
    if read is None or not optional:
        return read
    chosen = read

    def none_or(value: object) -> object:
        try:
            return None if value is None else chosen(value)
        except ValueError as error:
            raise ValueError(f"{error}, or None") from error

    return none_or


def _instance(kind: str) -> Reader:
    def read(value: object) -> object:
        if all(one.__name__ != kind for one in type(value).__mro__):
            raise ValueError(f"a {kind}")
        return value

    return read


def _items(readers: list[Reader], *, endless: bool) -> Reader:
    def read(value: object) -> object:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise ValueError("a sequence" if endless else f"{len(readers)} values")
        given = list(cast("Iterable[object]", value))
        wanted = readers * len(given) if endless else readers
        if len(given) != len(wanted):
            raise ValueError(f"{len(readers)} values")
        try:
            held = tuple(read(one) for read, one in zip(wanted, given, strict=True))
        except ValueError as error:
            raise ValueError(f"a sequence of which each is {error}") from error
        same = isinstance(value, tuple) and all(a is b for a, b in zip(held, given, strict=True))
        return cast("object", value) if same else held

    return read


def _bool(value: object) -> object:
    if isinstance(value, bool):
        return value
    if _numpy_bool(value):
        return bool(value)
    raise ValueError("true or false")


def _int(value: object) -> object:
    if type(value) is int:
        return value
    if isinstance(value, bool) or _numpy_bool(value) or not hasattr(value, "__index__"):
        raise ValueError("a whole number")
    try:
        return operator.index(cast("Any", value))
    except TypeError as error:  # an array of several
        raise ValueError("a whole number") from error


def _float(value: object) -> object:
    if isinstance(value, bool) or _numpy_bool(value) or not isinstance(value, Real):
        raise ValueError("a finite number")
    try:
        number = float(value)
    except OverflowError as error:  # a whole number beyond any float
        raise ValueError("a finite number") from error
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return value if _is(value, int) else number


def _str(value: object) -> object:
    if isinstance(value, str) and is_unicode(value):
        return value
    raise ValueError("a text" if not isinstance(value, str) else "a text: bytes of it are no UTF-8")


def is_unicode(text: str) -> bool:
    """Whether a text can be written: names of files and words of a shell may hold bytes that are no UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is(value: object, kind: type) -> bool:
    return type(value) is kind


def _numpy_bool(value: object) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


_READERS: dict[str, Reader] = {"bool": _bool, "float": _float, "int": _int, "str": _str}

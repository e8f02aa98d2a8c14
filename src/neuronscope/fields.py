"""What the fields of option classes may hold: what they declare, looked at when an object is made.

    check_fields(self)      first in the __post_init__ of a frozen dataclass

What a field's annotation lets through, hints.py says. What it says of its range (`option(..., least=1)`) is looked at
here, and so is what numbers of some names are everywhere (RANGES).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from typing import Any, cast

from .errors import InvalidOption
from .hints import Reader, float_of, hints_of, int_of, items, reader

#: Name of a whole number -> its range wherever it is an option. A seed fits every generator; what is done again and
#: again is beyond the largest number only by a slip of the hand, and would not end.
RANGES: Mapping[str, tuple[int, int]] = {
    "seed": (0, 2**63 - 1),
    **dict.fromkeys(("layer", "unit"), (0, 2**63 - 1)),
    **dict.fromkeys(("batch_size", "hidden", "last", "size"), (1, 2**63 - 1)),
    **dict.fromkeys(("controls", "draws", "random_sets", "replicates", "shuffles"), (0, 10**6)),
}


def check_fields(options: Any, *, but: tuple[str, ...] = ()) -> None:
    """Raise InvalidOption, with name and value, for the first field that does not hold what it declares.

    Fields that the class looks at by itself, with more to say, are named in `but`.
    """
    for name, read, least, most in _readers(type(options)):
        if name in but:
            continue
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
    if type(value) is float:  # most are
        return math.isfinite(value)
    try:
        float_of(value)
    except ValueError:
        return False
    return True


def finite_number(name: str, value: object) -> float:
    """A value as a finite number. Raises InvalidOption for anything else, text and bool included."""
    return cast("float", read_as(name, value, float_of))


def whole(name: str, value: object) -> int:
    """A value as a whole number in the range of its name. Raises InvalidOption for all else, 2.0 and bool included."""
    found = cast("int", read_as(name, value, int_of))
    require_between(name, found, *RANGES.get(name.lstrip("-").replace("-", "_"), (None, None)))
    return found


def finite_numbers(name: str, values: object, count: int | None = None) -> tuple[float, ...]:
    """A sequence, of a certain length where it is given, of finite numbers. Raises InvalidOption for anything else."""
    return cast("tuple[float, ...]", read_as(name, values, items([float_of] * (count or 1), endless=count is None)))


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
    hints = hints_of(options)
    for one in dataclasses.fields(options):
        read = reader(hints[one.name]) if one.init else None
        if read is not None:
            least, most = RANGES.get(one.name, (None, None))
            found.append((one.name, read, one.metadata.get("least", least), one.metadata.get("most", most)))
    return found

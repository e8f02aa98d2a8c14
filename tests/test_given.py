"""Arguments are looked at as they are annotated: by place, by name, behind `*`, and in methods of every kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from jaxtyping import Float

from neuronscope.errors import InvalidOption
from neuronscope.fields import RANGES
from neuronscope.given import checked, checked_methods


@checked
def called(
    count: int,
    *more: str,
    share: float | None = None,
    kind: Literal["one", "two"] = "one",
    path: str | Path = "a",
    rows: Sequence[int] = (),
    once: Iterable[int] = (),
    table: Mapping[str, float] | None = None,
    array: Float[np.ndarray, "n m"] | None = None,
    seed: int = 0,
    anything: Any = None,
    **others: int,
) -> tuple[Any, ...]:
    """Gives back what it was given."""
    return (count, *more, share, kind, path, rows, table, array, seed, anything, others)


@checked_methods
class Called:
    """One of each kind of method."""

    def __init__(self, size: int) -> None:
        self.size = size

    def own(self, factor: float) -> float:
        """The product."""
        return self.size * factor

    @classmethod
    def of(cls, size: int) -> Called:
        """One of that size."""
        return cls(size)

    @staticmethod
    def plain(flag: bool) -> bool:
        """The flag."""
        return flag


def test_right_values_get_through_and_numbers_of_numpy_become_pythons():
    found = called(np.int64(3), "a", share=np.float32(0.5), rows=[1, 2], table={"a": 1}, array=np.zeros((1, 2)), x=9)
    assert found[0] == 3
    assert type(found[0]) is int
    assert type(found[2]) is float
    assert found[-1] == {"x": 9}
    assert Called.of(2).own(1.5) == 3
    assert Called(np.int8(2)).size == 2
    assert Called.plain(np.True_) is True
    assert called.__wrapped__.__name__ == "called"  # pyright: ignore


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((("3",), {}), "count", "count='3' is not a whole number"),
        (((1, "a", 2), {}), "more", "more=2 is not a text"),
        (((), {"count": True}), "count", "is not a whole number"),
        (((1,), {"share": "x"}), "share", "is not a finite number, or None"),
        (((1,), {"kind": "tow"}), "kind", "kind='tow' is not known. Did you mean 'two'"),
        (((1,), {"path": ""}), "path", "is not the path of a file or folder"),
        (((1,), {"path": "a\0b"}), "path", "is not the path of a file or folder"),
        (((1,), {"rows": [1, 2.5]}), "rows", "is not a sequence of which each is a whole number"),
        (((1,), {"rows": iter([1])}), "rows", "is not a sequence"),
        (((1,), {"once": "ab"}), "once", "is not a sequence"),
        (((1,), {"table": {"a": "b"}}), "table", "is not a mapping of which each"),
        (((1,), {"array": np.zeros(3)}), "array", "is not an array of numpy with float values and the axes (n m)"),
        (((1,), {"array": np.full((1, 1), np.nan)}), "array", "is not an array of finite numbers"),
        (((1,), {"seed": -1}), "seed", "seed=-1 must be at least 0"),
    ],
)
def test_wrong_values_are_refused_by_name(arguments: Any, named: str, said: str):
    places, names = arguments
    with pytest.raises(InvalidOption, match=rf"^{named}=") as caught:
        called(*places, **names)
    assert said in str(caught.value)


def test_methods_of_every_kind_are_looked_at():
    for call in (lambda: Called("2"), lambda: Called(1).own(None), lambda: Called.of(1.5), lambda: Called.plain(1)):
        with pytest.raises(InvalidOption, match="is not"):
            call()  # pyright: ignore


def test_what_is_missing_or_too_much_is_pythons_own_error():
    for arguments in ({}, {"count": 1, "share": 1.0, "rows": [], "kind": "one"}):
        if arguments:
            called(**arguments)
        else:
            with pytest.raises(TypeError, match="count"):
                called()  # pyright: ignore


def test_ranges_are_of_names():
    assert RANGES["layer"][0] == RANGES["seed"][0] == 0
    assert RANGES["batch_size"][0] == 1

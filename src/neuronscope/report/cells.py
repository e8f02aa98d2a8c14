"""Cells of tables: what stands there, and the number to sort by. A dash stands for what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what stands there.
        value: the number to sort by; None for words.
        interval: in brackets after the text, if there is one.
        note: name of a note below the table, if there is one.
    """

    text: str
    value: float | None = None
    interval: str = ""
    note: str = ""

    def __str__(self) -> str:
        """The whole cell in Markdown."""
        return self.text + (f" {self.interval}" if self.interval else "") + (f"[^{self.note}]" if self.note else "")


def number(value: float | None, *, signed: bool = False) -> str:
    """Three decimals; no minus before zero."""
    if value is None:
        return NOTHING
    rounded = round(value, 3) + 0.0
    return f"{rounded:+.3f}" if signed and rounded else f"{rounded:.3f}"


def share(value: float | None, *, signed: bool = False) -> Cell:
    """A number that can be sorted by."""
    return Cell(number(value, signed=signed), value)


def shares(values: Iterable[float]) -> Cell:
    """Some numbers beside each other, to be sorted by the first."""
    found = list(values)
    return Cell(" / ".join(map(number, found)), found[0])


def count(value: float | None, form: str = "") -> Cell:
    """A number in another form than three decimals."""
    return Cell(NOTHING if value is None else f"{value:{form}}", value)


def interval(found: Mapping[str, float] | None, *, signed: bool = False) -> Cell:
    """A number with its interval."""
    if found is None:
        return Cell(NOTHING)
    value, low, high = (number(found[name], signed=signed) for name in ("value", "low", "high"))
    return Cell(value, found["value"], f"[{low}, {high}]")


def p_value(p: float) -> Cell:
    """Three decimals, or that it is smaller."""
    return Cell("< 0.001" if p < 0.0005 else f"{p:.3f}", p)

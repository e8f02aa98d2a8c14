"""Markdown that is aligned in the source, too. Numbers have three decimals; a dash stands for what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

NOTHING = "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table whose columns are aligned in the source, too: the first ones left, the others right."""
    lines = [list(header), *(list(row) for row in rows)]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(header))]
    left = [k < text_columns for k in range(len(header))]
    rule = ["-" * width if at_left else "-" * (width - 1) + ":" for width, at_left in zip(widths, left, strict=True)]

    def padded(line: Sequence[str]) -> str:
        columns = zip(line, widths, left, strict=True)
        cells = [cell.ljust(width) if at_left else cell.rjust(width) for cell, width, at_left in columns]
        return f"| {' | '.join(cells)} |"

    return "\n".join(padded(line) for line in (lines[0], rule, *lines[1:]))


def number(value: float | None, *, signed: bool = False) -> str:
    """Three decimals; no minus before zero."""
    if value is None:
        return NOTHING
    rounded = round(value, 3) + 0.0
    return f"{rounded:+.3f}" if signed and rounded else f"{rounded:.3f}"


def interval(found: Mapping[str, float] | None, *, signed: bool = False) -> str:
    """A number with its interval."""
    if found is None:
        return NOTHING
    value, low, high = (number(found[name], signed=signed) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def p_value(p: float) -> str:
    """Three decimals, or that it is smaller."""
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"

"""Blocks as Markdown that is aligned in the source, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from .blocks import Block, Document, Heading, Listing, Notes, Section, StyledText, Text
from .cells import Cell

_STYLES: Mapping[str, str] = {"": "", "code": "`", "strong": "**"}


def markdown(title: str, sections: Iterable[Section], figures: Mapping[str, str] = MappingProxyType({})) -> str:
    """A whole report.

    Args:
        title: its heading; empty for none.
        sections: in their order.
        figures: name -> path of a picture, relative to the text; those that could not be drawn are not there.
    """
    parts = [f"# {title}"] if title else []
    for section in sections:
        parts += [f"## {section.title}"] if section.title else []
        parts += map(_block, section.blocks)
        parts += [f"![{one.caption}]({figures[one.name]})" for one in section.figures if one.name in figures]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"### {block.text}"
        case Text():
            return _runs(block.runs)
        case Listing():
            return "\n".join(f"- {_runs(item)}" for item in block.items)
        case Notes():
            return "\n".join(f"[^{name}]: {note}" for name, note in block.texts.items())
        case Document():
            return f"```json\n{block.text}\n```"
        case _:
            return table(block.header, block.rows, block.texts)


def _runs(runs: Iterable[StyledText]) -> str:
    return "".join(f"{_STYLES[run.style]}{run.text}{_STYLES[run.style]}" for run in runs)


def table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]], text_columns: int = 1) -> str:
    """A Markdown table whose columns are aligned in the source, too: the first ones left, the others right."""
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(header))]
    left = [k < text_columns for k in range(len(header))]
    rule = ["-" * width if at_left else "-" * (width - 1) + ":" for width, at_left in zip(widths, left, strict=True)]

    def padded(line: Sequence[str]) -> str:
        columns = zip(line, widths, left, strict=True)
        cells = [cell.ljust(width) if at_left else cell.rjust(width) for cell, width, at_left in columns]
        return f"| {' | '.join(cells)} |"

    return "\n".join(padded(line) for line in (lines[0], rule, *lines[1:]))

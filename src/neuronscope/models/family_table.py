"""The family table as people see it: what can be done with each family, and what to know of it."""

from __future__ import annotations

from .families import FAMILIES, Family


def applies(row: Family) -> dict[str, bool]:
    """What can be done with a family: the columns of the table that people see.

    Neurons at text positions, at image positions, at text positions that attend to the image, image tokens with
    a place on the image, batches of prompts of different lengths, and writing without a KV cache.
    """
    works = not row.refused
    return {
        "text": works,
        "image": works and not row.no_image,
        "media": works and row.media is not None,
        "map": works and not row.no_image and not row.no_grid,
        "batch": works and not row.single,
        "uncached": works and not row.cached,
    }


def remark(row: Family) -> str:
    """The most important thing to say about a row, in one line."""
    if row.refused:
        return f"refused: {row.refused}"
    parts = [row.untested and f"not tested: {row.untested}", row.no_image, row.no_grid or "", row.discrete]
    newer = row.since and f"transformers {row.since} or later"
    return "; ".join(part for part in (*parts, row.single, row.cached, row.notes, newer) if part)


def markdown() -> str:
    """The table of the documentation."""
    rows = sorted(FAMILIES.values(), key=lambda row: row.model_type)
    names = list(applies(rows[0]))
    lines = [f"| type | family | {' | '.join(names)} | remarks |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        marks = " | ".join("yes" if holds else "-" for holds in applies(row).values())
        lines.append(f"| `{row.model_type}` | {row.title} | {marks} | {remark(row)} |")
    return "\n".join(lines) + "\n"

"""What the paper printed, beside the tables of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...report.blocks import Block, Heading, Text, grid, text
from ...report.cells import Cell, share, shares


def published_means(document: Mapping[str, Any]) -> list[Block]:
    """The last row of Table II."""
    header = ["method", "S_se", "S_re", "S_mean", "J"]
    rows = [
        [row["method"], *(share(row[k], signed=k == "j") for k in ("s_se", "s_re", "s_mean", "j"))]
        for row in document["published"]["table_2_mean"]
    ]
    return [Heading(f"{_published_title(document)}: means"), grid(header, rows), _other_work(document)]


def _other_work(document: Mapping[str, Any]) -> Text:
    found = document["published"]
    levels = ", ".join(f"{level:g}" for level in found["levels"])
    return text(
        f"{found['source']}: 30 concepts, {found['images_per_concept']} images each, noise {levels} in activation "
        f"units, {found['draws']} draws. The paper reports no intervals, no random control and no J; its J is computed "
        "here from its S_se and S_re."
    )


def _published_title(document: Mapping[str, Any]) -> str:
    return f"Published ({document['published']['model']}, {document['published']['data']})"


def published_concepts(document: Mapping[str, Any]) -> list[Block]:
    """The concepts of Table II."""
    rows: dict[tuple[str, int], dict[str, Cell]] = {}
    for row in document["published"]["table_2"]:
        scores = shares((row["s_se"], row["s_re"], row["s_mean"]))
        rows.setdefault((row["concept"], row["level"]), {})[row["method"]] = scores
    methods = [row["method"] for row in document["published"]["table_2_mean"]]
    cells = [[concept, f"noise {n}", *(row[method] for method in methods)] for (concept, n), row in rows.items()]
    return [
        Heading(f"{_published_title(document)}: the concepts that the paper prints"),
        text("Every cell: S_se / S_re / S_mean."),
        grid(["concept", "condition", *methods], cells, 2),
    ]


def published_table_3(document: Mapping[str, Any]) -> list[Block]:
    """Table III."""
    found = {row["method"]: row for row in document["published"]["table_3"]}
    s_se = {row["method"]: row["s_se"] for row in document["published"]["table_2_mean"]}
    names = {"BLEU": "bleu", "ROUGE-1": "rouge_1", "ROUGE-L": "rouge_l", "BERTScore": "bertscore"}
    rows = [["S_se", *(share(s_se[method]) for method in found)]]
    rows += [[name, *(share(row[key]) for row in found.values())] for name, key in names.items()]
    note = "The paper states neither the order of its BLEU nor the model of its BERTScore."
    return [Heading(f"{_published_title(document)}: Table III"), grid(["metric", *found], rows), text(note)]

"""What differs between model families, as data. Everything else is found by the rules of structure.py.

A row is looked up by `config.model_type`. A new family is a new row, never a branch in code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import UnsupportedModel

#: (config, pixel_values shape [.., height, width]) -> (rows, columns) of the image tokens of one image.
GridRule: TypeAlias = Callable[[Any, tuple[int, ...]], tuple[int, int]]


def patch_grid(config: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """One token per vision patch."""
    patch = int(config.vision_config.patch_size)
    return (shape[-2] // patch, shape[-1] // patch)


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        model_type: as in config.json.
        title: for people.
        grid: how many rows and columns the image tokens of one image form.
        template: how image and prompt are joined when the caller gives no template of their own.
        notes: what a user should know.
    """

    model_type: str
    title: str
    grid: GridRule
    template: str = "{image}\n{prompt}"
    notes: str = ""


FAMILIES: Mapping[str, Family] = {
    row.model_type: row
    for row in (
        Family("llava", "LLaVA 1.5", patch_grid, notes="one grid; CLS dropped by the projector"),
        Family("vipllava", "VipLLaVA", patch_grid, notes="one grid; features of five tower layers"),
    )
}


def family_of(config: Any) -> Family:
    """The row of a model's config. Raises UnsupportedModel with the known types."""
    kind = str(getattr(config, "model_type", None))
    if kind not in FAMILIES:
        if getattr(config, "vision_config", None) is None:
            raise UnsupportedModel(
                f"model type {kind!r} has no vision tower: neuronscope studies vision-language models"
            )
        raise UnsupportedModel(f"model type {kind!r} is not in the family table. Known: {', '.join(sorted(FAMILIES))}.")
    return FAMILIES[kind]

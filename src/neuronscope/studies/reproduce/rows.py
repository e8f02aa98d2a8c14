"""The rows of a run's units, as units.py has their columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...meaning.localisation import dataset_cut, localise
from ...types import Neurons
from ...view.heatmap import Heatmap
from .kept import Kept

#: How a set agrees with planted neurons, by columns.
TRUTH = ("precision", "recall", "average_precision")


def located_row(neurons: Neurons, notes: Sequence[str], seconds: float) -> dict[str, Any]:
    """The row of a method on a sample, without its agreement with planted neurons."""
    return {
        "neurons": json.dumps(neurons.to_dict(), allow_nan=False),
        "count": len(neurons),
        "notes": list(notes),
        "seconds": seconds,
        "refused": None,
    }


def refused_row(reason: str) -> dict[str, Any]:
    """The row of a method on a sample that it cannot be used on: no set, which is something else than an empty one."""
    nothing = dict.fromkeys(("neurons", "count", "seconds", *TRUTH))
    return {**nothing, "notes": [f"refused: {reason}"], "refused": reason}


def localisation_rows(maps: Sequence[tuple[Kept, Heatmap]]) -> list[dict[str, Any]]:
    """How the maps of a method's sets lie on the objects, one row each; the data set's cut is over all of them."""
    if not maps:
        return []
    cut = dataset_cut([heat for _, heat in maps])
    rows: list[dict[str, Any]] = []
    for kept, heat in maps:
        mask = kept.pair.mask if kept.pair.sample.mask is None else kept.pair.sample.mask
        figures = localise(heat, mask, dataset_cut=cut)
        rows.append(
            {
                "concept": kept.concept,
                "image": kept.image_id,
                "iou_per_image": figures.iou_per_image,
                "iou_dataset": figures.iou_dataset,
                "iou_area": figures.iou_area,
                "pointing": float(figures.pointing),
                "energy": figures.energy,
                "object_share": figures.object_share,
            }
        )
    return rows

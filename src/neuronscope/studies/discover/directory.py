"""The directory of a discovery run: the columns of its parts, and what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ...loading import VLM
from ...models.usable import require_prompt
from ...run.directory import Run
from .settings import DiscoveryPlan

_TEXT, _NUMBER, _COUNT, _YES = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_NEURONS = {"layers": pa.list_(_COUNT), "units": pa.list_(_COUNT)}
_NOUN = {
    "noun": _TEXT,
    "surface": _TEXT,
    "start": _COUNT,
    "end": _COUNT,
    "tokens": pa.list_(_COUNT),
    **_NEURONS,
    "contributions": pa.list_(_NUMBER),
}

_DRAWN = {"of": _TEXT, "draw": _COUNT, "values": pa.list_(_NUMBER)}

#: Kind -> columns beside the key, which begins with `image` and `sha256`.
SCHEMAS: Mapping[str, pa.Schema] = {
    "captions": pa.schema({"caption": _TEXT, "text": _TEXT, "ids": pa.list_(_COUNT)}),
    "nouns": pa.schema(_NOUN),
    "shuffled": pa.schema({**_NOUN, "caption": _TEXT}),
    "texts": pa.schema({"noun": _TEXT, "of": _TEXT, **_NEURONS, "text": _TEXT, "named": _YES}),
    "matrices": pa.schema({**_DRAWN, "row": _TEXT, "nouns": pa.list_(_TEXT)}),
    "specificity": pa.schema({**_DRAWN, "noun": _TEXT, "rows": pa.list_(_TEXT)}),
    "similarity": pa.schema({"noun": _TEXT, "of": _TEXT, "value": _NUMBER, "provenance": _TEXT}),
}


def open_discovery(folder: str | Path, vlm: VLM, plan: DiscoveryPlan) -> Run:
    """Create the run directory, or go on with one of the same plan and model.

    Raises RunMismatch naming what differs, and InvalidOption, with nothing written, for what the model cannot be asked.
    Images are no setting: a run can be gone on with for more of them.
    """
    plan.discovery.require_few(vlm)
    require_prompt(vlm, plan.discovery.decoding)
    return Run.open(folder, plan.settings(vlm), schemas=SCHEMAS)

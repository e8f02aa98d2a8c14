"""What each kind of part holds beside its key, as Arrow columns."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

_TEXT, _NUMBER, _COUNT, _YES = pa.string(), pa.float64(), pa.int64(), pa.bool_()

#: Kind -> columns. `neurons`, `document` and `provenance` are JSON.
SCHEMAS: Mapping[str, pa.Schema] = {
    "dataset": pa.schema({"document": _TEXT}),
    "located": pa.schema(
        {
            "neurons": _TEXT,
            "count": _COUNT,
            "notes": pa.list_(_TEXT),
            "seconds": _NUMBER,
            "precision": _NUMBER,
            "recall": _NUMBER,
            "average_precision": _NUMBER,
        }
    ),
    "captions": pa.schema(
        {
            "of": _TEXT,
            "names": _TEXT,
            "draw": _COUNT,
            "caption": _TEXT,
            "hit": _YES,
            "hit_strict": _YES,
            "hit_lexicon": _YES,
            "hit_substring": _YES,
        }
    ),
    "random": pa.schema({"set": _COUNT, "j": _NUMBER}),
    "localisation": pa.schema(
        {
            "concept": _TEXT,
            "image": _TEXT,
            "iou_per_image": _NUMBER,
            "iou_dataset": _NUMBER,
            "iou_area": _NUMBER,
            "pointing": _NUMBER,
            "energy": _NUMBER,
            "object_share": _NUMBER,
        }
    ),
    "similarity": pa.schema(
        {
            "concept": _TEXT,
            "image": _TEXT,
            "condition": _TEXT,
            "value": _NUMBER,
            "pairs": _COUNT,
            "provenance": _TEXT,
        }
    ),
}

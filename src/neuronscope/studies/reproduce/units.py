"""What a reproduction consists of: units of work, what each needs, and which are next. No model is needed to know.

- located: the neurons of one method in one sample, after those of the reference method. Method x sample.
- captions: every image's captions under one condition on one set. Method x sample x condition.
- localisation: heat maps of a method's sets against the objects. Method.
- random: J of layer-matched random sets beside that of the reference set. Sample.
- similarity: captions of the concept's images against those of its edited images. Metric x method.

All of them need the data set, which is a unit of its own and the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ...cluster.units import Unit
from ...types import Json
from .settings import Experiment

#: Disk space: of a caption's row, and of a part beside its rows.
_BYTES, _PART = 12, 8000


#: What was found of a candidate that was captioned, so that a data set is gone on with where it was: the unit's kind.
CANDIDATE = "candidate"
#: The data set.
DATASET = Unit("dataset", {"part": "all"})


def sample_key(text: str, concept: str, image: str) -> dict[str, Json]:
    """What a method's unit for a sample is called."""
    return {"method": text, "concept": concept, "image": image}


def located(plan: Experiment, text: str, concept: str, image: str) -> Unit:
    """The unit that locates; all but the reference method ask it how many neurons to keep, unless told by `count`."""
    alone = text == plan.reference or "count" in plan.specs[text].options
    needs = () if alone else (located(plan, plan.reference, concept, image).name,)
    return Unit("located", sample_key(text, concept, image), needs)


def captions(plan: Experiment, text: str, concept: str, image: str) -> list[Unit]:
    """One unit for each condition; a level may count in activation differences of the reference set."""
    sets = [located(plan, method, concept, image).name for method in dict.fromkeys([plan.reference, text])]
    key = sample_key(text, concept, image)
    return [Unit("captions", {**key, "condition": one.name}, tuple(sets)) for one in plan.conditions]


def units(plan: Experiment, samples: Sequence[tuple[str, str]]) -> Iterator[Unit]:
    """Everything there is to do, in an order in which each unit finds what it needs.

    Args:
        plan: the experiment.
        samples: concept and image of every sample.
    """
    for concept, image in samples:
        for text in dict.fromkeys([plan.reference, *plan.methods]):
            yield located(plan, text, concept, image)
        for text in plan.methods:
            yield from captions(plan, text, concept, image)
    for text in plan.methods:
        yield Unit("localisation", {"method": text}, tuple(located(plan, text, *sample).name for sample in samples))
    for sample in samples if plan.random_sets else ():
        yield Unit("random", sample_key(plan.reference, *sample), (located(plan, plan.reference, *sample).name,))
    written = {text: [one.name for sample in samples for one in captions(plan, text, *sample)] for text in plan.methods}
    for metric in plan.metrics:
        for text in plan.methods:
            yield Unit("similarity", {"metric": metric, "method": text}, tuple(written[text]))


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        captions: how many.
        bytes: on disk.
        seconds: by one process on this machine, extrapolated from one unit; None where none was tried.
    """

    captions: int
    bytes: int
    seconds: float | None = None

    @classmethod
    def of(cls, plan: Experiment, samples: int, left: Iterable[Unit]) -> Cost:
        """Of the captions among the units that are left; the rest takes little."""
        draws = {one.name: plan.draws if one.level is not None else 1 for one in plan.conditions}
        written = [draws[str(unit.key["condition"])] for unit in left if unit.kind == "captions"]
        count = samples * sum(written)
        return cls(count, _BYTES * count + _PART * len(written))


_TEXT, _NUMBER, _COUNT, _YES = pa.string(), pa.float64(), pa.int64(), pa.bool_()

#: Kind -> columns. `neurons`, `document` and `provenance` are JSON; `refused` is why there is no set.
SCHEMAS: Mapping[str, pa.Schema] = {
    "dataset": pa.schema({"document": _TEXT}),
    CANDIDATE: pa.schema({"document": _TEXT}),
    "located": pa.schema(
        {
            "neurons": _TEXT,
            "count": _COUNT,
            "notes": pa.list_(_TEXT),
            "seconds": _NUMBER,
            "precision": _NUMBER,
            "recall": _NUMBER,
            "average_precision": _NUMBER,
            "refused": _TEXT,
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

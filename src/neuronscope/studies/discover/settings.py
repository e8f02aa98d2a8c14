"""The settings of a discovery run, the columns of its parts, and what its directory says it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ...errors import InvalidOption
from ...evaluate.captions import CaptionMetric, metric
from ...loading import VLM
from ...locate.discovery import Discovery
from ...run.directory import Run
from ...samples.nouns import noun_finder
from ...types import Json

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

#: Sizes of the k sweeps, as far as so many neurons are kept.
KS = (1, 5, 10, 50, 100, 500, 1000)


@dataclass(frozen=True, kw_only=True)
class DiscoveryPlan:
    """What a discovery run computes.

    Attributes:
        discovery: how neurons are found.
        ks: sizes at which layers are counted and region invariance is measured; none takes 1, 5, 10, 50, 100, ... up to
            the number of neurons kept.
        shuffles: permutations of the image tokens for region invariance; 0 leaves it out.
        group: images of a concept that cross-image invariance compares, N.
        group_k: neurons of each; none takes 100, or as many as are kept.
        described: (neurons, tokens of each) behind the texts.
        draws: random sets behind each control of specificity.
        metrics: caption metrics by name, with their options, which the texts are scored by.
        seed: of permutations, controls and intervals.
    """

    discovery: Discovery = field(default_factory=Discovery)
    ks: tuple[int, ...] = ()
    shuffles: int = 1
    group: int = 5
    group_k: int = 0
    described: tuple[int, int] = (10, 10)
    draws: int = 20
    metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    seed: int = 0

    def __post_init__(self) -> None:
        top = self.discovery.top
        least = {"shuffles": 0, "group": 2, "group_k": 0, "draws": 1, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InvalidOption(f"{name}={getattr(self, name)} must be at least {bound}")
        object.__setattr__(self, "ks", self.ks or tuple(k for k in KS if k <= top))
        object.__setattr__(self, "group_k", self.group_k or min(100, top))
        for k in (*self.ks, self.group_k):
            if not 1 <= k <= top:
                raise InvalidOption(f"k={k} must be 1 to {top}, the number of neurons that are kept (top)")
        if min(self.described) < 1 or self.described[0] > top:
            raise InvalidOption(
                f"described={self.described} must be at least 1 each, and the first at most {top} (top)"
            )
        for name, options in self.metrics.items():
            metric(name, **options)

    def metric(self, name: str) -> CaptionMetric:
        """A metric of the plan, its model not loaded yet."""
        return metric(name, **self.metrics[name])

    def settings(self, vlm: VLM) -> dict[str, Json]:
        """What decides what the parts hold: the model, how nouns are found on this installation, and these options.

        Sizes that are only counted at the end, metrics and the number of permutations may change from start to start.
        """
        return {
            "job": "discovery",
            "model": {**vlm.identity(), "dtype": str(vlm.dtype)},
            "finder": noun_finder(self.discovery.nouns).provenance(),
            "discovery": self.discovery.to_dict(),
            "described": list(self.described),
            "draws": self.draws,
            "seed": self.seed,
        }


def open_discovery(folder: str | Path, vlm: VLM, plan: DiscoveryPlan) -> Run:
    """Create the run directory, or go on with one of the same plan and model. Raises RunMismatch naming what differs.

    Images are no setting: a run can be gone on with for more of them.
    """
    return Run.open(folder, plan.settings(vlm), schemas=SCHEMAS)

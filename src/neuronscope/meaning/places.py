"""Does a set's heat map lie on the object? Its figures beside those of random neurons' maps, and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.image import ImageSource
from ..types import Neurons, whole_number
from ..view.heatmap import Heatmap, Resize, Trace, heatmaps
from .localisation import Localisation, RandomControl, localise, matched_sets

#: What is compared; the first decides what the sentence says.
SHOWN: Mapping[str, str] = {"iou_area": "IoU at the object's size", "pointing": "pointing game", "energy": "energy"}
#: Below which share of random maps that do as well a map is said to be better than chance.
ALPHA = 0.05
#: Maps and objects are compared at every so many pixels that the longer side has about this many: all maps the same,
#: and no grid of image tokens is as fine.
_LONGEST = 256
#: Random maps beside one.
DRAWS = 40


@dataclass(frozen=True)
class MapPlace:
    """How one heat map lies on the object.

    Attributes:
        found: "iou_area", "pointing" (1 or 0) and "energy" of the set's map; see
            :class:`~neuronscope.meaning.Localisation`.
        random: the means over the maps of random neurons.
        p: (1 + random maps that do at least as well) / (1 + all).
        draws: random maps.
        object_share: the object's share of the picture.
        neurons: how many are averaged.
    """

    found: Mapping[str, float]
    random: Mapping[str, float]
    p: Mapping[str, float]
    draws: int
    object_share: float
    neurons: int

    @property
    def better(self) -> bool:
        """Whether the map covers the object better than random neurons' maps."""
        return self.p["iou_area"] < ALPHA

    @property
    def sentence(self) -> str:
        """The figures, and what they say."""
        parts = [
            f"{words} {self.found[name]:.2f} (random {self.random[name]:.2f}, p = {self.p[name]:.2f})"
            for name, words in SHOWN.items()
        ]
        how = "better than" if self.better else "not told apart from"
        return (
            f"On the object the map of {self.neurons} neurons is {how} {self.draws} maps of random neurons of the same "
            f"layers: {', '.join(parts)}; the object is {self.object_share:.0%} of the picture."
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as a file can hold it, with the sentence."""
        return {"sentence": self.sentence, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MapPlace:
        """The inverse of :meth:`to_dict`. Raises KeyError or TypeError for other documents."""
        found, random, p = ({name: float(data[key][name]) for name in SHOWN} for key in ("found", "random", "p"))
        return cls(found, random, p, int(data["draws"]), float(data["object_share"]), int(data["neurons"]))


def place(
    vlm: VLM,
    image: ImageSource,
    neurons: Neurons,
    heat: Heatmap,
    mask: Bool[np.ndarray, "height width"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    resize: Resize = "half_pixel",
    trace: Trace = "auto",
    decoding: Decoding = Decoding(),
) -> MapPlace:
    """Compare a set's heat map, and those of random neurons, with the pixels of the object.

    Args:
        vlm: the model.
        image: the picture of the map.
        neurons: the whole set; no member of it is drawn.
        heat: the map, of these neurons or some of them.
        mask: the object, in the pixel frame of the user's image.
        draws: random maps; for p below 0.05 the map must be better than all of 20, or than all but one of 40.
        seed: of the random neurons.
        resize: as for the map.
        trace: as for the map.
        decoding: as for the map.

    Raises InvalidSample for an object that the model did not see, and InvalidOption for a layer without enough other
    neurons.
    """
    whole_number("draws", draws, 1)
    step = max(1, max(mask.shape) // _LONGEST)
    while step > 1 and not mask[::step, ::step].any():  # an object of few pixels
        step -= 1
    own = _coarsely(heat, mask, step)
    sets = matched_sets(vlm, neurons, heat.neurons, draws, seed)
    heats = heatmaps(vlm, image, sets, resize=resize, trace=trace, decoding=decoding)
    control = RandomControl(tuple(_coarsely(one, mask, step) for one in heats), sets)
    return MapPlace(
        {name: float(getattr(own, name)) for name in SHOWN},
        {name: control.mean[name] for name in SHOWN},
        {name: control.p_value(own, name) for name in SHOWN},
        draws,
        own.object_share,
        len(heat.neurons),
    )


def _coarsely(heat: Heatmap, mask: Bool[np.ndarray, "height width"], step: int) -> Localisation:
    return localise(replace(heat, values=heat.values[::step, ::step]), mask[::step, ::step])

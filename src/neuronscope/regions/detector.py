"""Zero-shot detection: boxes of a word in a picture, by OWL-ViT, OWLv2 or Grounding DINO.

Minderer et al. (2022, 2023); Liu et al. (2023). The word is asked for as each of them was trained on text.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from PIL import Image

from ..errors import InvalidOption, InvalidSample, NotFinite
from ..samples.regions import FoundRegion
from ..types import Json
from .helper import Helper

#: `model_type` of a config -> how the word is asked for.
DETECTORS: Mapping[str, str] = {
    "owlvit": "a photo of a {}",
    "owlv2": "a photo of a {}",
    "grounding-dino": "{}.",
    "mm-grounding-dino": "{}.",
}
#: So many of a detector's boxes are looked at, by score; some have thousands of queries.
_MOST = 100
#: A box has at least so many pixels on a side.
_SIDE = 1.0


class Detector:
    """A zero-shot detector of transformers (`AutoModelForZeroShotObjectDetection`)."""

    def __init__(self, model: str | os.PathLike[str], device: str | None = None) -> None:
        """Load it: hub id, directory, or "package:NAME"; on the GPU if there is one.

        Raises InvalidOption for a name of nothing, another kind of model or a missing package, UnsupportedModel for a
        checkpoint that cannot be loaded.
        """
        self._helper = Helper(model, "detector", "AutoModelForZeroShotObjectDetection", tuple(DETECTORS), device)
        if self._helper.kind == "owlv2" and find_spec("scipy") is None:
            raise InvalidOption(
                f"{self._helper.source.name}: OWLv2's image processor needs scipy, which is not installed: "
                "pip install 'neuronscope[regions]'"
            )

    @property
    def least(self) -> float:
        """The score from which its processor itself keeps a box."""
        made = inspect.signature(self._helper.processor.post_process_grounded_object_detection)
        return float(made.parameters["threshold"].default)

    def query(self, word: str) -> str:
        """How a word is asked for."""
        plain = " ".join(word.replace(".", " ").split())
        return DETECTORS[self._helper.kind].format(plain.lower() if "grounding" in self._helper.kind else plain)

    def find(self, image: Image.Image, word: str) -> list[FoundRegion]:
        """Boxes that could be the word, best first, cut to the picture; those without a pixel inside are left out.

        Raises InvalidSample for a word or picture that the detector cannot take, NotFinite where a score is no number.
        """
        helper, query = self._helper, self.query(word)
        with helper.asked(f"look for {word!r}"):
            given = helper.inputs(images=image, text=query if "grounding" in helper.kind else [[query]])
            self._require_length(given["input_ids"].shape[-1], word)
            outputs = helper.model(**given)
            size: Any = [(image.height, image.width)]
            more = {"input_ids": given["input_ids"]} if "grounding" in helper.kind else {}
            found = helper.processor.post_process_grounded_object_detection(
                outputs, **more, threshold=-1.0, target_sizes=size
            )[0]
            scores, corners = found["scores"].double().cpu(), found["boxes"].double().cpu()
        if not scores.isfinite().all() or not corners.isfinite().all():
            raise NotFinite(f"{helper.source.name} gives a score or a box that is no finite number for {word!r}")
        order = scores.argsort(descending=True, stable=True)[:_MOST].tolist()
        cut = ((_cut(corners[k].tolist(), image.size), float(scores[k])) for k in order)
        return [FoundRegion(box, score) for box, score in cut if min(box[2:]) >= _SIDE]

    def told(self) -> dict[str, Json]:
        """Its name, kind and fingerprint."""
        return self._helper.told()

    def _require_length(self, tokens: int, word: str) -> None:
        text: Any = self._helper.model.config.get_text_config()
        most = int(getattr(self._helper.model.config, "max_text_len", 0) or text.max_position_embeddings)
        if tokens > most:
            raise InvalidSample(f"{word!r} is too long for {self._helper.source.name}: {tokens} tokens, at most {most}")


def _cut(corners: list[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Two corners as x, y, width, height inside the picture, to a tenth of a pixel: as people write boxes."""
    left, right = (round(min(max(value, 0.0), size[0]), 1) for value in corners[::2])
    top, bottom = (round(min(max(value, 0.0), size[1]), 1) for value in corners[1::2])
    return left, top, round(right - left, 1), round(bottom - top, 1)

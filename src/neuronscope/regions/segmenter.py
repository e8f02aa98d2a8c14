"""Promptable segmentation: the pixels of what is in a box or under a click, by the SAM family (Kirillov et al., 2023).

A box says what is meant, so one mask is asked for; a click may mean a button or a coat, so three are asked for, and the
one that the model expects to fit best is taken.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image

from ..errors import InvalidSample, NotFinite
from ..samples.boxes import Box, require_inside
from ..types import Json
from .helper import Helper

#: Values of `model_type` that are known. SAM 2's image processor works on torchvision only.
SEGMENTERS = ("sam", "sam_hq", "sam2", "sam2_video")

_SIZES = ("original_sizes", "reshaped_input_sizes")


class Segmenter:
    """A promptable segmenter of transformers (`AutoModelForMaskGeneration`)."""

    def __init__(self, model: str | os.PathLike[str], device: str | None = None) -> None:
        """Load it: hub id, directory, or "package:NAME"; on the GPU if there is one.

        Raises InvalidOption for a name of nothing or another kind of model, UnsupportedModel for a checkpoint that
        cannot be loaded.
        """
        self._helper = Helper(model, "segmenter", "AutoModelForMaskGeneration", SEGMENTERS, device)

    def in_box(self, image: Image.Image, box: Box) -> tuple[Bool[np.ndarray, "height width"], float]:
        """The mask of what a box x, y, width, height in pixels holds, and the overlap that the model expects of it.

        Raises InvalidSample for a box outside the picture, NotFinite where a score is no number.
        """
        x, y, width, height = require_inside(box, image.size)
        return self._best(image, single=True, input_boxes=[[[x, y, x + width, y + height]]])

    def at(self, image: Image.Image, x: float, y: float) -> tuple[Bool[np.ndarray, "height width"], float]:
        """The same of what lies under a point in pixels. Raises InvalidSample for a point outside the picture."""
        if not (0 <= x <= image.width and 0 <= y <= image.height):
            raise InvalidSample(f"the point {x:g},{y:g} lies outside the image of {image.width} x {image.height} px")
        return self._best(image, single=False, input_points=[[[[x, y]]]], input_labels=[[[1]]])

    def told(self) -> dict[str, Json]:
        """Its name, kind and fingerprint."""
        return self._helper.told()

    def _best(self, image: Image.Image, *, single: bool, **prompt: Any) -> tuple[Bool[np.ndarray, "_ _"], float]:
        helper = self._helper
        with helper.asked("outline what is marked"):
            given = helper.inputs(images=image, **prompt)
            sizes = [given.pop(name).cpu() for name in _SIZES if name in given]
            found = helper.model(**given, multimask_output=not single)
            masks = helper.processor.post_process_masks(found.pred_masks.cpu(), *sizes)[0]
            scores: Any = found.iou_scores.reshape(-1).float().cpu()
            masks = torch.as_tensor(masks).reshape(-1, image.height, image.width).numpy().astype(bool)
        if not scores.isfinite().all():
            raise NotFinite(f"{helper.source.name} gives a score that is no finite number")
        best = int(scores.argmax())
        return masks[best], float(scores[best])

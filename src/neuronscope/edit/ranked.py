"""Neurons to edit, from images alone: no box and no counterfactual is needed to rewrite a word.

    s[l, i] = mean over images of Pan's contribution to the source's first token      (locate/pan.py, METHODS c)

at the position that predicts the token, or averaged over the image tokens. Ties go by (layer, unit).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConceptNotNamed, InvalidOption
from ..intervene.captions import Decoding, generate_captions
from ..locate.located import Scores
from ..locate.pan import contributions
from ..locate.scores import Layout, Pooled, best_first
from ..locate.target import POSITIONS, Position
from ..samples.image import ImageSource
from ..types import Json, Neurons, one_of
from .observe import named_at

if TYPE_CHECKING:
    from ..models.vlm import VLM


def rank_for_edit(
    vlm: VLM,
    images: Sequence[ImageSource],
    concept: str,
    count: int,
    *,
    position: Position = "predict",
    decoding: Decoding | None = None,
) -> Neurons:
    """The neurons that contribute most to a word in some images.

    Args:
        vlm: the model.
        images: of the concept; those whose caption does not name it are passed over.
        concept: the word.
        count: how many neurons.
        position: where they are ranked.
        decoding: how captions are written.

    Raises InvalidOption for a count out of range and another position, ConceptNotNamed where no caption names the word.
    """
    one_of("position", position, POSITIONS)
    layout, decoding = Layout(vlm.widths), decoding or Decoding()
    if not 1 <= count <= layout.total:
        raise InvalidOption(f"count={count} must be 1 to {layout.total}, the neurons of {vlm.id}")
    found: list[Pooled] = []
    captions = [row[0] for row in generate_captions(vlm, images, decoding=decoding)]
    for image, caption in zip(images, captions, strict=True):
        if at := named_at(vlm, caption, concept):
            row = vlm.prepare([image], prompt=decoding.prompt, template=decoding.template)
            inputs = row.extend(caption.ids[: at[0]]) if at[0] else row
            found.append(contributions(vlm, inputs, [(1, caption.ids[at[0]])], position=position, norm="gain"))
    if not found:
        raise ConceptNotNamed(f"none of {len(images)} captions names {concept!r}, so no neuron can be ranked for it")
    score = np.mean([one.values for one in found], axis=0)
    members, kept = Scores(layout, {"contribution": Pooled(score)}).members(best_first(score)[:count])
    options: dict[str, Json] = {"count": count, "position": position, "norm": "gain", "images": len(found)}
    return Neurons(
        members, kept, site="neuron", concept=concept, method="pan-edit", options=options, model=vlm.identity()
    )

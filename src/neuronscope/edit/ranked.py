"""Neurons to edit, from images alone: no box and no counterfactual is needed to rewrite a word.

    s[l, i] = mean over images of Pan's contribution to the source's first token      (locate/pan.py, METHODS c)

at the position that predicts the token, or averaged over the image tokens. Ties go by (layer, unit). What makes a word
wrong in one image is looked for in the difference: from s is taken the same mean over images whose mention is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..caption import clean_captions
from ..errors import ConceptNotNamed, InvalidOption
from ..held import in_turn
from ..loading import VLM
from ..locate.located import Scores
from ..locate.pan import contributions
from ..locate.scores import Layout, Pooled, best_first
from ..locate.target import POSITIONS, Position
from ..models.decoding import Decoding
from ..samples.image import ImageSource
from ..types import Json, Neurons, one_of
from .observe import named_at


@in_turn
def rank_for_edit(
    vlm: VLM,
    images: Sequence[ImageSource],
    concept: str,
    count: int,
    *,
    position: Position = "predict",
    against: Sequence[ImageSource] = (),
    decoding: Decoding = Decoding(),
) -> Neurons:
    """The neurons that contribute most to a word in some images, or more than in others.

    Args:
        vlm: the model.
        images: of the concept; those whose caption does not name it are passed over.
        concept: the word.
        count: how many neurons.
        position: where they are ranked.
        against: images whose mean contribution is subtracted; those whose caption does not name the word are passed
            over as well.
        decoding: how captions are written.

    Raises InvalidOption for a count out of range and another position, ConceptNotNamed where no caption of `images`,
    or of `against` where it is given, names the word.
    """
    one_of("position", position, POSITIONS)
    layout = Layout(vlm.widths)
    if not 1 <= count <= layout.total:
        raise InvalidOption(f"count={count} must be 1 to {layout.total}, the neurons of {vlm.id}")
    found = _contributions(vlm, images, concept, position, decoding)
    score = np.mean(found, axis=0)
    options: dict[str, Json] = {"count": count, "position": position, "norm": "gain", "images": len(found)}
    if len(against):
        right = _contributions(vlm, against, concept, position, decoding)
        score = score - np.mean(right, axis=0)
        options["against"] = len(right)
    members, kept = Scores(layout, {"contribution": Pooled(score)}).members(best_first(score)[:count])
    return Neurons(
        members, kept, site="neuron", concept=concept, method="pan-edit", options=options, model=vlm.identity()
    )


def _contributions(
    vlm: VLM, images: Sequence[ImageSource], concept: str, position: Position, decoding: Decoding
) -> list[Float[np.ndarray, "neurons"]]:
    """Of each image whose caption names the word. Raises ConceptNotNamed where none does."""
    found: list[Float[np.ndarray, "neurons"]] = []
    captions = clean_captions(vlm, images, decoding=decoding)
    for image, caption in zip(images, captions, strict=True):
        if at := named_at(vlm, caption, concept):
            inputs = vlm.prepare([image], decoding).extend(caption.ids[: at[0]])
            entry = (1, caption.ids[at[0]])
            found.append(contributions(vlm, inputs, [entry], position=position, norm="gain").values)
    if not found:
        raise ConceptNotNamed(f"none of {len(images)} captions names {concept!r}, so no neuron can be ranked for it")
    return found

"""Which map a trace gives, and how far the cheap traces agree with the causal one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.image import ImageSource, read_image
from ..tokens import ImageTokens
from ..types import Neurons
from .attention import attention_x_activation, attention_x_gradient
from .rollout import cross_attention_rollout
from .trace import gradient_from_grey, input_times_gradient, occlusion


def looked(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """The activation spread over the patches by attention: that of learned queries, or the decoder's own."""
    if vlm.family.media is None:
        return cross_attention_rollout(vlm, picture, neurons, decoding=decoding)
    (values,), where = attention_x_activation(vlm, picture, [neurons], decoding=decoding)
    return values, where


def sloped(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """Input x gradient at the patches: of the vision tower, or of what the decoder attends to."""
    media = vlm.family.media is not None
    return (attention_x_gradient if media else input_times_gradient)(vlm, picture, neurons, decoding=decoding)


@in_turn
def trace_agreement(vlm: VLM, image: ImageSource, neurons: Neurons, *, batch_size: int = 16) -> dict[str, float]:
    """Spearman's rank correlation of every cheap map with occlusion's, over the placed patches.

    Takes one forward pass per patch. NaN for a map that is the same everywhere. Raises what
    :func:`cross_attention_rollout` raises.
    """
    picture = read_image(image)
    rolled, where = looked(vlm, picture, neurons)
    gradient, _ = sloped(vlm, picture, neurons)
    caused = occlusion(vlm, picture, neurons, where, batch_size=batch_size)
    at = np.concatenate([tile.tokens.ravel() for tile in where.mapped()])
    maps = {"gradient": gradient, "rollout": rolled}
    if vlm.family.media is None:
        maps["from-grey"], _ = gradient_from_grey(vlm, picture, neurons)
    return {name: rank_correlation(values[at], caused[at]) for name, values in maps.items()}


def rank_correlation(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties sharing their mean rank. NaN where all values are equal."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second)))
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale else float("nan")


def _ranks(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]

"""Do a concept's neurons stay the same when its patches move, and from image to image?

METHODS (f), metrics 2 and 3:

    region invariance        RI_k = |Top_k n Top_k^permuted| / k          mean over nouns of an image, then over images
    cross-image, joint       |n_n Top_k^(n)| / k                          over N images that share a concept
    cross-image, pairwise    mean over pairs of |A n B| / |A u B|         Jaccard

Nouns count for region invariance when the captions of both orders name them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...errors import InvalidOption
from ...types import Neuron
from .sets import CONTROLS, ControlledMean, Order, measured

#: The neurons of a noun, with the image as it is and with its embeddings permuted.
Pair = tuple[Order, Order]

#: A control that neurons of other concepts make: are they simply the same neurons for every noun?
OTHERS = "other nouns"


def overlap(first: Order, second: Order, k: int) -> float:
    """|Top_k n Top_k'| / k. Raises InvalidOption where a ranking has fewer than k neurons, or k is below 1."""
    _check_depth((first, second), k)
    return len(set(first[:k]) & set(second[:k])) / k


def joint(orders: Sequence[Order], k: int) -> float:
    """The share of the k best neurons that all rankings have in common. Raises InvalidOption as :func:`overlap`."""
    _check_depth(orders, k)
    return len(set[Neuron].intersection(*(set(order[:k]) for order in orders))) / k


def jaccard(orders: Sequence[Order], k: int) -> float:
    """Mean over pairs of rankings of the Jaccard index of their k best. Raises InvalidOption as :func:`overlap`."""
    _check_depth(orders, k)
    sets = [set(order[:k]) for order in orders]
    return float(np.mean([len(a & b) / len(a | b) for a, b in combinations(sets, 2)]))


def region_invariance(
    images: Sequence[Sequence[Pair]], ks: Sequence[int], widths: Sequence[int], seed: int = 0
) -> dict[int, ControlledMean]:
    """RI_k for each k, over images that have at least one noun in both captions.

    Controls take the place of the permuted image's neurons.

    Args:
        images: for each image the two rankings of every noun.
        ks: sizes.
        widths: neurons of each layer of the model.
        seed: of controls and intervals.

    Raises InvalidOption for no images, one without nouns, and rankings that are too short.
    """
    if not images or not all(images):
        raise InvalidOption("region invariance needs images, each with a noun that both captions name")
    rng = np.random.default_rng(seed)
    drawn = {
        name: [[(first, draw(widths, second, rng)) for first, second in pairs] for pairs in images]
        for name, draw in CONTROLS.items()
    }

    def means(given: Sequence[Sequence[Pair]], k: int) -> list[float]:
        return [float(np.mean([overlap(a, b, k) for a, b in pairs])) for pairs in given]

    return {k: measured(means(images, k), {name: means(pairs, k) for name, pairs in drawn.items()}, seed) for k in ks}


@dataclass(frozen=True)
class CrossImage:
    """Invariance over images that share a concept.

    Attributes:
        k, images: how many neurons of how many images each.
        joint, pairwise: means over concepts.
        concepts: concept -> its (joint, pairwise).
    """

    k: int
    images: int
    joint: ControlledMean
    pairwise: ControlledMean
    concepts: Mapping[str, tuple[float, float]]


def cross_image(
    groups: Mapping[str, Sequence[Order]], k: int, widths: Sequence[int], seed: int = 0, *, images: int = 5
) -> CrossImage:
    """Compare the first `images` rankings of every concept that has so many.

    Controls draw anew for each image. A third control, where there are enough concepts, takes each of its rankings from
    another concept.

    Args:
        groups: concept -> the ranking from each of its images.
        k: size.
        widths: neurons of each layer of the model.
        seed: of controls and intervals.
        images: N.

    Raises InvalidOption for fewer than two images, no concept with enough, and rankings that are too short.
    """
    if images < 2:
        raise InvalidOption(f"images={images}: at least 2 are needed to compare")
    kept = {concept: list(orders[:images]) for concept, orders in groups.items() if len(orders) >= images}
    if not kept:
        raise InvalidOption(
            f"no concept is named in {images} images; the most is {max(map(len, groups.values()), default=0)}"
        )
    rng = np.random.default_rng(seed)
    sets: dict[str, list[list[Order]]] = {
        name: [[draw(widths, order, rng) for order in orders] for orders in kept.values()]
        for name, draw in CONTROLS.items()
    }
    if len(kept) >= images:
        columns = list(kept.values())
        sets[OTHERS] = [[columns[(row + n) % len(columns)][n] for n in range(images)] for row in range(len(columns))]
    found = {concept: (joint(orders, k), jaccard(orders, k)) for concept, orders in kept.items()}
    return CrossImage(
        k,
        images,
        measured([value for value, _ in found.values()], _each(sets, joint, k), seed),
        measured([value for _, value in found.values()], _each(sets, jaccard, k), seed),
        found,
    )


def _each(
    sets: Mapping[str, Sequence[Sequence[Order]]], measure: Callable[[Sequence[Order], int], float], k: int
) -> dict[str, list[float]]:
    return {name: [measure(orders, k) for orders in groups] for name, groups in sets.items()}


def _check_depth(orders: Sequence[Order], k: int) -> None:
    if len(orders) < 2:
        raise InvalidOption(f"{len(orders)} ranking(s) were given; at least 2 are needed to compare")
    shortest = min(len(order) for order in orders)
    if not 1 <= k <= shortest:
        raise InvalidOption(f"k={k} must be 1 to {shortest}, the length of the shortest ranking")

"""Ground truth of models whose knowledge has a known address (the bundled model)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import InvalidOption, RunMismatch
from ..loading import VLM
from ..loading.load import checkpoint_directory
from ..locate.scores import Layout, best_first
from ..parsing import read_json
from ..types import Neuron, Neurons


@dataclass(frozen=True)
class Agreement:
    """How a found set compares with the true one. Precision of an empty set is 0."""

    precision: float
    recall: float


def planted(vlm: VLM) -> dict[str, Neurons]:
    """concept -> its planted neurons, from `planted.json` in the checkpoint; empty for natural models.

    Raises RunMismatch for a damaged file.
    """
    folder = checkpoint_directory(vlm.id)
    path = None if folder is None else Path(folder) / "planted.json"
    if path is None or not path.is_file():
        return {}
    try:
        table: dict[str, list[list[int]]] = read_json(path)
        return {concept: Neurons.of((layer, unit) for layer, unit in pairs) for concept, pairs in table.items()}
    except (OSError, ValueError, AttributeError, TypeError, InvalidOption) as error:
        raise RunMismatch(f"{path} is damaged: {error}") from error


def average_precision(values: Float[np.ndarray, "neurons"], layout: Layout, truth: Iterable[Neuron]) -> float:
    """Area under the precision-recall curve of a score over all neurons: the mean precision at each true neuron's rank.

    Ties are ordered by (layer, unit), as everywhere. Raises InvalidOption without true neurons.
    """
    flat = {layout.at(neuron) for neuron in truth}
    if not flat:
        raise InvalidOption("average precision needs at least one true neuron")
    hit = np.isin(best_first(values), sorted(flat))
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean())


def agreement(found: Iterable[Neuron], truth: Iterable[Neuron]) -> Agreement:
    """Precision and recall of a found set. Raises what :meth:`neuronscope.Neurons.require_like` raises."""
    if isinstance(found, Neurons):
        found.require_like(truth)
    found_set, true_set = set(found), set(truth)
    shared = len(found_set & true_set)
    return Agreement(shared / len(found_set) if found_set else 0.0, shared / len(true_set) if true_set else 0.0)

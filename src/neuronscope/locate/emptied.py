"""What is said of filters that keep nothing: which stage, against which controls, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from .decoys import ControlDifference
from .scores import Pooled
from .thresholds import Cut

_TITLES = {"activation": "stage 1 (activation difference)", "gradient": "stage 2 (grad x activation)"}
_REMEDY = (
    "what to do: a larger q, Budget(n) or Fixed(number) (--q, --budget) keeps some; without thresholds, TwoStage(), "
    "both stages are one product that needs no control"
)


def emptied(
    arrays: Mapping[str, Pooled],
    cuts: Mapping[str, Cut],
    controls: Sequence[ControlDifference],
    passed: int,
    nouns: int,
) -> tuple[str, ...]:
    """The notes of an empty set.

    Args:
        arrays: score -> of all neurons.
        cuts: of the stages that apply.
        controls: of stage 1.
        passed: how many neurons stage 1 kept; all of them where it does not apply.
        nouns: how many controls stage 2 has.
    """
    notes = [_culprit(cuts, controls, passed, nouns)]
    for name, cut in cuts.items():
        values = np.sort(arrays[name].values)[::-1]
        if np.isfinite(cut.threshold):
            notes.append(f"{name}: threshold {cut.threshold:.4g} ({cut.rule}), largest score {values[0]:.4g}")
        else:
            share = f" (best share of false finds: {cut.achieved:.2f})" if cut.achieved is not None else ""
            notes.append(f"{name}: {cut.rule} keeps nothing{share}")
        near = ", ".join(f"{n} neurons above {values[n]:.4g}" for n in (1, 10, 50) if n < len(values))
        notes.append(f"{name}: {near}")
    here = any(one.kind != "photograph" for one in controls)
    elsewhere = "; photographs=... (--control) takes controls from other pictures" if here else ""
    return (*notes, f"{_REMEDY}{elsewhere}")


def _culprit(cuts: Mapping[str, Cut], controls: Sequence[ControlDifference], passed: int, nouns: int) -> str:
    if "activation" in cuts and not passed:
        return f"{_TITLES['activation']} keeps no neuron{_against(_described(controls))}"
    others = f" against the logits of {nouns} other noun{'s' * (nouns > 1)}" if nouns else ""
    if "activation" not in cuts:
        return f"{_TITLES['gradient']} keeps no neuron{others}"
    kept = f"of the {passed} neurons that stage 1 keeps"
    if "gradient" in cuts:
        return f"{kept}, {_TITLES['gradient']} keeps none{others}, or none at the same patch"
    return f"{kept}, none is left"


def _against(controls: str) -> str:
    return f" against {controls}" if controls else ""


def _described(controls: Sequence[ControlDifference]) -> str:
    """How many of each kind, and how much they change beside the edit."""
    if not controls:
        return ""
    kinds = ", ".join(f"{count} x {kind}" for kind, count in Counter(one.kind for one in controls).items())
    factor = np.median([one.factor for one in controls])
    scaled = "" if factor == 1 else f", scaled by {factor:.2g} in the median to change as much as the edit"
    return f"{len(controls)} controls ({kinds}{scaled})"

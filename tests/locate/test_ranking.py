"""What rankings have in common: ties and bad numbers; see test_cases.py for what all methods have."""

import dataclasses

import numpy as np
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.locate import Pan, Ranked, Ranking, method
from neuronscope.locate.scores import Pooled, best_first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given(Ranking):
    """Scores written down beforehand."""

    values: tuple[float, ...] = ()
    name: str = "given"

    def score(self, vlm, pair, validity):
        return Ranked("given", {"given": Pooled(np.array(self.values))})


@pytest.mark.parametrize("values", [np.zeros(7), np.array([1.0, 3.0, 3.0, -0.0, 0.0, 3.0, 2.0])])
def test_ties_are_broken_by_layer_and_unit(values):
    expected = sorted(range(7), key=lambda f: (-values[f], f))
    assert best_first(values).tolist() == expected


def test_ties_across_layers(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    values = np.zeros(4 * 48)
    values[[5, 60, 61, 150]] = 2.0  # L0.U5, L1.U12, L1.U13, L3.U6
    values[3] = 1.0
    found = Given(values=tuple(values), count=6).locate(vlm, pair)
    assert [str(n) for n in found.neurons] == ["L0.U5", "L1.U12", "L1.U13", "L3.U6", "L0.U3", "L0.U0"]
    assert found.notes == ("1 of the 6 neurons have a given score of 0 or less",)
    assert found.neurons.provenance["notes"] == list(found.notes)


def test_all_neurons_may_be_kept(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    assert len(set(Pan(count=192).locate(vlm, pair).neurons)) == 192


@pytest.mark.parametrize("option", ["steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -2, 2.5, "ten"])
def test_bad_numbers_of_steps(option, value):
    with pytest.raises(InvalidOption, match=f"{option}="):
        method("integrated-gradients", **{option: value})


def test_contrast_has_no_rivals_in_a_ranking():
    for name in ("schwettmann", "grad-x-activation", "integrated-gradients"):
        with pytest.raises(InvalidOption, match="target='contrast'"):
            method(name, target="contrast")

"""What all methods have in common: ties, sizes, refusals, files, shared captions."""

import dataclasses
import json

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import ConceptNotNamed, InvalidOption, NoImagePositions
from neuronscope.locate import METHODS, Method, Pan, Ranked, Ranking, method
from neuronscope.locate import validity as validity_module
from neuronscope.locate.located import Located
from neuronscope.locate.scores import Pooled, best_first
from neuronscope.locate.validity import check_validity

FAST = {
    "integrated-gradients": {"steps": 2},
    "integrated-gradients-published": {"steps": 2},
    "random-layer-matched": {"like": ns.Neurons.of([(0, 1), (2, 5)])},
}
RANKINGS = [name for name in METHODS if isinstance(METHODS[name](), Ranking)]
COUNTED = [name for name in RANKINGS if name != "random-layer-matched"]


def make(name, **options):
    return method(name, **(FAST.get(name, {}) | options))


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


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_protocol(vlm, pair, speaks, tmp_path, name):
    speaks(vlm, "brown bear on grass", "grass")
    chosen = make(name, **({"count": 7} if name in COUNTED else {}))
    assert isinstance(chosen, Method)
    found = chosen.locate(vlm, pair)
    assert isinstance(found, Located)
    assert found.neurons.method == chosen.name == name
    assert found.neurons.concept == "bear"
    assert found.neurons.model == vlm.identity()
    assert json.loads(json.dumps(found.neurons.options)) == found.neurons.options
    assert set(found.neurons.options) == {f.name for f in dataclasses.fields(chosen)}
    assert found.scores.arrays[found.ranked_by].values.shape == (4 * 48,)
    values = found.neurons.scores.get(found.ranked_by, ())
    assert list(values) == sorted(values, reverse=True)
    found.neurons.save(tmp_path / "neurons.json")
    assert ns.Neurons.load(tmp_path / "neurons.json") == found.neurons
    if name in COUNTED:
        assert len(found.neurons) == 7 or (name == "schwettmann-published" and 0 < len(found.neurons) <= 7)
        best = np.sort(found.scores.arrays[found.ranked_by].values)[::-1][: len(found.neurons)]
        np.testing.assert_allclose(values, best)


@pytest.mark.parametrize("name", METHODS)
def test_known_captions_are_not_made_again(vlm, pair, speaks, monkeypatch, name):
    speaks(vlm, "bear", "grass")
    known = check_validity(vlm, pair)
    chosen = make(name)
    expected = chosen.locate(vlm, pair)

    def fail(*_, **__):
        raise AssertionError("captions were generated although they are known")

    monkeypatch.setattr(validity_module, "generate_captions", fail)
    found = chosen.locate(vlm, pair, validity=known)
    assert found.validity is known
    assert found.neurons == expected.neurons


@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_unsuitable_samples(vlm, pair, speaks, name):
    speaks(vlm, "dog on grass", "grass")
    with pytest.raises(ConceptNotNamed, match="dog on grass"):
        make(name).locate(vlm, pair)


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("random")])
def test_models_without_image_tokens_are_refused(make_vlm, pair, speaks, name):
    vlm = make_vlm()
    vlm.family = dataclasses.replace(vlm.family, no_image="the image is elsewhere")
    speaks(vlm, "bear", "grass")
    with pytest.raises(NoImagePositions, match="the image is elsewhere"):
        make(name).locate(vlm, pair)


@pytest.mark.parametrize("name", COUNTED)
def test_sizes(vlm, pair, speaks, name):
    speaks(vlm, "bear", "grass")
    assert len(make(name, count=0).locate(vlm, pair).neurons) == 0
    with pytest.raises(InvalidOption, match="count=193 is more than the 192 neurons"):
        make(name, count=193).locate(vlm, pair)
    for bad in (-1, 1.5, "many", True, None):
        with pytest.raises(InvalidOption, match="count="):
            make(name, count=bad)


def test_all_neurons_may_be_kept(vlm, pair, speaks):
    speaks(vlm, "bear", "grass")
    assert len(set(Pan(count=192).locate(vlm, pair).neurons)) == 192


@pytest.mark.parametrize("name", RANKINGS)
def test_every_bad_value_is_refused_with_the_choices(name):
    chosen = method(name)
    for option, values in {**chosen.choices, "match": ("lexicon", "strict", "substring")}.items():
        with pytest.raises(InvalidOption, match=f"{option}='nonsense' is not known.*{values[-1]}"):
            dataclasses.replace(chosen, **{option: "nonsense"})


@pytest.mark.parametrize("option", ["steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -2, 2.5, "ten"])
def test_bad_numbers_of_steps(option, value):
    with pytest.raises(InvalidOption, match=f"{option}="):
        method("integrated-gradients", **{option: value})


def test_contrast_has_no_rivals_in_a_ranking():
    for name in ("schwettmann", "grad-x-activation", "integrated-gradients"):
        with pytest.raises(InvalidOption, match="target='contrast'"):
            method(name, target="contrast")

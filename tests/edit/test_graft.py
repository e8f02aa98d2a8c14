import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Graft, Learned
from neuronscope.edit.columns import read_columns
from neuronscope.edit.graft import unit_mean
from neuronscope.edit.words import pair_words
from neuronscope.errors import InvalidOption, NeuronOutOfRange
from neuronscope.evaluate.truth import planted
from neuronscope.models.lens import token_directions
from neuronscope.samples.lexicon import Lexicon
from neuronscope.samples.scenes.scene import render, sample_scene


@pytest.fixture(scope="module")
def backpacks():
    """Scenes with a backpack and no cake."""
    scenes = (sample_scene(seed, concepts=("backpack",), count=2) for seed in range(24_000_000, 24_000_010))
    return [render(scene).image for scene in scenes if "cake" not in scene.concepts][:4]


def test_the_unit_mean_by_hand():
    w = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(unit_mean(w), torch.tensor([0.5**0.5, 0.5**0.5]))
    assert torch.equal(unit_mean(torch.zeros(2, 2)), torch.zeros(2))


def test_it_is_its_formula(own):
    """One neuron and one donor in its layer: |w| (lambda_t w_d/|w_d| - lambda_s w/|w| + lambda_u u)."""
    neurons, donors = ns.Neurons.of([(2, 7)]), ns.Neurons.of([(2, 1), (3, 4)])
    edit = Graft(source="bear", target="dog", donors=donors, lambda_s=0.5, lambda_t=3.0, lambda_u=2.0).edit(
        own, neurons
    )
    u = token_directions(own, pair_words(own, "bear", "dog").target_ids, "gain")[0]
    u = u / u.norm()
    (w,), (donor,) = read_columns(own, 2, [7]).T, read_columns(own, 2, [1]).T
    torch.testing.assert_close(edit.new[2][:, 0], 3 * donor * w.norm() / donor.norm() - 0.5 * w + 2 * u * w.norm())


def test_a_layer_without_donors_takes_all_of_them(own):
    donors = ns.Neurons.of([(2, 1), (3, 4)])
    edit = Graft(source="bear", target="dog", donors=donors, lambda_s=0.0, lambda_u=0.0).edit(
        own, ns.Neurons.of([(1, 5)])
    )
    both = torch.cat([read_columns(own, 2, [1]), read_columns(own, 3, [4])], 1)
    expected = unit_mean(both) * read_columns(own, 1, [5]).norm()
    torch.testing.assert_close(edit.new[1][:, 0], expected)


def test_the_target_takes_the_sources_place(demo, backpacks):
    shown, sets = backpacks, planted(demo)
    edit = Graft(source="backpack", target="cake", donors=sets["cake"]).edit(demo, sets["backpack"], shown)
    lexicon = Lexicon.default()
    with edit:
        now = demo.captions(shown)
    assert all(lexicon.match(text, "cake") and not lexicon.match(text, "backpack") for text in now)


def test_it_can_be_what_learning_starts_from(demo, backpacks):
    sets = planted(demo)
    start = Graft(source="backpack", target="cake", donors=sets["cake"])
    learned = Learned(source="backpack", target="cake", start=start, steps=1)
    edit = learned.edit(demo, sets["backpack"], backpacks[:1])
    grafted = start.edit(demo, sets["backpack"])
    for layer, new in edit.new.items():
        torch.testing.assert_close(new, grafted.new[layer])
    assert edit.settings["start"]["kind"] == "Graft"


def test_it_is_saved_and_loaded(demo, tmp_path):
    sets = planted(demo)
    edit = Graft(source="backpack", target="cake", donors=sets["cake"]).edit(demo, sets["backpack"])
    edit.save(tmp_path / "edit.safetensors")
    loaded = ns.Edit.load(tmp_path / "edit.safetensors", demo)
    assert loaded.settings == edit.settings
    assert loaded.settings["donors"] == sets["cake"].addresses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"donors": ns.Neurons.of([])}, "donors is an empty set"),
        ({"lambda_t": float("nan")}, "lambda_t=nan is not a finite number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidOption, match=message):
        Graft(**{"source": "bear", "target": "dog", "donors": ns.Neurons.of([(0, 0)]), **options})


def test_donors_that_the_model_does_not_have(own, some):
    with pytest.raises(NeuronOutOfRange):
        Graft(source="bear", target="dog", donors=ns.Neurons.of([(0, 10**6)])).edit(own, some)

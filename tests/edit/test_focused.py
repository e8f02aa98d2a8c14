from dataclasses import replace

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Embed, Focused, Swap, focused
from neuronscope.edit.focused import focus
from neuronscope.errors import InvalidOption
from neuronscope.evaluate.truth import planted
from neuronscope.intervene.capture import activations
from neuronscope.samples.scenes.scene import render, sample_scene


def test_weights_by_hand():
    """C = diag(1, 4) / 2 and m = 1.25: r is proportional to (2 / 1.75, 2 / 3.25), and its sum on the object stays."""
    shown = [np.array([[2.0, 2.0], [0.5, 0.5]])]  # the second token is not the object's: 1 is less than half of 4
    others = [np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])]
    raw = np.array([2 / 1.75, 2 / 3.25])
    np.testing.assert_allclose(focus(shown, others), raw * 4 / (2 * raw.sum()))


def test_neurons_alike_are_weighted_alike():
    z = np.full((3, 4), 2.0)
    np.testing.assert_allclose(focus([z], [z / 7]), np.ones(4))
    np.testing.assert_array_equal(focus([z], [0 * z]), np.ones(4))
    np.testing.assert_array_equal(focus([-z], [z]), np.ones(4))


def test_less_is_heard_elsewhere_and_as_much_on_the_object(demo):
    bears = [render(sample_scene(seed, concepts=("bear",), count=1)).image for seed in (26_000_000, 26_000_001)]
    drawn = [sample_scene(seed, count=2) for seed in range(26_000_100, 26_000_112)]
    others = [render(s).image for s in drawn if "bear" not in s.concepts][:4]
    neurons = planted(demo)["bear"]
    plain = Embed(source="bear", target="horse").edit(demo, neurons)
    edit = Focused(Embed(source="bear", target="horse")).edit(demo, neurons, bears, keep=others)
    r = np.array(edit.report["weights"])
    order = {layer: [n for n, one in enumerate(neurons) if one.layer == layer] for layer in neurons.by_layer()}
    for layer, at in order.items():
        torch.testing.assert_close(
            edit.delta(layer), plain.delta(layer) * torch.tensor(r[at], dtype=torch.float32), atol=1e-5, rtol=1e-4
        )
    lengths = np.zeros(len(neurons))
    for layer, at in order.items():
        lengths[at] = plain.delta(layer).norm(dim=0)
    on, off = ([activations(demo, image, neurons) * lengths for image in group] for group in (bears, others))
    top = np.concatenate([z[z.sum(1) >= z.sum(1).max() / 2] for z in on]).mean(0)
    assert top @ r == pytest.approx(top.sum(), rel=1e-4)
    rest = np.concatenate(off)
    assert ((rest @ r) ** 2).mean() < 0.9 * (rest.sum(1) ** 2).mean()


def test_activations_are_read_as_captions_are_and_at_the_input_of_w_out(demo, monkeypatch):
    """Wherever the set was found, in whatever order its members stand, and with the caller's prompt and template."""
    bear = render(sample_scene(26_000_000, concepts=("bear",), count=1)).image
    other = next(s for s in map(sample_scene, range(26_000_200, 26_000_300)) if "bear" not in s.concepts)
    neurons, asked = planted(demo)["bear"], []
    editor = Focused(Embed(source="bear", target="horse"))
    first = editor.edit(demo, neurons, [bear], keep=[render(other).image])
    turned = replace(neurons[::-1], site="act")
    again = editor.edit(demo, turned, [bear], keep=[render(other).image])
    assert again.report["weights"] == pytest.approx(first.report["weights"][::-1])

    def note(_vlm, _image, members, **options):
        asked.append((members.site, options))
        return np.ones((2, len(members)))

    monkeypatch.setattr(focused, "activations", note)
    decoding = ns.Decoding(template="USER: {image}\n{prompt}")
    monkeypatch.setattr(Embed, "edit", lambda *_: first)
    Focused(Embed(source="bear", target="horse", decoding=decoding)).edit(demo, turned, [bear], keep=[bear])
    assert asked == [("neuron", {"decoding": decoding})] * 2


def test_images_of_both_kinds_are_needed(vlm, picture):
    editor = Focused(Swap(source="bear", target="dog"))
    for given in ({"images": [picture]}, {"keep": [picture]}):
        with pytest.raises(InvalidOption, match="images without it"):
            editor.edit(vlm, ns.Neurons.of([(1, 1)]), **given)

"""Two-stage filtering against hand-worked numbers and against a naive recomputation, one neuron at a time."""

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate.scores import (
    Layout,
    activation_differences,
    grad_times_activation,
    patch_scores,
    reduce_patches,
)


def first_stage(original, edited, t):
    return set(np.nonzero(reduce_patches(torch.tensor(original) - torch.tensor(edited), "max")[0].numpy() > t)[0])


def test_hand_oracle():
    """METHODS (b), hand oracle; (m) oracle 1."""
    original = np.array([[1.0, 0.2, 3.0], [0.5, 2.0, 0.1]])
    edited = np.array([[0.1, 0.1, 0.5], [0.4, 0.3, 0.0]])
    slope = np.array([[0.1, 0.2, 0.0001], [0.1, 0.0005, 0.02]])
    survivors = first_stage(original, edited, 1.0)
    assert survivors == {1, 2}
    cam = original * slope
    second = set(np.nonzero(reduce_patches(torch.tensor(cam), "max")[0].numpy() > 0.0015)[0])
    assert survivors & second == {1, 2}
    assert not (((original - edited) > 1.0) & (cam > 0.0015)).any()  # same_patch keeps none
    assert not survivors & set(np.nonzero(cam.max(0) > 1.0)[0])  # nor does the typo of the printed definition


@pytest.mark.parametrize("sign", ["signed", "abs"])
@pytest.mark.parametrize("pool", ["max", "mean", "sum", "abs_mean"])
def test_differences_equal_a_naive_recomputation(vlm, pictures, sign, pool, naive_activations):
    original, *others = (p.resize((40, 40)) for p in pictures)
    found = activation_differences(vlm, original, others, site="neuron", sign=sign, pool=pool)
    for other, pooled in zip(others, found, strict=True):
        expected = []
        for a, b in zip(naive_activations(vlm, original), naive_activations(vlm, other), strict=True):
            difference = (a - b).abs() if sign == "abs" else a - b
            pools = {"max": difference.amax(0), "mean": difference.mean(0), "sum": difference.sum(0)}
            expected.append((pools | {"abs_mean": difference.abs().mean(0)})[pool])
        np.testing.assert_allclose(pooled.values, torch.cat(expected).numpy(), rtol=1e-4, atol=1e-5)


def test_gradcam_equals_finite_differences_in_float64(make_vlm, picture, monkeypatch, naive_activations):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def norm(self, x):  # transformers computes this in float32 whatever the input: too coarse for differences
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", norm)
    vlm = make_vlm(layers=3, hidden=16, d_ff=24)
    vlm.model.double()
    inputs = vlm.prepare([picture]).extend([9])
    members = [(layer, unit) for layer in range(3) for unit in (0, 5, 23)]
    slope = patch_scores(vlm, inputs, [(1, 10)], members)
    clean = naive_activations(vlm, picture, [9])
    positions = inputs.images[0].positions
    for column, (layer, unit) in enumerate(members):
        for patch in (0, 7):
            step = 1e-5

            def bump(_, args, at=positions[patch], unit=unit, step=step, sign=1.0):
                z = args[0].clone()
                z[0, at, unit] += step * sign
                return (z,)

            values = []
            for sign in (1.0, -1.0):
                handle = vlm.structure.ffns[layer].output.register_forward_pre_hook(
                    lambda m, a, sign=sign, bump=bump: bump(m, a, sign=sign)
                )
                with torch.no_grad():
                    values.append(float(vlm.model(**inputs.tensors).logits[0, -1, 10]))
                handle.remove()
            numeric = (values[0] - values[1]) / (2 * step) * float(clean[layer][patch, unit])
            assert slope[patch, column] == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_last_layer_gradcam_is_exactly_zero(vlm, picture):
    inputs = vlm.prepare([picture]).extend([9])
    (pooled,) = grad_times_activation(vlm, inputs, [[(1, 10)]])
    last = Layout(vlm.widths).starts[-1]
    assert (pooled.values[last:] == 0).all()
    assert np.abs(pooled.values[:last]).max() > 0


def test_pre_activation_score_is_gradcam_times_rho(vlm, picture):
    """Identity 2: Z dy/dZ = (n dy/dn) rho(Z), rho = 1 + Z (1 - sigmoid(Z)), for SiLU."""
    inputs = vlm.prepare([picture])
    members = [(1, unit) for unit in range(48)]
    pre = ns.Neurons.of(members, site="pre")
    from neuronscope.intervene import activations

    z = activations(vlm, picture, pre).astype(np.float64)
    rho = 1 + z * (1 - 1 / (1 + np.exp(-z)))
    cam = patch_scores(vlm, inputs, [(1, 7)], members)
    schwettmann = patch_scores(vlm, inputs, [(1, 7)], members, score="pre")
    np.testing.assert_allclose(schwettmann, cam * rho, rtol=1e-3, atol=1e-6)


def test_one_backward_per_target_leaves_no_trace(vlm, picture):
    inputs = vlm.prepare([picture])
    hooks = [(len(m._forward_pre_hooks), len(m._forward_hooks)) for m in vlm.model.modules()]
    both = grad_times_activation(vlm, inputs, [[(1, 7)], [(1, 9)]])
    alone = grad_times_activation(vlm, inputs, [[(1, 9)]])
    np.testing.assert_allclose(both[1].values, alone[0].values, rtol=1e-5, atol=1e-7)
    assert all(p.grad is None for p in vlm.model.parameters())
    assert hooks == [(len(m._forward_pre_hooks), len(m._forward_hooks)) for m in vlm.model.modules()]


@pytest.mark.parametrize("pool", ["any", "sum"])
def test_locate_equals_naive_thresholding(vlm, pair, speaks, pool, naive_activations):
    speaks(vlm, "brown bear on grass", "horse on grass")
    method = ns.TwoStage(activation=ns.Fixed(0.2), gradient=ns.Fixed(1e-4), grad_pool=pool)
    found = method.locate(vlm, pair)
    clean = naive_activations(vlm, pair.original, [vlm.tokenizer("brown", add_special_tokens=False).input_ids[0]])
    other = naive_activations(vlm, pair.edited)
    word = vlm.tokenizer("bear", add_special_tokens=False).input_ids[0]
    inputs = vlm.prepare([pair.original]).extend(found.validity.original.ids[:1])
    expected = set()
    for layer in range(vlm.layers):
        members = [(layer, unit) for unit in range(vlm.widths[layer])]
        slope = patch_scores(vlm, inputs, [(1, word)], members)
        pushes = (slope > 1e-4).any(0) if pool == "any" else slope.sum(0) > 1e-4
        passed = ((clean[layer] - other[layer]) > 0.2).any(0).numpy() & pushes
        expected |= {ns.Neuron(layer, int(unit)) for unit in np.nonzero(passed)[0]}
    assert set(found.neurons) == expected
    assert len(expected) > 3
    assert max(n.layer for n in found.neurons) < vlm.layers - 1
    for i, neuron in enumerate(found.neurons):
        patch = int(found.neurons.scores["activation_patch"][i])
        difference = (clean[neuron.layer] - other[neuron.layer])[:, neuron.unit]
        assert found.neurons.scores["activation"][i] == pytest.approx(float(difference[patch]), rel=1e-4)
        assert difference.argmax() == patch


def test_same_patch_is_a_subset_of_any_and_equals_its_definition(vlm, pair, speaks, naive_activations):
    speaks(vlm, "bear", "horse")
    cuts = {"activation": ns.Fixed(0.3), "gradient": ns.Fixed(0.0005), "grad_pool": "any"}
    loose = ns.TwoStage(**cuts).locate(vlm, pair).neurons
    strict = ns.TwoStage(**cuts, patch_rule="same_patch").locate(vlm, pair).neurons
    assert set(strict) < set(loose)
    clean, other = naive_activations(vlm, pair.original), naive_activations(vlm, pair.edited)
    word = vlm.tokenizer("bear", add_special_tokens=False).input_ids[0]
    for neuron in loose:
        slope = patch_scores(vlm, vlm.prepare([pair.original]), [(1, word)], [(neuron.layer, neuron.unit)])[:, 0]
        difference = (clean[neuron.layer] - other[neuron.layer])[:, neuron.unit].numpy()
        assert ((difference > 0.3) & (slope > 0.0005)).any() == (neuron in strict)


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": (1,)},
        {"stages": (2,)},
        {"site": "act"},
        {"site": "pre"},
        {"grad_target": "logprob"},
        {"grad_target": "prob"},
        {"grad_target": "contrast"},
        {"grad_score": "pre"},
        {"diff_sign": "abs"},
        {"diff_pool": "mean"},
        {"grad_pool": "sum"},
        {"concept_token": "last"},
        {"concept_token": "sum"},
    ],
)
def test_every_fork_runs_and_is_recorded(vlm, pair, speaks, changes):
    speaks(vlm, "bear on grass", "grass")
    method = ns.TwoStage(activation=ns.Budget(60), gradient=ns.Budget(60), decoys=3, **changes)
    found = method.locate(vlm, pair)
    name, value = next(iter(changes.items()))
    assert found.neurons.options[name] == (list(value) if isinstance(value, tuple) else value)
    assert len(found.neurons) > 0


def test_sub_tokens_of_one_word(vlm, speaks):
    speaks(vlm, "surfboard on grass", "grass")
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    pair = ns.counterfactual(ns.Sample(image=image, concept="surfboard", boxes=[(3, 3, 20, 12)]))
    results = {
        rule: ns.TwoStage(gradient=ns.Budget(9), activation=ns.Budget(99), concept_token=rule).locate(vlm, pair)
        for rule in ("first", "last", "sum", "mean")
    }
    assert results["first"].validity.tokens == (0, 1)
    first, last, total, mean = (results[rule].scores.arrays["gradient"].values for rule in results)
    np.testing.assert_allclose(mean, total / 2, rtol=1e-4, atol=1e-8)
    assert not np.allclose(first, last)
    assert not np.allclose(total, first)


def test_thresholds_that_keep_nothing_give_an_honest_empty_set(vlm, pair, speaks):
    speaks(vlm, "bear", "horse")
    found = ns.TwoStage(activation=ns.Fixed(1e6), gradient=ns.Fixed(0.0)).locate(vlm, pair)
    assert len(found.neurons) == 0
    assert any("largest score" in note for note in found.notes)
    assert any("10 neurons above" in note for note in found.notes)


def test_target_decoy_stores_the_achieved_share(vlm, pair, speaks):
    speaks(vlm, "bear", "horse")
    found = ns.TwoStage(activation=ns.TargetDecoy(0.9), gradient=ns.TargetDecoy(0.9)).locate(vlm, pair)
    cuts = found.neurons.provenance["thresholds"]
    assert cuts["activation"]["decoys"] == 6
    assert 0 < cuts["activation"]["achieved"] <= 0.9
    assert found.neurons.model == vlm.identity()


def test_paper_preset():
    method = ns.TwoStage.paper("bear")
    assert (method.activation, method.gradient, method.site) == (ns.Fixed(1.0), ns.Fixed(0.0005), "act")
    with pytest.raises(InvalidOption, match="giraffe"):
        ns.TwoStage.paper("girafe")


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "output"},
        {"patch_rule": "some"},
        {"stages": (3,)},
        {"patch_rule": "same_patch", "diff_pool": "mean"},
    ],
)
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(InvalidOption):
        ns.TwoStage(**changes)


def test_no_decoy_noun_is_an_error_with_a_way_out(vlm, pair, speaks, monkeypatch):
    speaks(vlm, "bear", "horse")
    from neuronscope.locate import decoys as controls

    monkeypatch.setattr(controls, "_has_word", lambda *a: False)
    with pytest.raises(InvalidSample, match="fixed threshold or budget"):
        ns.TwoStage(activation=ns.Budget(20)).locate(vlm, pair)


def test_layer_matched_control_is_disjoint_and_stable(vlm):
    """METHODS (m) oracle 18."""
    chosen = ns.Neurons.of([(0, 3), (2, 1), (2, 9), (2, 40)])
    control = ns.layer_matched(vlm, chosen, seed=4)
    assert {k: len(v) for k, v in control.by_layer().items()} == {0: 1, 2: 3}
    assert not set(control) & set(chosen)
    assert control.members == ns.layer_matched(vlm, chosen, seed=4).members
    assert control.members != ns.layer_matched(vlm, chosen, seed=5).members
    everything = ns.Neurons.of((1, unit) for unit in range(40))
    with pytest.raises(InvalidOption, match="only 8"):
        ns.layer_matched(vlm, everything)


def test_activations_of_a_layer_are_let_go_before_the_next(vlm, pictures, monkeypatch):
    """What is kept is O(L d_f): no [patches, d_f] tensor of an earlier layer is alive when a later one is reduced."""
    import gc

    from neuronscope.locate import scores

    alive = []

    def counting(values, pool):
        shape = values.shape[-2:]
        alive.append(sum(torch.is_tensor(o) and o.ndim > 1 and o.shape[-2:] == shape for o in gc.get_objects()))
        return reduce_patches(values, pool)

    monkeypatch.setattr(scores, "reduce_patches", counting)
    images = [p.resize((40, 40)) for p in pictures]
    gc.freeze()  # what was there before is looked through neither time
    try:
        activation_differences(vlm, images[0], images[1:], site="neuron")
    finally:
        gc.unfreeze()
    assert len(alive) == vlm.layers
    assert max(alive) <= alive[0]

"""Integrated gradients against plain loops over layers and steps, and completeness."""

import dataclasses

import numpy as np
import pytest
import torch

from neuronscope.locate import IntegratedGradients

OFFSETS = {"left": 0.0, "midpoint": 0.5, "right": 1.0}


def target_of(logits, word, target):
    return {"prob": logits.softmax(-1), "logprob": logits.log_softmax(-1), "logit": logits}[target][word]


def naive(vlm, image, extra, word, options, clean, at):
    """(w / m) sum_j dy(alpha_j w)/dn, one step and one path at a time; [layer][positions, unit]."""
    inputs = vlm.prepare([image]).extend(extra)
    layers = list(range(vlm.layers))
    paths = [layers] if options.path == "joint" else [[layer] for layer in layers]
    result = {}
    for path in paths:
        total = {layer: torch.zeros_like(clean[layer]) for layer in path}
        for j in range(options.steps):
            alpha = (j + OFFSETS[options.rule]) / options.steps
            leaves = {layer: (alpha * clean[layer]).clone().requires_grad_() for layer in path}

            def put(_module, args, leaf):
                z = args[0].clone()
                z[0, at] = leaf
                return (z,)

            handles = [
                vlm.structure.layers[i].mlp.down_proj.register_forward_pre_hook(
                    lambda module, args, leaf=leaf: put(module, args, leaf)
                )
                for i, leaf in leaves.items()
            ]
            with vlm.frozen():
                y = target_of(vlm.model(**inputs.tensors).logits[0, -1], word, options.target)
            for handle in handles:
                handle.remove()
            if y.requires_grad:  # the last layer alone at image positions reaches no logit
                y.backward()
            for layer, leaf in leaves.items():
                total[layer] += 0 if leaf.grad is None else leaf.grad
        result |= {layer: (clean[layer] * total[layer] / options.steps).numpy() for layer in path}
    return [result[layer] for layer in layers]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule": "left", "target": "logit"},
        {"rule": "right", "target": "logprob", "pool": "max"},
        {"path": "layer"},
        {"path": "layer", "position": "predict", "rule": "left"},
        {"position": "predict", "batch_size": 1},
        {"batch_size": 50},
    ],
    ids=str,
)
def test_scores_equal_a_plain_loop(vlm, pair, speaks, token, naive_activations, changes):
    speaks(vlm, "brown bear on grass", "grass")
    options = IntegratedGradients(steps=5, count=20, **({"batch_size": 3} | changes))
    found = options.locate(vlm, pair)
    extra = [token(vlm, "brown")]
    inputs = vlm.prepare([pair.original]).extend(extra)
    at = inputs.images[0].positions if options.position == "image" else np.array([inputs.length - 1])
    clean = [z[at] for z in naive_activations(vlm, pair.original, extra, everywhere=True)]
    attribution = naive(vlm, pair.original, extra, token(vlm, "bear"), options, clean, at)
    pooled = [a.max(0) if options.pool == "max" else a.sum(0) for a in attribution]
    got = found.scores.arrays["attribution"]
    np.testing.assert_allclose(got.values, np.concatenate(pooled), rtol=2e-3, atol=1e-6)
    assert np.abs(got.values).max() > 1e-4
    assert (got.patch is None) == (options.position == "predict")


def test_last_layer_is_exactly_zero_at_image_positions_only(vlm, pair, speaks):
    """METHODS (a), identity 4."""
    speaks(vlm, "bear", "grass")
    for path in ("joint", "layer"):
        method = IntegratedGradients(steps=2, path=path)
        assert (method.locate(vlm, pair).scores.layer("attribution", vlm.layers - 1) == 0).all()
        method = dataclasses.replace(method, position="predict")
        assert (method.locate(vlm, pair).scores.layer("attribution", vlm.layers - 1) != 0).any()


@pytest.mark.parametrize("path", ["joint", "layer"])
@pytest.mark.parametrize("rule", OFFSETS)
def test_completeness_error_shrinks_with_the_steps(vlm, pair, speaks, rule, path):
    speaks(vlm, "bear", "grass")

    def error(steps):
        found = IntegratedGradients(steps=steps, rule=rule, path=path, position="predict", target="logprob").locate(
            vlm, pair
        )
        kept = found.neurons.provenance["completeness"]
        assert any(f"completeness error {kept['error']:.3g}" in note for note in found.notes)
        assert kept["error"] == pytest.approx(abs(kept["attributed"] - kept["change"]))
        return kept["error"], abs(kept["change"])

    few, change = error(4)
    many, _ = error(64)
    assert many < few / {"left": 12, "midpoint": 100, "right": 12}[rule]  # 16 times the steps: first or second order
    assert many < 0.01 * change


def test_joint_attributions_sum_to_the_change_of_the_target(vlm, pair, speaks, token):
    speaks(vlm, "bear", "grass")
    found = IntegratedGradients(steps=100).locate(vlm, pair)
    inputs = vlm.prepare([pair.original])
    at = inputs.images[0].positions

    def silence(_module, args):
        z = args[0].clone()
        z[0, at] = 0
        return (z,)

    with torch.no_grad():
        clean = float(vlm.model(**inputs.tensors).logits[0, -1].softmax(-1)[token(vlm, "bear")])
        handles = [layer.mlp.down_proj.register_forward_pre_hook(silence) for layer in vlm.structure.layers]
        silent = float(vlm.model(**inputs.tensors).logits[0, -1].softmax(-1)[token(vlm, "bear")])
        for handle in handles:
            handle.remove()
    assert found.scores.arrays["attribution"].values.sum() == pytest.approx(clean - silent, rel=0.01)


def test_published_settings():
    method = IntegratedGradients.as_published()
    assert (method.path, method.rule, method.position, method.steps, method.target) == (
        "layer",
        "left",
        "predict",
        20,
        "prob",
    )

"""The named forms of difference x gradient against plain hooks and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuronscope.errors import InvalidOption
from neuronscope.locate import DifferenceTimesGradient, Exchange, TwoStage, difference_x_gradient, edit_effect, method
from neuronscope.locate.difference_x_gradient import _States
from neuronscope.locate.picture_row import picture_rows
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding


@pytest.fixture
def known(vlm, pair, speaks):
    speaks(vlm, "brown bear on grass", "horse on grass")
    return check_validity(vlm, pair)


def y_of(logits, own: int, rival: int | None) -> torch.Tensor:
    return logits[own] - logits[rival] if rival is not None else logits.log_softmax(-1)[own]


def naive(vlm, pair, known, read, *, held: float | None, contrast: bool) -> np.ndarray:
    """a with all activations held at a share of the way, or free, by plain hooks: [neurons]."""
    word = concept_word(known)
    inputs = vlm.prepare([pair.original]).extend(word.ids)
    at, (_, own) = inputs.images[0].positions, word.entries[0]
    clean, other = read(vlm, pair.original, word.ids), read(vlm, pair.edited, word.ids)
    with torch.no_grad():
        said = vlm.logits(vlm.prepare([pair.edited]).extend(word.ids))[0, -1]
    rival = next(int(token) for token in said.argsort(descending=True) if token != own) if contrast else None
    leaves: dict[int, torch.Tensor] = {}

    def hook(layer: int):
        def run(_module, args):
            z = args[0]
            values = z[0, at] if held is None else torch.lerp(clean[layer], other[layer], held)
            leaves[layer] = values.detach().requires_grad_() if held is not None else values
            if held is None:
                leaves[layer].retain_grad()
            changed = z.clone()
            changed[0, at] = leaves[layer]
            return (changed,)

        return run

    handles = [layer.mlp.down_proj.register_forward_pre_hook(hook(i)) for i, layer in enumerate(vlm.structure.layers)]
    wanted = [(parameter, parameter.requires_grad) for parameter in vlm.model.parameters()]
    vlm.model.requires_grad_(held is None)  # without a leaf the graph has to begin somewhere
    try:
        y_of(vlm.model(**inputs.tensors).logits[0, -1], own, rival).backward()
    finally:
        for handle in handles:
            handle.remove()
        vlm.model.zero_grad()
        for parameter, was in wanted:  # the model is other tests' as well
            parameter.requires_grad_(was)
    slopes = [leaves[i].grad if leaves[i].grad is not None else torch.zeros_like(clean[i]) for i in range(vlm.layers)]
    return np.concatenate([((c - o) * g).sum(0).detach().numpy() for c, o, g in zip(clean, other, slopes, strict=True)])


def attribution(chosen: DifferenceTimesGradient, vlm, pair, known) -> np.ndarray:
    return chosen.score(vlm, pair, known).arrays["attribution"].values


def test_the_contrast_is_with_what_the_edited_picture_says(vlm, pair, known, naive_activations):
    found = attribution(method("difference-x-gradient-contrast"), vlm, pair, known)
    expected = naive(vlm, pair, known, naive_activations, held=None, contrast=True)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert np.abs(expected).max() > 1e-4


@pytest.mark.parametrize("target", ["logprob", "contrast"])
def test_the_path_of_activations_holds_all_layers_between_the_pictures(vlm, pair, known, naive_activations, target):
    chosen = method("difference-x-gradient-activations", target=target, points=3)
    each = [naive(vlm, pair, known, naive_activations, held=k / 3, contrast=target == "contrast") for k in range(3)]
    found = attribution(chosen, vlm, pair, known)
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-3, atol=1e-6)
    other = attribution(method("difference-x-gradient-averaged", target=target, points=3), vlm, pair, known)
    assert not np.allclose(found, other, rtol=1e-2, atol=1e-5)


def test_with_many_points_the_scores_sum_to_the_change_along_the_path_of_activations(vlm, pair, known):
    found = method("difference-x-gradient-activations", points=24).score(vlm, pair, known).provenance["completeness"]
    exchange = Exchange.of(vlm, pair.original, pair.edited, concept_word(known), Decoding())
    assert found["change"] == pytest.approx(float(exchange.effects([np.ones(192, dtype=bool)])[0]), abs=1e-5)
    assert found["attributed"] == pytest.approx(found["change"], rel=0.05, abs=1e-3)


def test_along_the_image_embeddings_the_change_is_the_effect_of_the_edit(vlm, pair, known):
    """The sum is near it on a natural model; it need not be: neurons act through each other, too."""
    found = method("difference-x-gradient-averaged").score(vlm, pair, known)
    told, scores = found.provenance["completeness"], found.arrays["attribution"].values
    assert told["change"] == pytest.approx(edit_effect(vlm, pair, concept_word(known), Decoding()), abs=1e-5)
    assert told["attributed"] == pytest.approx(float(scores.sum()), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["difference-x-gradient-averaged", "difference-x-gradient-refined"])
def test_points_of_a_short_prompt_are_read_together_as_one_by_one(vlm, pair, known, monkeypatch, name):
    passes: list[int] = []
    real = type(vlm).logits

    def counted(self, inputs, **options):
        passes.append(len(inputs.rows))
        return real(self, inputs, **options)

    monkeypatch.setattr(type(vlm), "logits", counted)
    together = method(name, points=5).score(vlm, pair, known)
    assert max(passes) == (5 if name.endswith("averaged") else 4)  # with two targets the last stands alone
    passes.clear()
    monkeypatch.setattr(difference_x_gradient, "AT_ONCE", 1)  # as a long prompt
    alone = method(name, points=5).score(vlm, pair, known)
    assert max(passes) == 1
    for array in ("attribution", "gradient"):
        a, b = together.arrays[array], alone.arrays[array]
        np.testing.assert_allclose(a.values, b.values, rtol=1e-4, atol=1e-6 * np.abs(b.values).max())
    assert np.abs(alone.arrays["attribution"].values).max() > 0


def test_points_for_which_memory_fails_are_read_in_smaller_batches(vlm, pair, known, monkeypatch):
    expected = attribution(method("difference-x-gradient-averaged"), vlm, pair, known)
    real, tried = type(vlm).logits, []

    def failing(self, inputs, **options):
        tried.append(len(inputs.rows))
        if len(inputs.rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, inputs, **options)

    monkeypatch.setattr(type(vlm), "logits", failing)
    found = attribution(method("difference-x-gradient-averaged"), vlm, pair, known)
    assert [count for count in tried if count > 1] == [4, 2, 2]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("path", ["embeddings", "activations"])
@pytest.mark.parametrize("points", [1, 3])
def test_two_targets_are_one_score_in_which_both_count_alike(vlm, pair, known, path, points):
    """By linearity: the mixture's attribution is that of each target, at the weight that the last point gives."""
    options = {"path": path, "points": points}
    found = DifferenceTimesGradient(target="logit", also="contrast", **options).score(vlm, pair, known)
    word, weight = concept_word(known), found.provenance["weights"]["contrast"]
    states = _States(vlm, picture_rows(vlm, pair, word, Decoding(), "neuron"), DifferenceTimesGradient(**options))
    ends = {target: states.attributions({target: 1.0}, ((points - 1) / points,))[0] for target in ("logit", "contrast")}
    sums = {target: one.values[one.values > 0].sum() for target, one in ends.items()}
    assert weight == pytest.approx(sums["logit"] / sums["contrast"], rel=1e-4)
    for array in ("attribution", "gradient"):
        logit, contrast = (
            DifferenceTimesGradient(target=target, **options).score(vlm, pair, known).arrays[array].values
            for target in ("logit", "contrast")
        )
        both = found.arrays[array].values
        np.testing.assert_allclose(both, logit + weight * contrast, rtol=1e-3, atol=1e-4 * np.abs(both).max())
    if points > 1:
        told = found.provenance["completeness"]
        assert told["attributed"] == pytest.approx(float(found.arrays["attribution"].values.sum()), rel=1e-4, abs=1e-6)
        change = states.change({"logit": 1.0, "contrast": weight})
        assert told["change"] == pytest.approx(change, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "path"), [({"points": 2, "until": 0.75}, [0, 0.75]), ({"points": 4}, [0, 0.25, 0.5, 0.75])]
)
def test_points_lie_evenly_up_to_where_they_are_asked_to_end(vlm, pair, known, options, path):
    chosen = DifferenceTimesGradient(target="logit", **options)
    states = _States(vlm, picture_rows(vlm, pair, concept_word(known), Decoding(), "neuron"), chosen)
    each = [states.attributions({"logit": 1.0}, (between,))[0].values for between in path]
    assert not np.allclose(each[0], each[-1], rtol=1e-2, atol=1e-5)
    found = chosen.score(vlm, pair, known)
    np.testing.assert_allclose(found.arrays["attribution"].values, np.mean(each, axis=0), rtol=1e-3, atol=1e-6)
    assert ("completeness" in found.provenance) == ("until" not in options)


@pytest.mark.parametrize("until", [0, 1.01, -1, float("nan")])
def test_points_end_between_the_pictures(until):
    for kind in (DifferenceTimesGradient, TwoStage):
        with pytest.raises(InvalidOption, match="until"):
            kind(until=until)


def test_a_target_twice_is_itself(vlm, pair, known):
    once, twice = (
        DifferenceTimesGradient(target="logit", also=also, points=2, rounds=2).score(vlm, pair, known)
        for also in (None, "logit")
    )
    assert twice.provenance["weights"] == {"logit": 2.0}
    values = once.arrays["attribution"].values
    np.testing.assert_allclose(twice.arrays["attribution"].values, 2 * values, rtol=1e-4, atol=1e-5 * values.max())


def test_a_second_target_without_any_positive_score_counts_nothing(vlm, pair, known, monkeypatch):
    real = difference_x_gradient.value_of_word

    def flat(logits, word, target, rivals):
        return real(logits, word, target, rivals) * (0.0 if target == "contrast" else 1.0)

    monkeypatch.setattr(difference_x_gradient, "value_of_word", flat)
    found = DifferenceTimesGradient(target="logit", also="contrast", points=2).score(vlm, pair, known)
    assert found.provenance["weights"] == {"logit": 1.0, "contrast": 0.0}
    expected = attribution(DifferenceTimesGradient(target="logit", points=2), vlm, pair, known)
    np.testing.assert_allclose(found.arrays["attribution"].values, expected, rtol=1e-4, atol=1e-8)


def test_completeness_is_told_only_where_the_scores_are_the_estimate(vlm, pair, known):
    for options in ({"points": 1}, {"points": 2, "pool": "max"}):
        assert "completeness" not in DifferenceTimesGradient(**options).score(vlm, pair, known).provenance


def test_both_paths_tell_the_originals_own_gradient(vlm, pair, known):
    plain, held = (
        method(name).score(vlm, pair, known).arrays["gradient"].values
        for name in ("difference-x-gradient", "difference-x-gradient-activations")
    )
    np.testing.assert_allclose(held, plain, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("option", ["target", "also", "path"])
def test_unknown_forms_are_refused_with_the_choices(option):
    with pytest.raises(
        InvalidOption, match=f"{option}='nonsense' is not known.*{'activations' if option == 'path' else 'contrast'}"
    ):
        DifferenceTimesGradient(**{option: "nonsense"})

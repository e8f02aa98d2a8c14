"""Attention rollout: the formula by hand, the weights against transformers', and that nothing stays behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import neuronscope as ns
from neuronscope.errors import InvalidOption, NeuronOutOfRange, NoGrid, NoImagePositions
from neuronscope.held import Changing
from neuronscope.intervene import activations
from neuronscope.view import rollout
from neuronscope.view.agreement import rank_correlation, trace_agreement
from neuronscope.view.rollout import (
    ProjectorAttention,
    SeenPart,
    Watched,
    cross_attention_rollout,
    paint_queries,
    projector_looks,
    roll_out,
    watched,
)
from neuronscope.view.trace import input_times_gradient, occlusion
from zoo import ZOO

NEURONS = ns.Neurons.of([(0, 3), (1, 7), (1, 20)])
QUERIED = ["blip-2", "instructblip", "idefics2", "kosmos-2", "kosmos-2.5", "aria", "minigpt4-2"]


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def looked(vlm: ns.VLM, picture: Image.Image) -> list[ProjectorAttention]:
    """What the projector's attentions were, in a forward pass of one picture."""
    inputs = vlm.prepare([picture])
    with torch.no_grad(), watched(vlm) as watch:
        vlm.logits(inputs)
    return projector_looks(watch, inputs.images[0].count, vlm.id)


def one(*rows: list[float]) -> np.ndarray:
    return np.array([rows], dtype=float)


def self_attention(*rows: list[float]) -> ProjectorAttention:
    return ProjectorAttention(one(*rows), 0)


def cross_attention(*rows: list[float]) -> ProjectorAttention:
    return ProjectorAttention(one(*rows), len(rows[0]))


# -- the formula


def test_two_blocks_by_hand():
    """Two queries, three patches.

    Block 1: A_self R = 0, so R = 1/2 A_cross. Block 2: A_self swaps the rows, R = 1/2 R + 1/2 (swapped R), and
    R = 1/2 R + 1/2 A_cross.
    """
    looks = [
        self_attention([0.5, 0.5], [0, 1]),
        cross_attention([1, 0, 0], [0, 0.5, 0.5]),
        self_attention([0, 1], [1, 0]),
        cross_attention([0, 0, 1], [0, 1, 0]),
    ]
    np.testing.assert_allclose(roll_out(looks[:2]), one([0.5, 0, 0], [0, 0.25, 0.25]))
    np.testing.assert_allclose(roll_out(looks[:3]), one([0.25, 0.125, 0.125], [0.25, 0.125, 0.125]))
    shares = roll_out(looks)
    np.testing.assert_allclose(shares, one([0.125, 0.0625, 0.5625], [0.125, 0.5625, 0.0625]))
    # Rows renormalised: 1/6 1/12 3/4 and 1/6 3/4 1/12. With O' = (2, -1) the map is 2/6 - 1/6, 2/12 - 3/4, 6/4 - 1/12.
    everywhere = np.ones((1, 3), dtype=bool)
    painted = paint_queries(shares, np.array([[2.0, -1.0]]), everywhere)
    np.testing.assert_allclose(painted, [[1 / 6, -7 / 12, 17 / 12]])


def test_a_perceiver_by_hand():
    """A = [A_patches, A_rows]: two patches, two latents, the same attention twice."""
    look = ProjectorAttention(one([0.5, 0.25, 0.25, 0], [0, 0.5, 0, 0.5]), 2)
    np.testing.assert_allclose(roll_out([look]), one([0.25, 0.125], [0, 0.25]))
    # A_patches + A_rows R = [0.5625, 0.28125] and [0, 0.625]
    np.testing.assert_allclose(roll_out([look, look]), one([0.40625, 0.203125], [0, 0.4375]))


def test_text_hands_on_what_it_read_from_queries_by_hand():
    """One query, one text token, two patches: 1/2 A_cross, text takes half of it, and the query half of that back."""
    looks = [
        cross_attention([1, 0]),
        self_attention([0, 1], [1, 0]),
        self_attention([0, 1], [0, 1]),
    ]
    with_text = [looks[1], *looks]  # before anything was read, rows of text have nothing
    np.testing.assert_allclose(roll_out(with_text[:2]), one([0.5, 0], [0, 0]))
    np.testing.assert_allclose(roll_out(with_text[:3]), one([0.25, 0], [0.25, 0]))
    np.testing.assert_allclose(roll_out(with_text), one([0.25, 0], [0.25, 0]))
    np.testing.assert_allclose(paint_queries(roll_out(with_text), np.array([[3.0]]), np.ones((1, 2), bool)), [[3, 0]])


def test_columns_without_a_place_are_dropped_before_rows_are_renormalised():
    shares = one([0.4, 0.1, 0.2], [0.5, 0, 0])
    placed = np.array([[False, True, True]])
    np.testing.assert_allclose(paint_queries(shares, np.array([[3.0, 7.0]]), placed), [[0, 1, 2]])


def test_rolling_out_equals_following_every_path():
    """Naive: R[q, p] is a sum over all sequences of rows that a share can take from p to q."""
    rng = np.random.default_rng(0)

    def attention(rows: int, columns: int) -> np.ndarray:
        weights = rng.random((1, rows, columns))
        return weights / weights.sum(-1, keepdims=True)

    looks = [
        ProjectorAttention(attention(3, 3), 0),
        ProjectorAttention(attention(2, 4), 4),
        ProjectorAttention(attention(3, 3), 0),
        ProjectorAttention(attention(2, 6), 4),
    ]

    def share(row: int, patch: int, step: int) -> float:
        if step < 0:
            return 0.0
        before = share(row, patch, step - 1)
        look = looks[step]
        if row >= look.weights.shape[1]:
            return before
        weights = look.weights[0, row]
        seen = weights[patch] if look.patches else 0.0
        seen += sum(w * share(k, patch, step - 1) for k, w in enumerate(weights[look.patches :]))
        return (before + seen) / 2

    expected = [[share(row, patch, 3) for patch in range(4)] for row in range(3)]
    np.testing.assert_allclose(roll_out(looks)[0], expected)


# -- reading attention


def eager_twin(name: str, vlm: ns.VLM, picture: Image.Image) -> Any:
    """The output of the same model, made eager by transformers' own means, with attentions."""
    model: Any = ZOO[name].build()[0]
    model.set_attn_implementation("eager")
    if hasattr(model, "qformer"):
        model.qformer.config.output_attentions = True  # the call's own argument reaches tower and decoder only
    with torch.no_grad():
        return model(**vlm.prepare([picture]).tensors, use_cache=False)


@pytest.mark.parametrize("name", ["blip-2", "instructblip"])
def test_a_q_formers_attention_is_what_transformers_returns(queried, noise, name: str):
    looks = looked(queried[name], noise)
    output = eager_twin(name, queried[name], noise).qformer_outputs
    own = [weights for weights in output.attentions if weights.shape[-1] != 17]  # some versions list the crossing too
    expected = [own[0], *output.cross_attentions, own[1]]  # the second block has no cross-attention
    assert [look.patches for look in looks] == [0, 17, 0]
    for look, weights in zip(looks, expected, strict=True):
        np.testing.assert_allclose(look.weights, weights.mean(1).numpy(), atol=1e-6)


def test_kosmos_2s_attention_is_what_transformers_returns(queried, noise):
    (look,) = looked(queried["kosmos-2"], noise)
    expected = eager_twin("kosmos-2", queried["kosmos-2"], noise).projection_attentions
    assert look.patches == 17
    np.testing.assert_allclose(look.weights, expected.mean(1).numpy(), atol=1e-6)


def test_a_perceivers_attention_is_recomputed_from_queries_and_keys(queried, noise):
    """transformers does not return it."""
    vlm = queried["idefics2"]
    layers = vlm.model.model.connector.perceiver_resampler.layers
    kept: list[Tensor] = []
    handles = [
        linear.register_forward_hook(lambda _module, _args, output: kept.append(output))
        for layer in layers
        for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj)
    ]
    try:
        looks = looked(vlm, noise)
    finally:
        for handle in handles:
            handle.remove()
    assert len(looks) == len(layers) == 2
    for look, queries, keys in zip(looks, kept[::2], kept[1::2], strict=True):
        heads = queries.reshape(5, 6, 2, 12).transpose(1, 2)  # five pictures, six latents, two heads of 12, one key
        weights = (heads @ keys[:, None].mT / 12**0.5).softmax(-1).mean(1)
        assert look.patches == 16
        np.testing.assert_allclose(look.weights, weights.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", QUERIED)
def test_rows_sum_to_one_and_the_map_to_the_activation(queried, noise, name: str):
    vlm = queried[name]
    for look in looked(vlm, noise):
        assert (look.weights >= 0).all()
        np.testing.assert_allclose(look.weights.sum(-1), 1, atol=1e-5)
    values, where = cross_attention_rollout(vlm, noise, NEURONS)
    assert where.tiles
    assert len(values) == where.count
    assert np.ptp(values) > 0
    assert values.sum() == pytest.approx(float(activations(vlm, noise, NEURONS).mean(1).sum()), rel=1e-4)


@pytest.mark.parametrize("name", ["blip-2", "instructblip", "idefics2", "kosmos-2", "minigpt4-2"])
def test_weights_that_modules_do_not_return_are_those_of_the_eager_ones(queried, noise, name: str, monkeypatch):
    """torch's scaled_dot_product_attention, with masks, grouped heads and all."""
    vlm = queried[name]
    eager = looked(vlm, noise)
    monkeypatch.setattr(rollout, "ask_eager", lambda _undo, _module: None)
    monkeypatch.setattr(rollout, "are_weights", lambda _value: False)
    for fused, look in zip(looked(vlm, noise), eager, strict=True):
        assert fused.patches == look.patches
        np.testing.assert_allclose(fused.weights, look.weights, atol=1e-5)


def test_the_projector_reads_another_pictures_patches_when_the_picture_changes(queried, noise, pictures):
    vlm = queried["idefics2"]
    assert not np.allclose(looked(vlm, noise)[0].weights, looked(vlm, pictures[0])[0].weights)


# -- nothing stays behind


def state(vlm: ns.VLM) -> list[Any]:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vlm.model.modules()]
    configs = [getattr(m, "config", None) for m in vlm.model.modules()]
    return [hooks, [getattr(config, "_attn_implementation", None) for config in configs]]


@pytest.mark.parametrize("name", ["blip-2", "idefics2", "kosmos-2"])
def test_hooks_and_attention_are_as_before(queried, noise, name: str):
    vlm = queried[name]
    before = state(vlm)
    assert "sdpa" in before[1]
    inputs = vlm.prepare([noise])
    with torch.no_grad():
        logits = vlm.logits(inputs)
        with watched(vlm) as watch:
            assert state(vlm)[1] != before[1]
            torch.testing.assert_close(vlm.logits(inputs), logits, rtol=1e-4, atol=1e-4)
        seen = [len(part.weights) for part in watch.parts]
        assert state(vlm) == before
        assert torch.equal(vlm.logits(inputs), logits)
    assert [len(part.weights) for part in watch.parts] == seen


def test_hooks_and_attention_are_as_before_after_an_exception(queried, noise):
    vlm = queried["blip-2"]
    before = state(vlm)
    with pytest.raises(NeuronOutOfRange):
        cross_attention_rollout(vlm, noise, ns.Neurons.of([(99, 0)]))
    assert state(vlm) == before

    def fail(_module: Any, _args: Any) -> None:
        assert state(vlm)[1] != before[1]
        raise ZeroDivisionError

    handle = vlm.model.qformer.encoder.layer[1].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        cross_attention_rollout(vlm, noise, NEURONS)
    handle.remove()
    assert state(vlm) == before


# -- what it means


@pytest.mark.parametrize("target", [0, 6, 15])
def test_queries_made_to_look_at_one_patch_put_the_map_there(noise, target: int):
    """Keys answer to what is special about one patch; queries ask for just that, whatever they are."""
    vlm = ns.load(ZOO["blip-2"].build())
    cross = vlm.model.qformer.encoder.layer[0].crossattention.attention
    given: list[Tensor] = []
    handle = cross.register_forward_hook(
        lambda _module, _args, kwargs, _output: given.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    try:
        looked(vlm, noise)
    finally:
        handle.remove()
    features = given[0][0]  # CLS and 16 patches
    wanted = torch.zeros(17)
    wanted[1 + target] = 100.0
    special = torch.linalg.lstsq(features, wanted[:, None]).solution[:, 0]
    with torch.no_grad():
        for linear in (cross.query, cross.key):
            linear.weight.zero_()
            linear.bias.zero_()
        cross.query.bias[:: cross.attention_head_size] = 1.0  # the first channel of each head
        cross.key.weight[:: cross.attention_head_size] = special
    acts = activations(vlm, noise, ns.Neurons.of([(1, unit) for unit in range(48)])).sum(0)
    neurons = ns.Neurons.of([(1, int(acts.argmax()))])
    assert acts.max() > 0
    values, where = cross_attention_rollout(vlm, noise, neurons)
    assert values.argmax() == target
    assert values[target] == pytest.approx(acts.max(), rel=1e-3)
    heat = ns.heatmap(vlm, noise, neurons, trace="rollout")
    x, y, w, h = where.footprint(target)
    assert heat.values[int(y + h / 2), int(x + w / 2)] == heat.values.max()


def test_the_heat_map_is_the_rollout(queried, noise):
    values, _ = cross_attention_rollout(queried["idefics2"], noise, NEURONS)
    heat = ns.heatmap(queried["idefics2"], noise, NEURONS, trace="rollout")
    np.testing.assert_allclose(np.concatenate([grid.ravel() for grid in heat.grids]), values)


def test_agreement_is_the_rank_correlation_with_occlusion(queried, noise):
    vlm = queried["kosmos-2.5"]  # with padding, which has no place
    found = trace_agreement(vlm, noise, NEURONS)
    gradient, where = input_times_gradient(vlm, noise, NEURONS)
    caused = occlusion(vlm, noise, NEURONS, where)
    assert (where.count, where.tiles[0].tokens.shape) == (30, (5, 5))
    assert not caused[25:].any()
    rolled, _ = cross_attention_rollout(vlm, noise, NEURONS)
    for name, values in (("gradient", gradient), ("rollout", rolled)):
        ranks = [np.argsort(np.argsort(v[:25])) for v in (values, caused)]
        assert found[name] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert set(found) == {"gradient", "from-grey", "rollout"}


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6. With a tie, ranks 1.5 1.5 3: 1.5 / sqrt(1.5 * 2)."""
    a = np.array([0.0, 1.0, 2.0, 9.0])
    assert rank_correlation(a, np.array([3.0, 1.0, 8.0, 4.0])) == pytest.approx(0.6)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(np.array([5.0, 5.0, 7.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1.5 / 3**0.5)
    assert np.isnan(rank_correlation(a, np.ones(4)))


# -- what is refused


def test_models_without_queries_are_refused(vlm, picture, noise):
    with pytest.raises(NoGrid, match=r"learned queries.*16 image tokens.*there are 0.*gradient.*occlusion.*tokens"):
        ns.heatmap(vlm, picture, ns.Neurons.of([(1, 2)]), trace="rollout")
    with pytest.raises(NoImagePositions):
        ns.heatmap(ns.load(ZOO["git"].build()), noise, NEURONS, trace="rollout")
    with pytest.raises(NoGrid, match="there are 0"):
        ns.heatmap(ns.load(ZOO["granite4_vision"].build()), noise, NEURONS, trace="rollout")


def test_misspelt_traces_and_neurons_outside_the_decoder_are_refused(vlm, picture):
    with pytest.raises(InvalidOption, match="auto, tokens, gradient, from-grey, occlusion, rollout"):
        ns.heatmap(vlm, picture, NEURONS, trace="rolout")
    with pytest.raises(InvalidOption, match="part='vision'"):
        ns.heatmap(vlm, picture, ns.Neurons.at("vision.0.1"))


def watch_of(*shapes: tuple[int, ...], unread: tuple[str, ...] = (), parts: int = 1, pictures: int = 1) -> Watched:
    """As after a pass with a tower of 16 patches and CLS."""
    weights = [torch.full(shape, 1 / shape[-1]) for shape in shapes]
    return Watched([SeenPart(nn.Identity(), list(weights), list(unread)) for _ in range(parts)], (pictures, 17))


@pytest.mark.parametrize(
    ("watch", "message"),
    [
        (watch_of((1, 2, 4, 17), unread=("Flash",)), "Flash return no attention weights"),
        (watch_of((1, 4, 17), parts=2), "there are 2"),
        (watch_of((1, 1, 17)), "there are 0"),  # a pooling head is no projector of four queries
        (watch_of((1, 4, 17), (1, 4, 9)), "4 rows to 9 columns in a batch of 1"),
        (watch_of((3, 4, 17)), "batch of 3"),
        (watch_of((1, 4, 17), (1, 2, 2)), "2 rows to 2 columns"),
        (watch_of((1, 4, 17), (1, 4, 16)), "different numbers of patches"),
        (watch_of((3, 4, 17), pictures=3), "4 image tokens in all"),  # do not divide among three pictures
    ],
)
def test_what_cannot_be_read_completely_is_refused(watch: Watched, message: str):
    with pytest.raises(NoGrid, match=message):
        projector_looks(watch, 4, "m")


def test_as_many_queries_as_patches_cannot_be_told_apart():
    watch = watch_of((1, 17, 17), (1, 17, 34))
    with pytest.raises(NoGrid, match="17 rows to 17 columns"):
        projector_looks(watch, 17, "m")


def test_a_module_that_keeps_its_weights_to_itself_is_noticed():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    part = SeenPart(attention)
    x = torch.randn(1, 3, 8)
    with Changing(lambda undo: rollout._listen(undo, part, attention)):
        attention(x, x, x)
        assert [tuple(weights.shape) for weights in part.weights] == [(1, 3, 3)]
        assert not part.unread
        attention(x, x, x, need_weights=False)
        assert part.unread == ["MultiheadAttention"]

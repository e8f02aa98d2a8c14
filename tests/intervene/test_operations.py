"""The formulas, on tensors, without a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.intervene.operations import Intervention, Moment

PAIR = ns.Neurons.of([(2, 5), (2, 1)])
UNITS = (5, 1)


def moment(*ranks: list[int], draw: tuple[int, ...] | None = None, units: tuple[int, ...] = UNITS) -> Moment:
    return Moment(2, units, torch.tensor(ranks), torch.tensor(draw or (0,) * len(ranks)))


def noise_of(change: ns.Noise, at: Moment) -> torch.Tensor:
    """What the operation adds to zeros."""
    return change.change(torch.zeros(*at.rank.shape, len(at.units)), at)


def test_shared_noise_through_the_value_vectors_is_an_outer_product(monkeypatch: pytest.MonkeyPatch):
    change = ns.Noise.paper(PAIR)
    monkeypatch.setattr(ns.Noise, "epsilon", lambda *_: np.array([[3.0, 3.0], [-1.0, -1.0]]) / 40)
    update = noise_of(change, moment([0, 1])) @ torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(update[0], torch.tensor([[3.0, 6.0], [-1.0, -2.0]]))  # METHODS m, oracle 6


def test_the_paper_profile_is_absolute_shared_noise_that_is_added():
    change = ns.Noise.paper(PAIR)
    assert (change.level, change.draws, change.sharing, change.op) == (40.0, 10, "shared", "add")
    assert (change.relative, change.span, change.phase) == (False, None, "prefill")
    noise = noise_of(change, moment([0, 1, 2]))
    torch.testing.assert_close(noise[..., 0], noise[..., 1], rtol=0, atol=0)
    assert noise[0, :, 0].unique().numel() == 3


def test_noise_is_standard_normal_times_level_and_unlike_between_neurons_draws_seeds_and_levels():
    length = 4000
    streams = {
        (level, seed, draw, unit, layer): ns.Noise(PAIR, level=level, seed=seed, draws=3).epsilon(
            draw, layer, [unit], length
        )[:, 0]
        for level, seed, draw, unit, layer in [
            (40.0, 0, 0, 1, 2), (80.0, 0, 0, 1, 2), (40.0, 1, 0, 1, 2), (40.0, 0, 1, 1, 2), (40.0, 0, 0, 2, 2),
            (40.0, 0, 0, 2, 1), (40.0, 0, 2, 1, 0),
        ]
    }  # fmt: skip
    table = np.stack(list(streams.values()))
    assert np.abs(table.mean(1)).max() < 0.07
    assert np.abs(table.std(1) - 1).max() < 0.05
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.07
    wide = noise_of(ns.Noise(PAIR, level=120.0), moment(list(range(length))))
    assert float(wide.std()) == pytest.approx(120, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 12), st.integers(0, 5), st.integers(0, 3), st.sampled_from(["shared", "per_neuron"]), st.booleans()
)
def test_noise_does_not_depend_on_batching_order_length_or_padding(
    length: int, padding: int, draw: int, sharing: Any, flipped: bool
):
    change = ns.Noise(PAIR, level=2.0, draws=4, sharing=sharing)
    alone = noise_of(change, moment(list(range(length)), draw=(draw,)))[0]
    ranks = [-1] * padding + list(range(length))
    other = [-1] * (padding + length - 1) + [0]
    units = UNITS[::-1] if flipped else UNITS
    batch = noise_of(change, moment(other, ranks, draw=(3 - draw, draw), units=units))[1, padding:]
    torch.testing.assert_close(batch.flip(-1) if flipped else batch, alone, rtol=0, atol=0)
    longer = noise_of(change, moment(list(range(length + 7)), draw=(draw,)))[0, :length]
    torch.testing.assert_close(longer, alone, rtol=0, atol=0)
    late = noise_of(change, moment([length - 1], draw=(draw,)))[0]
    torch.testing.assert_close(late, alone[-1:], rtol=0, atol=0)


@pytest.mark.parametrize("op", ["add", "replace"])
def test_noise_adds_or_replaces(op: Any):
    values, at = torch.full((1, 3, 2), 7.0), moment([0, 1, 2])
    eps = torch.as_tensor(ns.Noise(PAIR, level=2.0).epsilon(0, 2, UNITS, 3), dtype=torch.float32)
    new = ns.Noise(PAIR, level=2.0, op=op).change(values, at)[0]
    torch.testing.assert_close(new, eps * 2 + (7 if op == "add" else 0))


def test_relative_noise_is_in_units_of_each_neurons_spread_over_its_own_span():
    values = torch.tensor([[[99.0, 99.0], [0.0, 10.0], [2.0, 50.0]], [[0.0, 0.0], [4.0, 1.0], [8.0, 1.0]]])
    at = moment([-1, 0, 1], [-1, 0, 1])
    spread = torch.tensor([[1.0, 20.0], [2.0, 0.0]])
    added = ns.Noise(PAIR, level=3.0, relative=True).change(values, at) - values
    plain = noise_of(ns.Noise(PAIR, level=3.0), at)
    torch.testing.assert_close(added[:, 1:], (plain * spread[:, None])[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda: ns.Zero(PAIR), [[0, 0], [0, 0]]),
        (lambda: ns.Scale(PAIR, factor=-2.0), [[-2, -4], [-6, -8]]),
        (lambda: ns.Scale(PAIR), [[1, 2], [3, 4]]),
        (lambda: ns.Mean(PAIR, means=(0.5, -1.0)), [[0.5, -1], [0.5, -1]]),
        (lambda: ns.Patch(PAIR, source=np.array([[10.0, 20.0], [30.0, 40.0]])), [[10, 20], [30, 40]]),
    ],
    ids=["zero", "scale", "identity", "mean", "patch"],
)
@pytest.mark.parametrize("flipped", [False, True], ids=["order of the set", "other order"])
def test_deterministic_operations_follow_their_formula(change: Callable[[], Intervention], expected, flipped: bool):
    values, units = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), UNITS
    wanted = torch.tensor([expected], dtype=torch.float32)
    if flipped:
        values, wanted, units = values.flip(-1), wanted.flip(-1), units[::-1]
    new = change().change(values, moment([0, 1], units=units))
    torch.testing.assert_close(new, wanted, rtol=0, atol=0)
    assert isinstance(change(), Intervention)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ns.Noise(PAIR, level=-1.0), r"level >= 0, .* got level=-1\.0, draws=1"),
        (lambda: ns.Noise(PAIR, level=float("nan")), r"level=nan is not a finite"),
        (lambda: ns.Noise(PAIR, level=float("inf")), r"level=inf is not a finite"),
        (lambda: ns.Noise(PAIR, draws=0), r"draws >= 1 .*got level=0\.0, draws=0"),
        (lambda: ns.Noise(PAIR, seed=-1), "seed=-1 must be at least 0"),
        (lambda: ns.Mean(PAIR, means=(1.0,)), "one value per neuron: 1 for 2 neurons"),
        (lambda: ns.Patch(PAIR, source=np.zeros((4, 3))), r"shape \(4, 3\); expected \[positions, 2\]"),
    ],
)
def test_bad_options_are_refused_with_their_value(make: Callable[[], object], reason: str):
    with pytest.raises(InvalidOption, match=reason):
        make()


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("span", "images", "'images' is not known. Did you mean 'image'? Choices: image, media, text, all."),
        ("phase", "later", "'later' is not known. Choices: prefill, decode, both."),
        ("sharing", "all", "'all' is not known. Choices: per_neuron, shared."),
        ("op", "ad", "'ad' is not known. Did you mean 'add'? Choices: add, replace."),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(option: str, value: str, choices: str):
    change = ns.Noise(PAIR)
    object.__setattr__(change, option, value)  # past the type check that only tests have
    with pytest.raises(InvalidOption, match=f"{option}={choices}".replace("?", r"\?")):
        change.__post_init__()


def test_a_patch_shorter_than_the_span_is_refused_with_both_lengths():
    with pytest.raises(InvalidOption, match="source has 2 positions, the image has 3"):
        ns.Patch(PAIR, source=np.zeros((2, 2))).change(torch.zeros(1, 3, 2), moment([0, 1, 2]))

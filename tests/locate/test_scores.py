"""Activation differences where rows cannot share a forward pass: as if each row stood alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.hooks import HookSession, Tap
from neuronscope.locate.scores import POOLS, SIGNS, Pool, Sign, activation_differences
from neuronscope.locate.validity import Validity
from neuronscope.models.inputs import Inputs
from neuronscope.samples.lexicon import Match
from zoo import ZOO


@pytest.fixture(scope="module")
def hunyuan() -> ns.VLM:
    """A family whose rows are read differently in a batch."""
    found = ns.load(ZOO["hunyuan_vl"].build(), check=False)
    assert found.family.alone
    return found


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def one_by_one(vlm: ns.VLM, picture: Image.Image) -> list[torch.Tensor]:
    """Of each layer, the activations at the image tokens of a prompt that stands alone."""
    inputs = vlm.prepare([picture])
    at = torch.as_tensor(inputs.images[0].positions)
    found: list[torch.Tensor] = []
    taps = [Tap(layer, "neuron", lambda z: found.append(z[0, at].clone())) for layer in vlm.structure.studied]
    with torch.no_grad(), HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    return found


def test_rows_together_would_be_read_differently(hunyuan: ns.VLM):
    """What the grouping is there for: with every row in one batch the logits of the second are not its own."""
    inputs = hunyuan.prepare([noise(0), noise(1), noise(2)])
    assert inputs.batches() == [[0], [1], [2]]
    with torch.no_grad():
        together, alone = hunyuan.logits(inputs), hunyuan.logits(inputs.select([1]))
    assert (together[1] - alone[0]).abs().max() > 1e-4 * alone.std()


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("pool", POOLS)
def test_differences_are_those_of_rows_that_stand_alone(hunyuan: ns.VLM, sign: Sign, pool: Pool):
    pictures = [noise(seed) for seed in range(3)]
    found = activation_differences(hunyuan, pictures[0], pictures[1:], site="neuron", sign=sign, pool=pool)
    original, *others = (one_by_one(hunyuan, picture) for picture in pictures)
    for pooled, other in zip(found, others, strict=True):
        each = torch.cat([a - b for a, b in zip(original, other, strict=True)], 1).numpy()
        each = np.abs(each) if sign == "abs" else each
        sizes = np.abs(each) if pool == "abs_mean" else each
        expected = {"max": each.max(0), "mean": each.mean(0), "sum": each.sum(0), "abs_mean": np.abs(each).mean(0)}
        np.testing.assert_allclose(pooled.values, expected[pool], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(pooled.patch, sizes.argmax(0))


def test_groups_do_not_matter_where_rows_may_share_a_batch(vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch):
    pictures = [noise(seed) for seed in range(4)]

    def differences() -> list[np.ndarray]:
        return [p.values for p in activation_differences(vlm, pictures[0], pictures[1:], site="neuron")]

    together = differences()
    monkeypatch.setattr(Inputs, "batches", lambda self: [[0, 2], [1], [3]])
    for a, b in zip(differences(), together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_two_stage_filtering_finds_what_it_finds_one_row_at_a_time(hunyuan: ns.VLM):
    """Fixed thresholds at the median of scores computed here, one row after the other."""
    sample = ns.Sample(image=noise(5), concept="bear", boxes=[(8, 8, 24, 20)])
    pair = ns.counterfactual(sample)
    ids = tuple(hunyuan.tokenizer("bear", add_special_tokens=False).input_ids)
    caption = Caption("bear", "The image shows a bear", ids)
    known = Validity(caption, caption, Match("bear", 0, 4, "bear"), (len(ids) - 1,))
    original, edited = one_by_one(hunyuan, pair.original), one_by_one(hunyuan, pair.edited)
    largest = torch.cat([(a - b).max(0).values for a, b in zip(original, edited, strict=True)]).numpy()
    threshold = float(np.median(largest))
    method = ns.TwoStage(stages=(1,), activation=ns.Fixed(threshold))
    found = method.locate(hunyuan, pair, validity=known)
    np.testing.assert_allclose(found.scores.arrays["activation"].values, largest, rtol=1e-4, atol=1e-6)
    assert len(found.neurons) == int((found.scores.arrays["activation"].values > threshold).sum()) > 0
    controlled = ns.TwoStage(activation=ns.TargetDecoy(), controls=3, decoys=4).locate(hunyuan, pair, validity=known)
    np.testing.assert_allclose(controlled.scores.arrays["activation"].values, largest, rtol=1e-4, atol=1e-6)

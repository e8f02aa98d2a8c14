"""Captions are those of the plain path with one row at a time, also where the best two logits tie up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions, near_ties
from neuronscope.caption.captions import alone
from neuronscope.caption.shortcuts import Engine
from neuronscope.caption.ties import NearTies, Trail, chosen, settled
from neuronscope.testing import tiny_model, tiny_processor
from zoo import ZOO

SHORT = ns.Decoding(max_new_tokens=3)
SIZES = (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)


def tied(size: float, seed: int, dtype: torch.dtype = torch.float32) -> ns.VLM:
    """A model in which each token has a twin whose row of the unembedding differs by `size`."""
    vlm = ns.load((tiny_model(), tiny_processor()), check=False)
    weight = vlm.model.get_output_embeddings().weight
    half = len(weight) // 2
    with torch.no_grad():
        more = torch.randn(weight[:half].shape, generator=torch.Generator().manual_seed(seed))
        weight[half : 2 * half] = weight[:half] + size * more
    vlm.model.to(dtype)
    return vlm


def noise(seed: int, first: int) -> ns.Noise:
    return ns.Noise(ns.Neurons.of([(first, 3), (first, 40), (2, 0)]), level=120.0, draws=2, seed=seed)


WAYS: dict[str, Any] = {
    "one batch": lambda vlm, pictures, change: generate_captions(vlm, pictures, change, decoding=SHORT),
    "two batches": lambda vlm, pictures, change: generate_captions(vlm, pictures, change, decoding=SHORT, batch_size=3),
    "all saved": lambda vlm, pictures, change: Captioner(vlm, pictures, decoding=SHORT).captions(change),
    "no drafts": lambda vlm, pictures, change: Captioner(
        vlm, pictures, decoding=SHORT, engine=Engine(draft=False)
    ).captions(change),
    "nothing saved": lambda vlm, pictures, change: Captioner(
        vlm, pictures, decoding=SHORT, engine=Engine.off(), batch_size=2
    ).captions(change),
}


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from(SIZES), seed=st.integers(0, 99), first=st.integers(0, 2), count=st.integers(1, 2))
def test_ties_are_decided_by_the_plain_path(
    pictures: list[Image.Image], size: float, seed: int, first: int, count: int
):
    vlm = tied(size, seed)
    change = noise(seed, first)
    expected = generate_captions(vlm, pictures[:count], change, decoding=SHORT, batch_size=1)
    for name, way in WAYS.items():
        assert way(vlm, pictures[:count], change) == expected, name
    known = near_ties(vlm)
    assert known.written >= known.alone > 0


def test_without_the_decision_they_would_differ(pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch):
    change, vlm = noise(0, 0), tied(1e-8, 0)
    expected = generate_captions(vlm, pictures, change, decoding=SHORT, batch_size=1)
    for module in ("captions", "captioner"):
        monkeypatch.setattr(f"neuronscope.caption.{module}.settled", lambda vlm, ids, trails, alone: ids)
    assert all(way(vlm, pictures, change) != expected for way in WAYS.values())


def test_a_caption_that_may_stop_early_is_decided_as_well(pictures: list[Image.Image]):
    vlm, change = tied(1e-8, 3), noise(3, 1)
    whole = generate_captions(vlm, pictures, change, decoding=SHORT, batch_size=1)
    word = next(caption.text.split()[0] for row in whole for caption in row if caption.text)
    found = Captioner(vlm, pictures, decoding=SHORT).captions(change, until=lambda text: word in text)
    for row, expected in zip(found, whole, strict=True):
        assert [word in one.text for one in row] == [word in one.text for one in expected]
        assert all(other.text.startswith(one.text) for one, other in zip(row, expected, strict=True))


def test_in_16_bits_nothing_is_decided_again(pictures: list[Image.Image]):
    vlm = tied(0.0, 0, torch.bfloat16)
    generate_captions(vlm, pictures, decoding=SHORT)
    assert near_ties(vlm) == NearTies(written=3)


def test_a_model_without_ties_writes_nothing_twice(demo: ns.VLM, pictures: list[Image.Image]):
    before = near_ties(demo).alone
    generate_captions(demo, pictures, decoding=SHORT)
    assert near_ties(demo).alone == before
    assert NearTies().share == 0


def trail(*steps: tuple[int, int, float]) -> Trail:
    best, second, gaps = zip(*steps, strict=True) if steps else ((), (), ())
    return Trail(best, second, gaps)


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        ([(1, 2, 0.5), (3, 4, 0.1)], [(1, 2, 0.4), (3, 4, 0.4)], 0.3),
        ([(1, 2, 0.5), (3, 4, 0.1)], [(1, 2, 0.5), (4, 3, 0.2)], 0.3),  # they fall apart at a tie
        ([(1, 2, 0.5), (3, 4, 0.1)], [(1, 9, 0.1), (3, 4, 0.0)], 0.1),  # another second one says nothing
        ([(1, 2, 0.5), (3, 4, 0.9)], [(2, 1, 0.1), (3, 4, 0.0)], 0.6),  # what comes behind is another caption
        ([(1, 2, 0.5)], [(3, 4, 0.1)], -1.0),
        ([(1, 2, float("inf"))], [(1, 2, float("inf"))], -1.0),
        ([], [], -1.0),
    ],
)
def test_how_far_two_ways_are_apart(ours: list[Any], theirs: list[Any], apart: float):
    assert trail(*ours).apart(trail(*theirs)) == pytest.approx(apart)
    assert trail(*theirs).apart(trail(*ours)) == pytest.approx(apart)


def test_the_best_two_of_a_row():
    row = torch.tensor([0.0, 3.0, -torch.inf, 1.0])
    ids, values, gap = chosen(torch.stack([row, torch.full((4,), -torch.inf).index_fill(0, torch.tensor([2]), 1.0)]))
    assert ids[0].tolist() == [1, 3]
    assert values[0].tolist() == [3, 1]
    assert float(gap[0]) == pytest.approx(2 / np.std([0, 3, 1]))
    assert float(gap[1]) == np.inf


def test_rows_are_decided_from_the_closest_on_and_each_may_widen_what_is_near(make_vlm: Any):
    vlm = make_vlm()
    gaps = [0.9, 2e-4, 5e-4, 1e-2]
    asked: list[int] = []

    def alone(row: int, enough: tuple[int, ...]) -> tuple[list[int], Trail]:
        assert enough == (1,)
        asked.append(row)
        best = (1, 2) if row == 1 else (2, 1)
        return [best[0]], trail((*best, 1e-4))

    ids = settled(vlm, [[1], [1], [1], [1]], [trail((1, 2, gap)) for gap in gaps], alone)
    assert asked == [1, 2]
    assert ids == [[1], [1], [2], [1]]  # the first says the same, so it stays; the second says something else
    known = near_ties(vlm)
    assert (known.written, known.alone, known.share) == (4, 2, 0.5)
    assert known.bound == pytest.approx(16 * 6e-4)


def test_a_row_is_written_alone_up_to_its_last_doubtful_step_and_further_where_more_is_near(make_vlm: Any):
    vlm = make_vlm()
    ours = trail((1, 2, 0.9), (3, 4, 1e-4), (5, 6, 2e-3), (7, 8, 0.9))
    asked: list[tuple[int, ...]] = []

    def alone(row: int, enough: tuple[int, ...]) -> tuple[list[int], Trail]:
        asked.append(enough)
        return list(enough), trail((1, 2, 0.9), (3, 4, 3e-4), (5, 6, 2e-3), (7, 8, 0.9)).cut(len(enough))

    assert settled(vlm, [[1, 3, 5, 7]], [ours], alone) == [[1, 3, 5, 7]]
    assert asked == [(1, 3), (1, 3, 5)]  # 2e-4 apart: 16 times as much is near now
    assert near_ties(vlm).alone == 1


def test_where_the_end_hangs_on_rounding_all_is_written_again(make_vlm: Any):
    ours = trail((1, 2, 0.9), (9, 4, 1e-4))  # 9 is the end

    def alone(row: int, enough: tuple[int, ...]) -> tuple[list[int], Trail]:
        assert enough == ()
        return [1, 4, 5], trail((1, 2, 0.9), (4, 9, 1e-4), (5, 6, 0.9))

    assert settled(make_vlm(), [[1]], [ours], alone) == [[1, 4, 5]]


@pytest.mark.parametrize("name", ["llava", "blip-2", "florence2", "git", "kosmos-2", "idefics", "fuyu", "minigpt4"])
def test_a_caption_alone_ends_where_it_has_begun_as_it_should(name: str, pictures: list[Image.Image]):
    vlm = ns.load(ZOO[name].build(), check=False)
    whole, chosen_by = alone(vlm, pictures, (0, 0), None, SHORT)
    for steps in (1, 2):
        ids, how = alone(vlm, pictures, (0, 0), None, SHORT, whole[:steps])
        assert ids == whole[:steps]
        assert how == chosen_by.cut(steps)
    other = (whole[0] + 1, *whole[1:])
    assert alone(vlm, pictures, (0, 0), None, SHORT, other) == (whole, chosen_by)

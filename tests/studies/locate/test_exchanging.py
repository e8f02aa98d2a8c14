"""studies/locate/exchanging.py: in which parts neurons are exchanged."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuronscope.studies.locate.exchanging import PART, chunks


@given(st.integers(0, 12 * PART), st.integers(0, 99))
def test_every_neuron_is_in_one_part_and_no_part_is_too_large(count: int, seed: int) -> None:
    flat = np.random.default_rng(seed).permutation(20 * PART)[:count]
    parts = chunks(flat, ())
    assert sorted(one for part in parts for one in part) == sorted(flat.tolist())
    assert all(len(part) <= PART and list(part) == sorted(part) for part in parts)


def test_parts_are_the_same_when_a_run_is_gone_on_with_but_for_what_is_known() -> None:
    flat = np.random.default_rng(0).permutation(9 * PART)
    parts = chunks(flat, ())
    known = set(parts[0]) | set(parts[3][:7])
    assert chunks(flat, known) == [*parts[1:3], parts[3][7:], *parts[4:]]


def test_a_part_of_many_neurons_spans_few_of_them() -> None:
    # What a batch costs hangs on its lowest layer: a part drawn by chance of all would begin near the first each time.
    flat = np.random.default_rng(0).permutation(64 * PART)
    spans = [part[-1] - part[0] for part in chunks(flat, ())]
    assert np.mean(spans[:2]) > 0.9 * len(flat)  # as many as there are in the first two blocks, by chance
    assert np.mean(spans[32:]) < len(flat) / 25


def test_what_is_known_at_any_time_is_drawn_by_chance() -> None:
    # Half of the last block alone would be the lower or the upper half of all neurons, were its parts in their order.
    flat = np.random.default_rng(1).permutation(64 * PART)
    parts = chunks(flat, ())
    seen = np.concatenate([np.array(part) for part in parts[: 32 + 16]])
    assert abs(np.mean(seen) / len(flat) - 0.5) < 0.06

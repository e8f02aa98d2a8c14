"""Threads by the size of the model, where the user has said nothing."""

import pytest
import torch

from neuronscope.cli.threads import PER_THREAD, bytes_at, use_few_threads


@pytest.fixture
def threads(monkeypatch):
    """What was set, on a machine with 16 threads and nothing in the environment."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    held = [16]
    monkeypatch.setattr(torch, "get_num_threads", lambda: held[-1])
    monkeypatch.setattr(torch, "set_num_threads", held.append)
    return held


@pytest.mark.parametrize(
    ("weights", "expected"), [(1, 1), (PER_THREAD - 1, 1), (PER_THREAD, 2), (4 * PER_THREAD, 5), (10**11, 16)]
)
def test_threads_grow_with_the_model_up_to_what_there_is(weights, expected, threads):
    assert use_few_threads(weights)
    assert threads[-1] == expected


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_what_users_set_stays(name, threads, monkeypatch):
    monkeypatch.setenv(name, "8")
    assert use_few_threads(1)
    assert threads == [16]


def test_fewer_than_would_be_taken_stay(threads):
    threads.append(2)
    use_few_threads(10 * PER_THREAD)
    assert threads[-1] == 2


def test_nothing_is_changed_where_nothing_is_known(threads):
    assert not use_few_threads(0)
    assert threads == [16]


@pytest.mark.parametrize("model", ["nobody/nothing", "", "x" * 5000, "\0", "/dev/null"])
def test_names_that_are_no_directory_have_no_bytes(model):
    assert bytes_at(model) == 0


def test_the_bundled_model_takes_one_thread(threads):
    assert 10**7 < bytes_at("demo") < PER_THREAD
    use_few_threads(bytes_at("demo"))
    assert threads[-1] == 1

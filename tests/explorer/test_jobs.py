"""One job at a time, in order, with a way out in mid-run."""

from __future__ import annotations

import threading

import pytest
import torch

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.explorer import Cancelled, Desk
from neuronscope.explorer import jobs as desk

SOON = 20.0


@pytest.fixture
def table(vlm):
    made = Desk(vlm)
    yield made
    made.close()


@pytest.fixture
def blocked(table):
    """A desk whose first job waits for `go`."""
    go, running = threading.Event(), threading.Event()

    def work(_job):
        running.set()
        assert go.wait(SOON)
        return "first"

    first = table.submit("first", work)
    assert running.wait(SOON)
    yield table, first, go
    go.set()


def count_hooks(vlm):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vlm.model.modules())


def test_jobs_are_done_in_their_order(blocked):
    table, first, go = blocked
    done = []
    others = [table.submit(f"job {k}", lambda _job, k=k: done.append(k)) for k in range(3)]
    assert (first.status, [job.status for job in others]) == ("running", ["waiting"] * 3)
    assert [job.ahead for job in (first, *others)] == [0, 1, 2, 3]
    go.set()
    assert first.wait(SOON).result == "first"
    assert [job.wait(SOON).status for job in others] == ["done"] * 3
    assert done == [0, 1, 2]
    assert [job.ahead for job in others] == [0, 0, 0]


def test_a_waiting_job_leaves_the_queue_at_once(blocked):
    table, _, go = blocked
    gone, last = (table.submit(name, lambda _job: None) for name in ("gone", "last"))
    gone.cancel()
    assert gone.over
    assert gone.status == "cancelled"
    assert last.ahead == 1
    go.set()
    assert last.wait(SOON).status == "done"
    assert gone.result is None


def test_a_running_job_stops_at_the_next_pass_and_leaves_the_model_clean(table, vlm, picture):
    inputs, hooks = vlm.prepare([picture]), count_hooks(vlm)
    before = vlm.logits(inputs).detach().clone()
    started, go = threading.Event(), threading.Event()
    passes = []

    def work(job):
        with torch.no_grad():
            while True:
                vlm.logits(inputs)
                passes.append(job.passes)
                started.set()
                assert go.wait(SOON)

    job = table.submit("for ever", work)
    assert started.wait(SOON)
    job.cancel()
    go.set()
    assert job.wait(SOON).status == "cancelled"
    assert passes == [1]
    assert count_hooks(vlm) == hooks
    assert torch.equal(vlm.logits(inputs), before)
    assert table.submit("next", lambda _job: 7).wait(SOON).result == 7


def test_cancelled_is_taken_for_no_error_on_the_way_up(table):
    def work(job):
        job.cancel()
        try:
            job.check()
        except Exception:
            return "swallowed"

    assert table.submit("careless", work).wait(SOON).status == "cancelled"
    assert not issubclass(Cancelled, Exception)


def test_what_the_library_refuses_is_told_from_what_fails(table, caplog):
    def refuse(_job):
        raise InvalidSample("the box is empty")

    def fail(_job):
        raise ZeroDivisionError("a bug")

    refused = table.submit("refuse", refuse).wait(SOON)
    assert (refused.status, str(refused.error)) == ("refused", "the box is empty")
    failed = table.submit("fail", fail).wait(SOON)
    assert (failed.status, str(failed.error)) == ("failed", "a bug")
    assert "a bug" in caplog.text
    assert table.submit("next", lambda _job: 1).wait(SOON).status == "done"


def test_steps_are_seen_with_what_they_show(table):
    seen = []

    def work(job):
        for stage in ("one", "two"):
            job.step(stage, {"stage": stage})
            seen.append((job.stage, job.shown, job.passes))

    job = table.submit("steps", work).wait(SOON)
    assert seen == [("one", {"stage": "one"}, 0), ("two", {"stage": "two"}, 0)]
    assert job.seconds >= 0


def test_the_queue_has_an_end(blocked, monkeypatch):
    table, _, _ = blocked
    monkeypatch.setattr(desk, "LONGEST", 2)
    table.submit("second", lambda _job: None)
    with pytest.raises(InvalidOption, match="2 jobs wait for this model already"):
        table.submit("third", lambda _job: None)


def test_a_closed_desk_takes_no_more(vlm):
    table = Desk(vlm)
    table.close()
    with pytest.raises(InvalidOption, match="shutting down"):
        table.submit("late", lambda _job: None)

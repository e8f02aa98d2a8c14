"""The schedule: order, groups, failures; and that whatever order workers finish in, all that can be done is done."""

from __future__ import annotations

import random

import pytest

from neuronscope.cluster.schedule import Schedule
from neuronscope.cluster.units import Unit
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.units import units

A = Unit("located", {"method": "a", "image": "1"})
B = Unit("located", {"method": "b", "image": "1"}, (A.name,))
C = Unit("captions", {"method": "b", "image": "1"}, (A.name, B.name))
D = Unit("captions", {"method": "a", "image": "1"}, (A.name,))
E = Unit("similarity", {"method": "b"}, (C.name,))
CHAIN = [A, B, C, D, E]


def never(_: Unit) -> bool:
    return False


def test_a_unit_waits_for_what_it_needs():
    schedule = Schedule(CHAIN, never)
    assert schedule.take(1) == [A]
    assert not schedule.waiting
    assert schedule.take(1) == []
    schedule.finished(A, 10)
    assert (schedule.take(1), schedule.take(1)) == ([B], [D])
    schedule.finished(B, 10)
    assert schedule.take(1) == [C]
    assert schedule.left == (C, D, E)
    schedule.finished(D, 1)
    schedule.finished(C, 1)
    assert schedule.take(1) == [E]
    schedule.finished(E, 1)
    assert (schedule.left, schedule.failures, schedule.reported) == ((), (), (A, B, D, C, E))


def test_what_is_done_is_not_handed_out():
    schedule = Schedule(CHAIN, lambda unit: unit in (A, B))
    assert (schedule.take(1), schedule.take(1), schedule.take(1)) == ([C], [D], [])
    schedule.finished(A, 1.0)  # by another process: no harm
    assert schedule.reported == ()


def test_small_units_go_together():
    many = [Unit("captions", {"n": n}) for n in range(100)]
    schedule = Schedule(many, never, target=5.0)
    assert schedule.take(4) == many[:1]  # nothing is known yet
    schedule.finished(many[0], 1.0)
    assert schedule.take(4) == many[1:6]
    assert schedule.take(40) == many[6:7]  # 94 are ready: one for each of the 40, and another
    schedule.finished(many[1], 8.0)
    assert schedule.take(4) == many[7:8]  # 4.5 seconds each


def test_kinds_are_judged_apart():
    schedule = Schedule([Unit("a", {"n": n}) for n in range(4)] + [Unit("b", {"n": n}) for n in range(40)], never)
    first = schedule.take(1)
    schedule.finished(first[0], 0.1)
    assert [unit.kind for unit in schedule.take(1)] == ["a"] * 3  # nothing is known of b
    assert [unit.kind for unit in schedule.take(1)] == ["b"]
    assert schedule.seconds_left(2) is None
    schedule.finished(Unit("b", {"n": 0}), 2.0)
    assert schedule.seconds_left(2) == pytest.approx((3 * 0.1 + 39 * 2) / 2)
    assert schedule.seconds_left(0) is None


def test_a_failure_is_tried_again_after_the_others_and_given_up_after_three():
    free = [Unit("captions", {"method": "m", "image": str(n)}) for n in range(3)]
    schedule = Schedule([A, *free, B, C, D, E], never)
    assert schedule.take(1) == [A]
    schedule.failed(A, "first")
    assert [schedule.take(1) for _ in range(4)] == [[free[0]], [free[1]], [free[2]], [A]]
    schedule.failed(A, "second")
    assert schedule.take(1) == [A]
    assert schedule.failures == ()
    schedule.failed(A, "third")
    assert not schedule.waiting
    assert schedule.left == tuple(free)
    (failure,) = schedule.failures
    assert str(failure) == ("located a 1 (sample 1) failed 3 times: third; 4 units that need it were left out")
    schedule.finished(free[0], 1)
    assert schedule.left == tuple(free[1:])


def test_units_of_a_lost_worker_are_handed_out_again_in_order():
    schedule = Schedule([Unit("captions", {"n": n}) for n in range(6)], never)
    first, second = schedule.take(1)[0], schedule.take(1)[0]
    schedule.returned([second, first])
    assert schedule.take(1) == [first]
    assert schedule.failures == ()


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_workers_does_all_that_can_be_done(seed: int):
    rng = random.Random(seed)
    plan = Experiment(("bear", "bus"), methods=("two-stage", "pan", "random"), levels=(1.0,), random_sets=20)
    every = list(units(plan, [("bear", "1"), ("bear", "2"), ("bus", "3")]))
    done = {unit.name for unit in rng.sample(every, rng.randrange(5))}
    broken = {unit.name for unit in rng.sample(every, rng.randrange(4))} - done
    schedule = Schedule(every, lambda unit: unit.name in done, target=rng.choice([0.5, 5]))
    busy: list[list[Unit]] = []
    while schedule.waiting or busy:
        if schedule.waiting and (len(busy) < 4 or not busy):
            busy.append(schedule.take(4))
            continue
        group = busy.pop(rng.randrange(len(busy)))
        if rng.random() < 0.2:
            schedule.returned(group)
            continue
        for unit in group:
            assert set(unit.needs) <= done
            if unit.name in broken:
                schedule.failed(unit, "broken")
            else:
                assert unit.name not in done
                done.add(unit.name)
                schedule.finished(unit, rng.random())
    lost: set[object] = set()
    for unit in every:  # in their order, which is one in which needs come first
        if unit.name not in done and (unit.name in broken or lost & set(unit.needs)):
            lost.add(unit.name)
    assert {unit.name for unit in every} - done == lost
    assert {failure.unit.name for failure in schedule.failures} <= broken
    assert schedule.left == ()

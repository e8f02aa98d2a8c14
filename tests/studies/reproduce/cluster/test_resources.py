"""How many workers a cluster has room for, and what is said when there is none or no cluster."""

from __future__ import annotations

from typing import Any

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.studies.reproduce.cluster.resources import ClusterFailed, Resources, connected, line_of


@pytest.mark.parametrize(
    ("options", "nodes", "expected"),
    [
        ({}, [{"CPU": 4.0}, {"CPU": 2.0}, {}], (6, 0.0)),
        ({}, [{"CPU": 4.0, "GPU": 2.0}, {"CPU": 2.0}], (2, 1.0)),
        ({"gpus": 0.5}, [{"CPU": 4.0, "GPU": 1.0}], (2, 0.5)),
        ({"gpus": 2, "cpus": 3}, [{"CPU": 8.0, "GPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}], (2, 2)),
        ({"gpus": 0, "workers": 9}, [{"CPU": 4.0, "GPU": 1.0}], (9, 0)),
        ({"cpus": 0.1}, [{"CPU": 0.3}], (3, 0.0)),
    ],
)
def test_how_many_workers(options: dict[str, Any], nodes: list[dict[str, float]], expected: tuple[int, float]):
    assert Resources(**options).on(nodes) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0 must be at least 1"),
        ({"cpus": 0}, "cpus=0, gpus=None must not be below 0, and one of them above it"),
        ({"gpus": -1}, "gpus=-1"),
        ({"storage": "disk"}, "storage='disk'"),
        ({"address": "ray://head:10001"}, "the driver has to run on a machine of the cluster"),
    ],
)
def test_bad_resources(options: dict[str, Any], message: str):
    with pytest.raises(InvalidOption, match=message):
        Resources(**options)


def test_no_cluster_there():
    pytest.importorskip("ray")
    with pytest.raises(ClusterFailed, match=r"no Ray cluster at --address '127\.0\.0\.1:1': ConnectionRefusedError"):
        connected("127.0.0.1:1")


def test_no_room():
    with pytest.raises(InvalidOption, match=r"with 4 CPUs and 1 GPUs\. Its nodes have: 2 CPUs and 1 GPUs"):
        Resources(cpus=4).on([{"CPU": 2.0, "GPU": 1.0}])
    with pytest.raises(InvalidOption, match="Its nodes have: nothing"):
        Resources().on([])


def test_the_lines_that_tell_most():
    assert line_of(ValueError("first\n\n  middle\n last\n")) == "ValueError: first ... last"
    assert line_of(ValueError("one")) == "ValueError: one"
    assert line_of(ValueError()) == "ValueError: "

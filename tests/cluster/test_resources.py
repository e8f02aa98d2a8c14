"""How many workers a cluster has room for, and what is said when there is none or no cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from neuronscope.cluster.resources import ClusterFailed, Resources, connected, line_of
from neuronscope.errors import InvalidOption


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


LISTENS = """
import json, os, subprocess, sys
if sys.argv[1] == "before":
    import ray
from neuronscope.cluster.resources import connected
said = []
ray, ours = connected("local", said.append)
try:
    actor = ray.remote(type("Actor", (), {"one": lambda self: 1})).options(num_cpus=0).remote()
    assert ray.get(actor.one.remote()) == 1
    mine, found = {str(os.getpid())}, set()
    for _ in range(4):  # children, and theirs
        for stat in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = open(f"/proc/{stat}/stat").read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent in mine:
                mine.add(stat)
    inodes = set()
    for pid in mine:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").rstrip("]"))
            except OSError:
                continue
    for name in ("tcp", "tcp6"):
        for line in open(f"/proc/net/{name}").read().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    print(json.dumps([ours, said, sorted(found), os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")]))
finally:
    ray.shutdown()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("imported", ["before", "now"])
def test_a_cluster_of_our_own_can_be_reached_from_this_machine_only(imported: str):
    pytest.importorskip("ray")
    command = [sys.executable, "-c", LISTENS, imported]
    few = {**os.environ, "RAY_prestart_worker_first_driver": "0"}  # no process that waits for work: the actor's is one
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=few)
    ours, said, listening, left = json.loads(answer.stdout.splitlines()[-1])
    assert ours
    assert said == ["Ray was started on 127.0.0.1: it can be reached from this machine only"]
    # 127.0.0.1 as IPv4, and as IPv6 has it, in the order of bytes that the kernel prints
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert listening
    assert left is None


@pytest.mark.parametrize("address", ["nowhere.invalid:6379", "127.0.0.1:99999", "[::1:6379", "a b:1", "127.0.0.1:0"])
def test_whatever_is_no_cluster_is_one_sentence(address: str):
    pytest.importorskip("ray")
    with pytest.raises(ClusterFailed, match="no Ray cluster at --address") as caught:
        connected(address)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)

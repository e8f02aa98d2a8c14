"""A Ray cluster as the driver finds it: how to reach it, and how many workers it has room for."""

# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# ray's types are partial.

from __future__ import annotations

import importlib
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from ..errors import InvalidOption, NeuronscopeError
from ..fields import check_fields
from ..options import option
from ..parsing import digits
from ..types import one_of

#: Where results go: into the shared run directory, to the driver, or wherever a proof says; see worker.py.
Storage: TypeAlias = Literal["auto", "shared", "driver"]
STORAGES: tuple[Storage, ...] = get_args(Storage)

_STORE = 256 * 2**20  # bytes of a local cluster's object store; what is sent is small
_CONNECT = 10.0  # seconds
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # elsewhere it decides about loopback, too


class ClusterFailed(NeuronscopeError):
    """The cluster cannot do the work: not reachable, or its workers die before they begin."""


@dataclass(frozen=True)
class Resources:
    """Where the workers are and what each of them takes.

    Attributes:
        address: of an existing cluster, "auto" for the one this machine belongs to, or "local" for one of our own on
            this machine that ends with the job; None for $RAY_ADDRESS, or "local" where that is not set.
        workers: how many; None for as many as the cluster has room for.
        cpus, gpus: of each; a part of a GPU may be asked for. None for one GPU where the cluster has any, else none.
        storage: where results go; see worker.py.
    """

    address: str | None = option(None, "--address", help="Ray: of the cluster, auto, or local for one of our own.")
    workers: int | None = option(None, "--workers", help="Ray: how many; as many as fit.")
    cpus: float = option(1, "--cpus-per-worker", help="Ray: cores that each worker takes.")
    gpus: float | None = option(None, "--gpus-per-worker", help="Ray: GPUs, or a part of one; one where there are any.")
    storage: Storage = option("auto", "--storage", help="Ray: shared run directory, results to the driver, or auto.")

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("storage", self.storage, STORAGES)
        if self.address is not None and "://" in self.address:
            raise InvalidOption(
                f"address={self.address!r}: the driver has to run on a machine of the cluster; give HOST:PORT, or auto"
            )
        if self.workers is not None and self.workers < 1:
            raise InvalidOption(f"workers={self.workers} must be at least 1")
        if self.cpus < 0 or (self.gpus is not None and self.gpus < 0) or not (self.cpus or self.gpus):
            raise InvalidOption(f"cpus={self.cpus}, gpus={self.gpus} must not be below 0, and one of them above it")

    def on(self, nodes: Sequence[dict[str, float]]) -> tuple[int, float]:
        """How many workers there will be on nodes with these resources, and how many GPUs each gets.

        Raises InvalidOption when no node has room for one.
        """
        gpus = self.gpus
        if gpus is None:
            gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
        wanted = {"CPU": self.cpus, "GPU": gpus}
        room = sum(min(int(node.get(name, 0) / each + 1e-9) for name, each in wanted.items() if each) for node in nodes)
        if not room:
            there = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise InvalidOption(
                f"no node of the cluster has room for a worker with {self.cpus:g} CPUs and {gpus:g} GPUs. Its nodes "
                f"have: {there or 'nothing'}"
            )
        return self.workers or room, gpus


def connected(address: str | None, say: Callable[[str], None] = lambda _: None) -> tuple[Any, bool]:
    """Ray, connected, and whether the connection is ours to end.

    A cluster of our own listens on this machine's loopback address only, and `say` is told so.

    Raises InvalidOption where Ray is not installed, and ClusterFailed where there is no cluster at the address, or one
    of our own would listen elsewhere.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody unless the user says so
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    with _on_loopback() if where == "local" else nullcontext():
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InvalidOption("--engine ray needs Ray: pip install 'neuronscope[ray]'") from error
        if ray.is_initialized():
            return ray, False
        own = {"include_dashboard": False, "object_store_memory": _STORE} if where == "local" else {}
        try:
            _reach(where)
            ray.init(address=where, log_to_driver=False, logging_level="error", **own)
        except (OSError, RuntimeError, ValueError, OverflowError) as error:  # the last for a port that is none
            raise ClusterFailed(f"no Ray cluster at --address {where!r}: {line_of(error)}") from error
    if where == "local":
        at = {str(node["NodeManagerAddress"]) for node in ray.nodes()}
        if not all(ipaddress.ip_address(one).is_loopback for one in at):
            ray.shutdown()
            raise ClusterFailed(f"Ray of our own would listen on {', '.join(sorted(at))}, where others can reach it")
        say(f"Ray was started on {', '.join(sorted(at))}: it can be reached from this machine only")
    return ray, True


@contextmanager
def connection(resources: Resources | None, say: Callable[[str], None] = lambda _: None) -> Generator[None]:
    """Connected to the cluster inside the block, before anything else is done; nothing where there is none to be.

    A :class:`~neuronscope.cluster.ray.Crew` in the block uses this connection. Raises as :func:`connected` does.
    """
    if resources is None:
        yield
        return
    ray, ours = connected(resources.address, say)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _on_loopback() -> Generator[None]:
    """A cluster that is started in the block listens on 127.0.0.1, as Ray has it on Windows and macOS.

    `_node_ip_address` would not do: Ray makes another of a loopback address.
    """
    before = os.environ.get(_CLUSTERS)
    os.environ[_CLUSTERS] = "0"  # for the processes of the cluster, and for Ray when it is imported now
    try:
        if sys.modules.get("ray") is not None:
            constants: Any = importlib.import_module("ray._private.ray_constants")
            kept, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
            try:
                yield
            finally:
                constants.ENABLE_RAY_CLUSTER = kept
        else:
            yield
    finally:
        os.environ.pop(_CLUSTERS)
        if before is not None:
            os.environ[_CLUSTERS] = before


def _reach(where: str) -> None:
    """Raise OSError at once where nobody listens at HOST:PORT; Ray would go on trying for a long while."""
    host, _, port = where.rpartition(":")
    number = digits(port)
    if host and number is not None and "/" not in host:
        socket.create_connection((host.strip("[]"), number), timeout=_CONNECT).close()


def line_of(error: Exception) -> str:
    """The first and the last line of an error, which tell most of those that Ray passes on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys(lines[:1] + lines[-1:]))}"

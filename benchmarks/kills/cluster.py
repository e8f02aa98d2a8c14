"""One small Ray cluster of this machine, kept over all trials; as a program, that cluster.

python -m benchmarks.kills.cluster FOLDER    prints its address, and ends it when standard input is closed
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_KEPT: list[tuple[str, subprocess.Popen[str]]] = []
#: A driver takes none, so that a second worker may start while the first one of a killed driver still ends.
_NODE = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}


def address(place: Path) -> str:
    """Of the cluster, which is started when it is first asked for and ends with this process."""
    if not _KEPT:
        folder = place / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        paths = os.pathsep.join(filter(None, (str(Path.cwd()), *sys.path)))
        with (place / "cluster.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.kills.cluster"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,
                env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": paths, "RAY_worker_niceness": "0"},
            )
        assert process.stdout is not None
        told = process.stdout.readline().strip()
        if not told:
            raise SystemExit(f"Ray did not start: see {place / 'cluster.log'}")
        _KEPT.append((told, process))
    return _KEPT[0][0]


def workers(place: Path) -> list[int]:
    """Process numbers of the actors of this cluster that are up."""
    mark = f"TMPDIR={place / 'workers'}".encode()
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended, or is another user's
            ours = folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0")
            if ours and (folder / "cmdline").read_bytes().startswith(b"ray::Worker"):
                found.append(int(folder.name))
    return found


def kill_worker(place: Path) -> int:
    """Kill one actor; how many were killed."""
    for pid in workers(place):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return 1
    return 0


def main() -> None:
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster

    sockets = tempfile.mkdtemp(prefix="ns-", dir="/tmp")  # their paths have to be short
    # Ray notes there which cluster was started last, and does not make the folder for one that has its own place.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "temp_dir": sockets}, shutdown_at_exit=False)
    try:
        sys.stdout.write(f"{cluster.address}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)


if __name__ == "__main__":
    main()

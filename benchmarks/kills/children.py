"""Processes that are killed: forks of one that has everything in memory, or fresh ones.

A fork calls the same function as the program does, and a signal to it is a signal to a process like any other. What it
saves is only the seconds in which Python imports libraries and the model is read.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import pkgutil
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

import neuronscope as ns
from neuronscope import loading

Result = TypeVar("Result")
#: Audit events that come before a change of files; those of open() only where it is for writing.
_CHANGES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: Threads that forks get along without: pyarrow's allocator, which heeds forks.
_QUIET = ("jemalloc_bg_thd",)
_LEFT_OUT = ("neuronscope.__main__", "neuronscope.explorer")


@dataclass(frozen=True)
class Aim:
    """When a child tells that it is about to change a file.

    Attributes:
        change: the how manieth change.
        hold: whether it then waits to be killed; else it goes on.
    """

    change: int
    hold: bool


class Child:
    """A running process in a group of its own."""

    def __init__(self, pid: int, told: int | None) -> None:
        self.pid = pid
        self._told = told
        self._ended = os.pidfd_open(pid)
        self.code: int | None = None

    def wait(self, seconds: float | None, *, for_change: bool = False) -> str:
        """What came first: "ended", "change" or "time"."""
        watched = [self._ended] + ([self._told] if for_change and self._told is not None else [])
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            ready, _, _ = select.select(watched, [], [], None if end is None else max(0.0, end - time.monotonic()))
            if self._ended in ready:
                return "ended"
            if not ready:
                return "time"
            if os.read(watched[-1], 1):
                return "change"
            watched.pop()  # closed: it is about to end

    def kill(self, number: int) -> None:
        """Send a signal to the group."""
        os.killpg(self.pid, number)

    def end(self, patience: float) -> bool:
        """Wait for the end and collect the exit status; False, and killed, where it does not come."""
        in_time = self.wait(patience) == "ended"
        if not in_time:
            self.kill(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        for descriptor in (self._ended, self._told):
            if descriptor is not None:
                os.close(descriptor)
        return in_time


def preload() -> None:
    """Import the package and load the bundled model, which the children then find loaded."""
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(ns.__path__, "neuronscope."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    for name in ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "pyarrow.parquet", "pandas"):
        importlib.import_module(name)
    vlm = loading.load("demo")
    read = loading.load
    ours: Any = loading

    def found(name: Any, **options: Any) -> Any:
        return vlm if name == "demo" else read(name, **options)

    ours.load = found


def learn(names: Path) -> None:
    """Import what a child had imported when it ended, so that the next ones need not."""
    for name in names.read_text(encoding="utf-8").split():
        with suppress(Exception):  # made by another module under a name of its own
            importlib.import_module(name)
    if others := [name for name in _threads() if name not in _QUIET]:
        raise SystemExit(f"threads {', '.join(others)}: a fork would not be a process like any other")


def _threads() -> list[str]:
    """Names of the threads beside this one."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if int(task.name) != os.getpid()]
    return [(task / "comm").read_text(encoding="utf-8").strip() for task in tasks]


def apart(do: Callable[[], Result]) -> Result:
    """What a function returns, in a fork: libraries that start threads of their own for it do so there."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with os.fdopen(writing, "wb") as told:
            try:
                pickle.dump(do(), told)
            except BaseException:
                traceback.print_exc()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        data = said.read()
    os.waitpid(pid, 0)
    if not data:
        raise SystemExit("a part of the comparison failed, as said above")
    return pickle.loads(data)


def fork(program: str, argv: list[str], folder: Path, aim: Aim | None = None, *, notes: Path | None = None) -> Child:
    """Run a program's main in a fork. `notes`: where it writes its modules and how many changes it made."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        with suppress(PermissionError, ProcessLookupError):  # it has done so itself, or has ended
            os.setpgid(pid, pid)
        return Child(pid, reading)
    os.close(reading)
    os.setpgid(0, 0)
    os._exit(_body(program, argv, folder, aim, writing, notes))


def _body(program: str, argv: list[str], folder: Path, aim: Aim | None, told: int, notes: Path | None) -> int:
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(folder.parent)
        log = os.open(folder.parent.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["TMPDIR"] = str(folder.parent)
        importlib.import_module("tempfile").tempdir = None
        count = _watch(folder.parent, aim, told)
        name = f"{program}.cli.main" if program == "neuronscope" else program
        main: Callable[[list[str]], None] = importlib.import_module(name).main
        try:
            main(argv)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                sys.stderr.write(f"{stop.code}\n")
        atexit._run_exitfuncs()
        if notes is not None:
            notes.with_suffix(".changes").write_text(str(count()), encoding="utf-8")
            notes.write_text("\n".join(sys.modules), encoding="utf-8")
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _watch(place: Path, aim: Aim | None, told: int) -> Callable[[], int]:
    """Count changes of files below a folder, from now on."""
    count, root = 0, str(place)

    def changes(event: str, given: tuple[Any, ...]) -> bool:
        if event == "open":
            writes = given[2] & _WRITING if isinstance(given[2], int) else False
            return bool(writes) and inside(given[0])
        return event in _CHANGES and inside(given[0])

    def inside(path: Any) -> bool:
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        return text.startswith(root) or (text != "" and not text.startswith("/"))

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if changes(event, given):
            count += 1
            if aim is not None and count == aim.change:
                os.write(told, b"x")
                if aim.hold:
                    time.sleep(60)

    sys.addaudithook(hook)
    return lambda: count


def fresh(program: str, argv: list[str], folder: Path) -> Child:
    """Run a program as a process of its own."""
    with folder.parent.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *argv],
            cwd=folder.parent,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            process_group=0,
            env={**os.environ, "TMPDIR": str(folder.parent), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    process.returncode = 0  # it is waited for by number
    return Child(process.pid, None)

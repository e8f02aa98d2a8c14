"""Claims: one holder at a time, and none that is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from neuronscope.run import claims as module
from neuronscope.run.claims import Claims, Owner

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="other processes are only known on Linux")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Claims]:
    (tmp_path / "claims").mkdir()
    (tmp_path / "temporary").mkdir()
    numbers = count()

    def new(patience: float = 60.0) -> Claims:
        return Claims(tmp_path / "claims", lambda name: tmp_path / "temporary" / f"{next(numbers)}.{name}", patience)

    return new


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.json"))


def leave(folder: Path, owner: Owner | str) -> Path:
    """A claim of somebody else."""
    path = folder / "claims" / "unit.json"
    path.write_text(json.dumps({"owner": str(owner), "token": "t"}))
    return path


def held(claims: Claims) -> bool:
    with claims.hold("unit") as mine:
        return mine


def test_a_claim_has_one_holder_until_its_block_ends(tmp_path: Path, make: Callable[..., Claims]) -> None:
    ours, theirs = make(), make()
    with ours.hold("unit") as mine:
        assert mine
        assert not held(theirs)
        assert not held(ours)
        with theirs.hold("another") as other:
            assert other
        assert files(tmp_path) == ["unit.json"]
    assert files(tmp_path) == []
    assert held(theirs)


def test_an_error_lets_go_of_the_claim(tmp_path: Path, make: Callable[..., Claims]) -> None:
    with pytest.raises(RuntimeError, match="stop"), make().hold("unit"):
        raise RuntimeError("stop")
    assert files(tmp_path) == []


def test_an_owner_is_written_and_read_without_loss() -> None:
    here = Owner.here()
    assert Owner.parse(str(here)) == here
    assert not here.is_dead
    assert [Owner.parse(text) for text in ("", "a-b-c", "a-1", "a-1-", "a-1-2-3")] == [None] * 5


@LINUX
def test_a_claim_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, make: Callable[..., Claims]) -> None:
    code = "import sys; from neuronscope.run.claims import Owner; print(Owner.here(), flush=True); sys.stdin.read()"
    stub = (
        "import sys, types, neuronscope; p = types.ModuleType('neuronscope.run')\n"
        "p.__path__ = [neuronscope.__path__[0] + '/run']; sys.modules['neuronscope.run'] = p  # without torch\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", stub + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    owner = Owner.parse(child.stdout.readline().strip())
    assert owner is not None
    assert (owner.place, owner.pid) == (Owner.here().place, child.pid)
    leave(tmp_path, owner)
    assert not held(make())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not asked for its status
    assert held(make())
    child.communicate()
    leave(tmp_path, owner)
    assert held(make())
    leave(tmp_path, owner)
    make().clean()
    assert files(tmp_path) == []


@LINUX
def test_a_later_process_of_the_same_number_is_not_the_owner(tmp_path: Path, make: Callable[..., Claims]) -> None:
    here = Owner.here()
    leave(tmp_path, replace(here, started=here.started - 1))
    assert held(make())


@pytest.mark.parametrize(
    "owner", [replace(Owner.here(), place="elsewhere"), replace(Owner.here(), place="elsewhere", pid=2**22 + 1), "?"]
)
def test_a_claim_from_elsewhere_counts_until_patience_runs_out(
    tmp_path: Path, make: Callable[..., Claims], owner: Owner | str
) -> None:
    path = leave(tmp_path, owner)
    os.utime(path, (1, 1))  # as old as can be: it is the watcher's time that counts
    claims = make(patience=0.1)
    claims.clean()
    assert not held(claims)
    time.sleep(0.15)
    assert not held(make(patience=0.1))  # who has just come has to wait as well
    assert held(claims)
    assert files(tmp_path) == []


def test_a_refreshed_claim_counts_on_whatever_its_time_stamp_says(tmp_path: Path, make: Callable[..., Claims]) -> None:
    path = leave(tmp_path, replace(Owner.here(), place="elsewhere"))
    claims = make(patience=0.2)
    for stamp in (9e9, 5, 4, 3e9, 2):  # clocks that jump back and forth
        os.utime(path, (stamp, stamp))
        assert not held(claims)
        time.sleep(0.1)


def test_a_holder_refreshes_its_claim(tmp_path: Path, make: Callable[..., Claims]) -> None:
    with make(patience=0.1).hold("unit"):
        path = tmp_path / "claims" / "unit.json"
        before, end = path.stat().st_mtime_ns, time.monotonic() + 5
        while path.stat().st_mtime_ns == before:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_claim_that_was_taken_over_is_left_alone(tmp_path: Path, make: Callable[..., Claims]) -> None:
    with make(patience=0.1).hold("unit"):
        path = leave(tmp_path, "somebody")
        os.utime(path, (1, 1))
        time.sleep(0.1)
    assert "somebody" in path.read_text()
    assert path.stat().st_mtime == 1


def test_of_two_that_take_over_the_quicker_keeps_it(
    tmp_path: Path, make: Callable[..., Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, "dead")

    def dead_but_replaced_meanwhile(content: bytes) -> bool:
        leave(tmp_path, "quicker")
        return b"dead" in content

    monkeypatch.setattr(module, "_is_dead", dead_but_replaced_meanwhile)
    assert not held(make())
    assert "quicker" in (tmp_path / "claims" / "unit.json").read_text()
    assert files(tmp_path) == ["unit.json"]

"""One trial: a command is killed at a random moment, run again to its end, and compared with an undisturbed one."""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from . import children, cluster
from .children import Aim, Child
from .commands import OUT, Command
from .compare import Content, Faults, finished
from .compare import content as read_content

#: Signal -> how many of its kind in twenty.
SIGNALS = {signal.SIGKILL: 16, signal.SIGTERM: 2, signal.SIGINT: 2}
FRESH, OLDER, TWICE, AIMED, HELD = 1 / 20, 1 / 3, 1 / 5, 2 / 3, 1 / 2
#: Seconds between a change of files that was aimed at and the signal.
DELAYS = (1e-5, 1e-2)
PATIENCE = 600.0


def content(place: Path) -> Content:
    """See compare.py; pyarrow starts threads to read."""
    return children.apart(lambda: read_content(place))


@dataclass(frozen=True)
class Reference:
    """What an undisturbed command does.

    Attributes:
        content: of its folder.
        older: of that of the other command.
        seconds: it takes in a fork.
        changes: of files that it makes.
    """

    content: Content
    older: Content
    seconds: float
    changes: int


@dataclass
class Trial:
    """One line of the log.

    Attributes:
        number: of the trial.
        command: its name.
        moments: how each kill was aimed, in words.
        signals: what was sent.
        killed: how many processes had not ended before.
        faults: see compare.py.
    """

    number: int
    command: str
    moments: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    killed: int = 0
    faults: Faults = field(default_factory=Faults)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class Bench:
    """Commands with their references, in a folder.

    Args:
        place: for inputs, references and trials.
        commands: by name.
    """

    def __init__(self, place: Path, commands: dict[str, Command]) -> None:
        self.place = place
        self.commands = commands
        self._known: dict[str, Reference] = {}
        self._seconds: dict[str, float] = {}  # that a command took when it was last quicker than its signal

    def reference(self, name: str) -> Reference:
        """Run a command undisturbed, twice: what they leave must agree, but for times."""
        if name in self._known:
            return self._known[name]
        command, place = self.commands[name], self.place / "reference" / name.replace(" ", "-").replace(",", "")
        shutil.rmtree(place, ignore_errors=True)
        older = self._undisturbed(command, list(command.older), place / "older")[0] if command.older else {}
        self._undisturbed(command, list(command.words), place / "first")
        wanted, seconds, changes = self._undisturbed(command, list(command.words), place / "second")
        if (first := content(place / "first")) != wanted:
            faults = Faults()
            faults.end(first, wanted)
            raise SystemExit(f"{name} does not do the same each time: {faults}")
        self._known[name] = Reference(wanted, older, seconds, changes)
        return self._known[name]

    def _undisturbed(self, command: Command, words: list[str], place: Path) -> tuple[Content, float, int]:
        place.mkdir(parents=True)
        notes, begun = place.with_suffix(".modules"), time.monotonic()
        argv = [*words, "--out", OUT, *self._address(command)]
        child = children.fork(command.program, argv, place / OUT, notes=notes)
        child.end(PATIENCE)
        if child.code:
            raise SystemExit(f"{' '.join(argv)}: {_last(place)}")
        seconds = time.monotonic() - begun
        children.learn(notes)
        return content(place), seconds, int(notes.with_suffix(".changes").read_text(encoding="utf-8"))

    def _address(self, command: Command) -> list[str]:
        return ["--address", cluster.address(self.place)] if "ray" in command.words else []

    # ---- a trial

    def trial(self, number: int, name: str, seed: int) -> Trial:
        """Kill, run again, compare. The folder of a trial without a fault is removed."""
        rng, command, reference = random.Random(f"{seed}/{number}"), self.commands[name], self.reference(name)
        done, faults = Trial(number, name), Faults()
        done.faults = faults
        place = self.place / "trials" / str(number)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        older: Content = {}
        if command.older and rng.random() < OLDER:
            shutil.copytree(self._older(name), place, dirs_exist_ok=True)
            older = reference.older
            done.moments.append("over an older result")
        elif command.emptied and rng.random() < OLDER:
            (place / OUT).mkdir()
            done.moments.append("in an empty folder")
        code: int | None = None
        for _ in range(2 if rng.random() < TWICE else 1):
            code = self._killed(command, place, reference, rng, done)
            found = content(place)
            faults.moment(found, reference.content, older, f"{OUT}/{command.seal}")
        whole = content(place) == reference.content
        before = finished(place)
        if not (code == 0 and "ray" in command.words):
            self._again(command, place, faults, refused=command.once and whole)
        faults.end(content(place), reference.content)
        faults.doubled += [f"{path.name} anew" for path, one in before.items() if finished(place).get(path) != one]
        if command.report:
            self._report(place, faults)
        if not any(asdict(faults).values()):
            shutil.rmtree(place)
            place.with_suffix(".log").unlink(missing_ok=True)
        return done

    @cached_property
    def start(self) -> float:
        """Seconds in which a fresh process imports everything and loads the model."""
        folder = self.place / "reference" / "start"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        children.fresh("benchmarks.kills.saving", ["--out", OUT], folder / OUT).end(PATIENCE)
        return time.monotonic() - begun

    def _older(self, name: str) -> Path:
        return self.place / "reference" / name.replace(" ", "-").replace(",", "") / "older"

    def _killed(self, command: Command, place: Path, known: Reference, rng: random.Random, done: Trial) -> int | None:
        """Start and kill; its exit status where it was quicker."""
        number = rng.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        argv = [*command.argv, *self._address(command)]
        fresh, aimed = rng.random() < FRESH, rng.random() < AIMED
        aim = Aim(rng.randint(1, known.changes), rng.random() < HELD) if aimed and not fresh else None
        worker = "ray" in command.words and rng.random() < 0.4
        if worker:
            fresh, aim, number = False, None, signal.SIGKILL
        seconds = self._seconds.get(done.command, known.seconds)
        delay = rng.uniform(0, 0.5 if worker else 1.05) * (seconds + (self.start if fresh else 0.0))
        if aim is not None:
            delay = 0.0 if aim.hold else DELAYS[0] * (DELAYS[1] / DELAYS[0]) ** rng.random()
        begun, again = time.monotonic(), bool(done.signals)
        child = (
            children.fresh(command.program, argv, place / OUT)
            if fresh
            else children.fork(command.program, argv, place / OUT, aim)
        )
        while worker and not cluster.workers(self.place) and child.wait(0.05) == "time":
            pass  # from when it is up
        if aim is None or child.wait(PATIENCE, for_change=True) == "change":
            child.wait(delay)
        done.moments.append(
            f"{delay:.4f} s{' of a fresh process' if fresh else ''}"
            if aim is None
            else f"change {aim.change} of {known.changes}{' held' if aim.hold else f' + {delay * 1000:.2f} ms'}"
        )
        running = child.wait(0) != "ended"
        done.signals.append(f"{'worker ' if worker else ''}{number.name}")
        if running and worker:
            done.killed += cluster.kill_worker(self.place)
        elif running:
            done.killed += 1
            child.kill(number)
        if not running and not fresh and not again:  # quicker than thought: the machine has less to do now
            self._seconds[done.command] = time.monotonic() - begun
        if not child.end(PATIENCE):
            done.faults.failed.append(f"did not end after {number.name}")
        return child.code

    def _again(self, command: Command, place: Path, faults: Faults, *, refused: bool) -> None:
        argv = [*command.argv, *self._address(command)]
        child = children.fork(command.program, argv, place / OUT)
        if not child.end(PATIENCE):
            faults.failed.append("the second time did not end")
        elif child.code != int(refused):
            faults.failed.append(f"the second time: exit {child.code}, {_last(place)}")

    def _report(self, place: Path, faults: Faults) -> None:
        page = self.place / "page.html"
        page.unlink(missing_ok=True)
        child: Child = children.fork("neuronscope", ["report", OUT, "--out", str(page)], place / OUT)
        child.end(PATIENCE)
        if child.code or not page.is_file():
            faults.failed.append(f"report: exit {child.code}, {_last(place)}")


def _last(place: Path) -> str:
    lines = place.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")[:300]

"""Kill commands at random moments: what of their results is then lost, doubled, different or left over?

    python -m benchmarks.kills --trials 1000 [--seed 0] [--verbs reproduce,edit] [--out kills.jsonl]

A trial starts a command, sends it SIGKILL (or SIGTERM, or SIGINT), runs the same command again to its end, and
compares every file with what an undisturbed command leaves, byte for byte but for fields that hold a time. What is
there between the two has to be whole, too, and of one result. Moments are drawn over the whole time of the command; two
in three are aimed at a change of files (opening for writing, renaming, linking, removing): just before it, or up to
10 ms later. Some trials kill twice, and some run over an older result. Commands run as forks of a process that has
imported everything and loaded the bundled model, one in twenty as a fresh process. Of the Ray engine either the driver
or the worker is killed.

Results are appended to `--out`; the same command goes on where it was stopped. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # no threads
os.environ |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}

from rich.console import Console
from rich.table import Table

from benchmarks.kills import children
from benchmarks.kills.commands import commands
from benchmarks.kills.trials import Bench

#: Turns in a round of those that have more than one: the quick ones.
TURNS = {"discover": 2, "locate": 2, "concept": 2, "scenes": 2, "save_model": 2, "convert": 3}
KINDS = ("lost", "doubled", "different", "leftovers", "failed")


def order(names: list[str]) -> list[str]:
    """One round."""
    return [name for turn in range(max(TURNS.values())) for name in names if TURNS.get(name, 1) > turn]


def tabulate(lines: list[dict[str, Any]]) -> Table:
    """One row for each command, and the sum."""
    table = Table("command", "trials", "killed before their end", *KINDS)
    total: Counter[str] = Counter()
    for name in dict.fromkeys(line["command"] for line in lines):
        ours = [line for line in lines if line["command"] == name]
        count = Counter(trials=len(ours), killed=sum(line["killed"] > 0 for line in ours))
        for kind in KINDS:
            count[kind] = sum(bool(line["faults"][kind]) for line in ours)
        table.add_row(name, *(str(count[key]) for key in ("trials", "killed", *KINDS)))
        total.update(count)
    table.add_section()
    table.add_row("all", *(str(total[key]) for key in ("trials", "killed", *KINDS)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="in all, with those that --out holds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", help="names separated by commas, as in the first column of the table")
    parser.add_argument("--out", type=Path, default=Path("kills.jsonl"), help="a line for each trial")
    parser.add_argument("--work", type=Path, help="folder for inputs and trials; a temporary one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neuronscope-kills-") as own:
        place = (asked.work or Path(own)).resolve()
        children.apart(lambda: bool(commands(place)))
        known = commands(place)
        names = list(known) if asked.verbs is None else asked.verbs.split(",")
        if unknown := [name for name in names if name not in known]:
            parser.error(f"--verbs {', '.join(unknown)}: choices are {', '.join(known)}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is ended
        children.preload()
        bench, turns = Bench(place, known), order(names)
        lines = read(asked.out)
        with asked.out.open("a", encoding="utf-8") as log:
            for number in range(len(lines), asked.trials):
                lines.append(bench.trial(number, turns[number % len(turns)], asked.seed).document())
                log.write(json.dumps(lines[-1]) + "\n")
                log.flush()
                if any(lines[-1]["faults"].values()):
                    sys.stderr.write(f"{json.dumps(lines[-1])}\n")
    Console(width=110).print(tabulate(lines))
    print(dict(Counter(word for line in lines for word in line["signals"])), "signals")
    sys.exit(any(any(line["faults"].values()) for line in lines))


def read(path: Path) -> list[dict[str, Any]]:
    """The trials that were done before."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()

"""Near ties of a run: counted from when a process began, summed over processes, and told in one sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

import neuronscope as ns
from neuronscope.caption import near_ties
from neuronscope.run.directory import Run
from neuronscope.run.tallies import read_tallies, write_tally
from neuronscope.studies.reproduce.page import run_page, write_run
from neuronscope.studies.reproduce.ties import Counting, Ties
from report_samples import make_run


def test_what_was_counted_before_is_not_counted(make_vlm: Callable[..., ns.VLM], tmp_path: Path):
    vlm = make_vlm()
    known = near_ties(vlm)
    known.written, known.alone = 7, 2
    counting = Counting(vlm)
    assert counting.tally() == {}
    known.written, known.alone, known.rounding = 12, 3, 2e-6
    assert counting.tally() == {"captions": 5, "checked": 5, "alone": 1, "rounding": 2e-6}
    run = Run.open(tmp_path, {"settings": 1})
    counting.keep(run)
    known.written = 20
    counting.keep(run)
    Counting(vlm).keep(run)  # another process that has done nothing
    assert Ties.read(tmp_path) == Ties(13, 13, 1, 2e-6)


def test_captions_of_16_bits_are_not_looked_at(make_vlm: Callable[..., ns.VLM]):
    vlm = make_vlm()
    vlm.model.to(torch.bfloat16)
    counting = Counting(vlm)
    near_ties(vlm).written += 4
    assert counting.tally() == {"captions": 4, "checked": 0, "alone": 0}
    assert Ties.of([counting.tally()]).sentence == (
        "4 captions were written in 16 bits, where many logits are equal: none was looked at for near ties."
    )


def test_processes_add_up():
    found = Ties.of(
        [{"captions": 1000, "checked": 1000, "alone": 2, "rounding": 1e-6}, {"captions": 500, "checked": 500}]
    )
    assert found == Ties(1500, 1500, 2, 1e-6)
    assert found.sentence == (
        "Of 1,500 captions that were written in batches, 2 (0.13%) hung on less than rounding and were decided again, "
        "one at a time (rounding seen: 1.0e-06 of the logits' spread)."
    )
    assert Ties.of([]).sentence == ""


def test_the_page_says_it_and_nothing_else_changes(tmp_path: Path):
    run = make_run(tmp_path / "run", tmp_path / "data")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    plain = write_run(run_page(run), tmp_path / "plain.html").read_text("utf-8")
    write_tally(run, "one", {"captions": 40, "checked": 40, "alone": 1, "rounding": 3e-6})
    write_tally(run, "two", {"captions": 60, "checked": 60, "alone": 0})
    page = run_page(run)
    text = write_run(page, tmp_path / "page.html").read_text("utf-8")
    assert page.ties.startswith("Of 100 captions that were written in batches, 1 (1.00%) hung on less than rounding")
    assert "hung on less than rounding" not in plain
    assert re.sub(r"<br>Of 100 captions .*?spread\)\.", "", text) == plain
    assert {path: path.read_bytes() for path in before} == before
    assert len(read_tallies(run)) == 2
    shutil.rmtree(run / "tallies")
    assert run_page(run).ties == ""
    assert json.loads((run / "run.json").read_text())["settings"]

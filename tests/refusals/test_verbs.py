"""Every option of every verb with everything that it cannot be: one line that names it, and nothing half written.

By default each option gets a few of its bad values, others for each option; NEURONSCOPE_REFUSALS=all gives it all of
them, and what is at the edge of its range (six minutes).
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from neuronscope.errors import one_line

from .verbs import GOOD, Case, cases, commands, contradictions
from .watched import LIMIT, listing, run, wrong

Listing = dict[str, tuple[int, int]]
#: How many of an option's values are given by default, and how many options share a turn.
FEW = 2
ALL = os.environ.get("NEURONSCOPE_REFUSALS") == "all"


def chosen() -> dict[str, list[Case]]:
    """Verb -> its cases."""
    found: dict[str, list[Case]] = defaultdict(list)
    for verb, parser in commands():
        by_option: dict[str, list[Case]] = defaultdict(list)
        for case in EVERY[verb]:
            by_option[case.option].append(case)
        for turn, own in enumerate(by_option.values()):
            bad = [case for case in own if ALL or not case.edge]
            found[verb] += bad if ALL else [bad[(turn + k * len(bad) // FEW) % len(bad)] for k in range(FEW)]
        assert parser.params
    return {verb: list(dict.fromkeys(own)) for verb, own in found.items()}


EVERY: dict[str, list[Case]] = defaultdict(list)
for each in cases():
    EVERY[each.verb].append(each)


def problem(case: Case, bench: Path, before: Listing, scratch: Path) -> str:
    """What is wrong with how a command ends; nothing where it is refused as it should be, and `bench` as `before`."""
    places = {"{good}": bench / "good", "{bad}": bench / "bad", "{out}": scratch / "out", "{scratch}": scratch}

    def placed(word: str) -> str:
        for name, place in places.items():
            word = word.replace(name, str(place))
        return word

    ended = run([placed(word) for word in case.words])
    left = listing(scratch)
    if listing(bench) != before:
        return "it changed what it was given"
    if ended.seconds > LIMIT:
        return f"it took {ended.seconds:.0f} s"
    if case.edge and ended.code == 0 and not ended.error:
        return ""
    if said := wrong(ended):
        return said
    told = [one_line(placed(word)) for word in case.about]
    if not case.edge and not any(word in ended.err or (len(word) > 60 and word[:40] in ended.err) for word in told):
        return f"it does not name {case.about}: {ended.err.strip()[:300]}"
    if half := [name for name in left if ".part" in name or case.words[0] != "reproduce"]:
        return f"it left {half}"
    return ""


def problems(chosen: list[Case], bench: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    before = listing(bench)
    for number, case in enumerate(chosen):
        scratch = place / str(number)
        scratch.mkdir()
        monkeypatch.chdir(scratch)
        if said := problem(case, bench, before, scratch):
            found.append(f"{case.name}: {said}")
    return found


def test_every_verb_has_a_good_command():
    assert GOOD.keys() == {name for name, _ in commands()}


def test_there_are_many_bad_values():
    assert sum(map(len, EVERY.values())) > 2000
    assert sum(map(len, chosen().values())) > 200  # thousands more in test_python.py
    per_option = Counter((case.verb, case.option) for own in EVERY.values() for case in own)
    assert min(per_option.values()) >= 1


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("verb", GOOD)
def test_bad_values(verb: str, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("neuronscope.explorer.app.gradio", lambda: None)  # long to import; all is refused before
    found = problems(chosen()[verb], bench, tmp_path, monkeypatch)
    assert not found, "\n".join(found)


@pytest.mark.usefixtures("loaded_once")
def test_options_that_do_not_go_together(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = problems(list(contradictions()), bench, tmp_path, monkeypatch)
    assert not found, "\n".join(found)

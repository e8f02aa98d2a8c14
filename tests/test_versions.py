"""The releases that the package claims are the releases that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pin(name: str) -> str:
    found = re.search(r"^transformers==(\S+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{name} does not pin transformers"
    return found[1]


def test_the_oldest_pin_is_the_lower_bound():
    bound = re.search(r'"transformers>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert bound
    assert pin("constraints-oldest.txt").split(".")[:2] == bound[1].split(".")[:2]


def floors() -> dict[str, Version]:
    """Distribution -> the lowest release in the table of CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9]+)>=([0-9.]+)` \|", text, re.MULTILINE)
    return {name: Version(least) for name, least in rows}


def test_the_lowest_releases_are_those_whose_reasons_are_written_down() -> None:
    asked = dict(re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert floors().keys() >= {"torch", "jinja2", "pillow", "ray"}
    assert {name: Version(asked[name]) for name in floors()} == floors()


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_what_is_tested_is_not_below_them(file: str) -> None:
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    pinned = {Requirement(line).name.lower(): Requirement(line).specifier for line in lines}
    for name, least in floors().items():
        (exact,) = pinned[name]
        assert Version(exact.version) >= least

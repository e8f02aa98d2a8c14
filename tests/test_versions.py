"""The releases that the package claims are the releases that are tested."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pin(name: str) -> str:
    found = re.search(r"^transformers==(\S+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{name} does not pin transformers"
    return found[1]


def test_the_oldest_pin_is_the_lower_bound():
    bound = re.search(r'"transformers>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert bound
    assert pin("constraints-oldest.txt").split(".")[:2] == bound[1].split(".")[:2]

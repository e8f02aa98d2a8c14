"""Every argument of every public callable with everything that it cannot be: one sentence that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import NeuronscopeError, one_line
from neuronscope.fields import shown

from .python import Good, Public, arguments, callables, given, wrong
from .watched import limited

#: Pictures that are read when they are needed: a data set of many thousands is made of samples.
READ_LATER = {("Sample", "image"), ("Sample", "exact")}


def problem(public: Public, good: Any, name: str, value: Any) -> str:
    """What is wrong with how a call with one bad argument ends; nothing where it is refused as it should be."""
    try:
        with limited():
            given(public, good, name, value)
    except NeuronscopeError as error:
        text = str(error)
        if "\n" in text or len(text) > 1000:
            return f"no sentence: {text[:300]}"
        of_a_file = isinstance(value, (str, Path)) and str(value) and one_line(str(value)) in text
        names = {name, name.removesuffix("s"), name.removesuffix("es")}
        if not of_a_file and not any(re.search(rf"\b{one}\b", text) for one in names):
            return f"it does not name {name}: {text[:300]}"
        return ""
    except BaseException as error:  # whatever it is, it is the finding
        return f"{type(error).__name__}: {str(error)[:200]}"
    late = isinstance(value, (str, Path, np.ndarray, Image.Image)) and (public.name, name) in READ_LATER
    return "" if late else "taken"


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments(data: Path, demo: ns.VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, lists = tmp_path / "here", tmp_path / "lists"
    here.mkdir()
    lists.mkdir()
    monkeypatch.chdir(here)
    good = Good(demo, data / "good" / "coco", lists)
    found: list[str] = []
    tried = 0
    for public in callables(good):
        try:
            others = arguments(public, good)
        except Exception as error:
            found.append(f"{public.name} has no good arguments here: {type(error).__name__}: {error}")
            continue
        for name, hint in public.hints.items():
            for value in wrong(name, hint):
                tried += 1
                if said := problem(public, others, name, value):
                    found.append(f"{public.name}({name}={shown(value)}): {said}")
    assert not found, f"{len(found)} of {tried}\n" + "\n".join(found)
    assert tried > 5000
    assert not list(here.iterdir()), "something was written"

"""A bench with good and bad files, and the bundled model loaded once for all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from neuronscope import loading

from .bench import furnish, supply


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `good`, and pictures and a COCO folder in it; the rest of the bench takes longer."""
    place = tmp_path_factory.mktemp("bench")
    supply(place)
    return place


@pytest.fixture(scope="session")
def bench(data: Path, demo: ns.VLM) -> Path:
    """The folder with `good` and `bad`."""
    furnish(data, demo)
    return data


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch, demo: ns.VLM) -> None:
    """Verbs that ask for the bundled model as it is get the one that is there."""
    real = loading.load

    def load(source: Any = "demo", **options: Any) -> ns.VLM:
        plain = options.get("dtype", "auto") == "auto" and options.get("device") in (None, "cpu")
        plain = plain and not {"attn_implementation", "revision"} & options.keys()
        return demo if source == "demo" and plain and options.get("device_map") is None else real(source, **options)

    monkeypatch.setattr(loading, "load", load)

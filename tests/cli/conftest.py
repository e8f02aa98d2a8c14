"""Running a verb in process."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from neuronscope.cli import main
from neuronscope.errors import InvalidSample


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Runs a verb; returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out = capsys.readouterr()
        return stop.value.code or 0, out.out, out.err

    return run


@pytest.fixture(scope="session")
def undraw() -> Callable[[pytest.MonkeyPatch], None]:
    """Has figures, which take long to draw, written as small pictures of nothing as long as the patch holds."""

    def save(figure: Any, target: Any, *, format: str | None = None, **how: Any) -> None:
        if (format or Path(target).suffix) in (".svg", "svg"):
            Path(target).write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
        else:
            Image.new("RGB", (4, 4)).save(target, format="png")

    return lambda patch: patch.setattr(Figure, "savefig", save)


@pytest.fixture
def undrawn(undraw: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of something else than figures."""
    undraw(monkeypatch)


@pytest.fixture
def unplaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is located alone: maps of twenty random sets take longer than to locate."""

    def left_out(*_: object, **__: object) -> None:
        raise InvalidSample("not asked here")

    monkeypatch.setattr(import_module("neuronscope.report.gather"), "place", left_out)  # a function is called so, too

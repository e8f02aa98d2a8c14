"""Running a verb in process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from neuronscope.cli import main


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Runs a verb; returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out = capsys.readouterr()
        return stop.value.code or 0, out.out, out.err

    return run

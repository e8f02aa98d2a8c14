"""The papers' protocols are walked through the command line, as their authors would."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from neuronscope.cli.main import main


@pytest.fixture(scope="session")
def verb() -> Callable[..., Any]:
    """Runs a verb with --json and gives its document."""

    def run(*arguments: object) -> Any:
        out, told = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(told), pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        assert not stop.value.code, out.getvalue() + told.getvalue()
        return json.loads(out.getvalue())

    return run

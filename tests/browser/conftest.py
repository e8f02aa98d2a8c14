"""Debian's Chromium under Playwright; everything here is skipped where either is missing."""

from __future__ import annotations

import os
import shutil
from asyncio import events
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window.

    Of one module, not of the session: as long as Playwright is there this thread has a running event loop, and tests of
    other modules could not start one of theirs.
    """
    api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright (the dev extra)")
    path = os.environ.get("NEURONSCOPE_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on the path, nor NEURONSCOPE_CHROMIUM set")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
    assert events._get_running_loop() is None  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file; when the test ends, nothing may have been printed on the console, requested or run."""
    opened: list[tuple[Any, list[str]]] = []

    def show(path: Path, *, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(120_000)  # a machine that is busy with other tests
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else wrong.append(sent.url))
        page.goto(path.as_uri())
        opened.append((page, wrong))
        return page

    yield show
    for page, wrong in opened:
        assert not wrong
        assert page.evaluate("window.hacked") is None
        page.context.close()

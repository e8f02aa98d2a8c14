"""What several handlers of one page tell it arrives in the order in which it became true."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuronscope.explorer import clients
from neuronscope.explorer.clients import Visitor
from neuronscope.explorer.handlers import Handlers


class Page(Visitor):
    """A visitor whose page counts how often it was asked for news; a job that others end."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.message, self.count = "", 0
        self.job: Any = SimpleNamespace(over=False, status="running")

    def act(self, action: Any) -> Any:
        return action(self)

    def watches(self, job: Any) -> bool:
        return job is self.job

    def news(self, *, again: bool = False) -> dict[str, Any]:
        del again
        self.count += 1
        return {"status": str(self.count)}


class Update(dict[str, Any]):
    """What Gradio makes of the settings of a component."""


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def handlers(page: Page) -> Handlers:
    desk = SimpleNamespace(watch=lambda _: None)
    visitors: Any = SimpleNamespace(of=lambda _: page, shop=SimpleNamespace(desk=desk))
    return Handlers(SimpleNamespace(update=Update, Request=object, EventData=object), visitors, {"status": "status"})


def ended(handlers: Handlers, action: Any) -> Any:
    return handlers._handler(lambda tab: handlers._follow(tab, action))(SimpleNamespace(session_hash="a"))


def test_nothing_arrives_behind_something_newer(handlers: Handlers, page: Page):
    """However long each answer is underway."""
    arrived: list[str] = []
    underway = iter(np.random.default_rng(0).uniform(0, 0.004, 10_000).tolist())

    def browser(made: Any) -> None:
        for one in made:
            time.sleep(next(underway))
            arrived.extend([one["status"]["value"]] if one["status"] else [])
            page.job.over = len(arrived) >= 40

    tabs = [threading.Thread(target=browser, args=(ended(handlers, lambda page: page.job),)) for _ in range(3)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join(60)
    assert len(arrived) >= 40
    assert arrived == [str(n + 1) for n in range(len(arrived))]


@pytest.mark.parametrize("told", [0, 3])
def test_the_last_answer_says_nothing(handlers: Handlers, page: Page, told: int):
    """Gradio sends it once more when the handler has ended."""
    made = ended(handlers, lambda page: page.job)
    for _ in range(told):
        next(made)
    page.job.over = True
    assert list(made)[-1] == {"status": {}}


def test_a_tab_that_is_gone_holds_nobody_up_for_long(handlers: Handlers, page: Page, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clients, "_LONGEST", 0.05)
    gone = ended(handlers, lambda page: page.job)
    next(gone)
    other = ended(handlers, lambda _: None)
    assert [one for one in other if one["status"]] == [{"status": {"value": "2"}}]
    gone.close()
    with page.telling():
        assert page._turn.locked()
    assert not page._turn.locked()

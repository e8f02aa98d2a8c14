"""The people on the page: one session each, what their page shows already, and what is new to it.

A page is made of parts by name. Pieces of HTML are texts, controls are their settings. Only what changed is sent, so
that a slider which is being dragged is never set back by an answer to an older question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from ..errors import NeuronscopeError
from . import html
from .forms import REACH
from .jobs import Job
from .session import Session
from .workshop import Workshop

Parts: TypeAlias = dict[str, Any]

#: Seconds that a page's answer may be on its way before the next one no longer waits for it: its tab may be gone.
_LONGEST = 5.0
#: People who can be served at once; who comes after takes the place of the one that was idle longest.
MOST = 32


class Visitor:
    """One person: a session and a page."""

    def __init__(self, shop: Workshop) -> None:
        self.session = Session(shop)
        self.page = 0
        self.message = ""
        self._sent: Parts = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @contextmanager
    def telling(self) -> Generator[None]:
        """While the page is told something: nobody else does. Another thread may end it than began it."""
        mine = self._turn.acquire(timeout=_LONGEST)
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    def act(self, action: Callable[[Session], object]) -> Job[Any] | None:
        """Do something with the session; the job that it makes, if any. Errors become the page's message."""
        self.message = ""
        try:
            made = action(self.session)
        except NeuronscopeError as error:
            self.message = str(error)
            return None
        return made if isinstance(made, Job) else None

    def watches(self, job: Job[Any]) -> bool:
        """Whether a job is still one that the page waits for."""
        return job in (self.session.job, self.session.side)

    def told(self, values: Mapping[str, object]) -> None:
        """What the user's controls say, which need not be sent back."""
        with self._lock:
            for name, value in values.items():
                self._sent[name] = {**self._sent.get(name, {}), "value": value}

    def drawn(self) -> None:
        """The page shows the marks that it told: they need not be sent back, unless they were refused."""
        with self._lock:
            if not self.message:
                clicks = self.session.shop.segmenter is not None
                self._sent["canvas"] = html.canvas(self.session.shown, clicks=clicks)

    def news(self, *, again: bool = False) -> Parts:
        """The parts that the page does not show yet; `again`: all of its texts."""
        with self._lock:
            now = parts(self)
            new = {
                name: part
                for name, part in now.items()
                if self._sent.get(name) != part or (again and isinstance(part, str) and name != "canvas")
            }
            self._sent.update(new)
            return new


class Visitors:
    """All people, by the name that their browser tab has."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._known: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tab: str | None) -> Visitor:
        """The visitor in a tab, known or new."""
        name = tab or ""
        with self._lock:
            if name not in self._known:
                self._known[name] = Visitor(self.shop)
            self._known.move_to_end(name)
            surplus = [self._known.popitem(last=False)[1] for _ in range(len(self._known) - MOST)]
        for visitor in surplus:
            visitor.session.close()
        return self._known[name]

    def leave(self, tab: str | None) -> None:
        """A tab was closed: what ran for it is cancelled."""
        with self._lock:
            visitor = self._known.pop(tab or "", None)
        if visitor is not None:
            visitor.session.close()

    def close(self) -> None:
        """All tabs."""
        for tab in list(self._known):
            self.leave(tab)


def parts(visitor: Visitor) -> Parts:
    """The whole page of a visitor."""
    session = visitor.session
    state = session.shown
    shop = session.shop
    busy = any(job is not None and not job.over for job in (session.job, session.side))
    found = state.found if state.found is not None and len(state.found.evidence.neurons) else None
    number = None if state.picture is None else state.picture.number
    return {
        "status": html.status(session, visitor.message),
        "shelf": html.shelf(shop.shelf, visitor.page, number),
        "canvas": html.canvas(state, clicks=shop.segmenter is not None),
        "caption": html.caption(state),
        "said": html.said(state),
        "pictures": html.pictures(state),
        "neurons": html.neurons(state),
        "neuron": html.neuron(state, shop.shelf, session.side, indexed=shop.index is not None),
        "again": html.again(state),
        "profile": html.profile(state, shop.index),
        "link": html.link(state, shop),
        "asked": {"value": state.decoding.question},
        "prefix": {"value": state.decoding.prefix or ""},
        **_question(state.question),
        **_change(state, found),
        "undo": {"interactive": session.undoable},
        "cancel": {"interactive": busy},
        "locate": {"interactive": state.picture is not None},
        **{kind: {"interactive": found is not None} for kind in ("report", "archive")},
        **{f"get_{kind}": _file(found, kind) for kind in ("neurons", "report", "archive")},
    }


def _question(question: Any) -> Parts:
    thresholds = question.thresholds
    return {
        "concept": {"value": question.concept},
        "method": {"value": question.method},
        "rule": {"value": question.rule, "visible": thresholds},
        "q": {"value": question.q, "visible": thresholds and question.rule == "target-decoy"},
        "budget": {"value": question.budget, "visible": thresholds and question.rule == "budget"},
        "keep": {"value": question.count, "visible": question.counts and not thresholds},
        "edit": {"value": question.edit},
    }


def _change(state: Any, found: Any) -> Parts:
    change, members = state.change, 1 if found is None else len(found.evidence.neurons)
    most = 20.0 if found is None or not found.level else _round(REACH * found.level)
    ready = found is not None
    return {
        "operation": {"value": change.operation, "interactive": ready},
        "level": {
            "value": _round(change.level),
            "maximum": most,
            "step": most / 200,
            "visible": change.operation == "noise",
            "interactive": ready,
        },
        "factor": {"value": change.factor, "visible": change.operation == "scale", "interactive": ready},
        "word": {"value": change.word, "visible": change.operation == "swap", "interactive": ready},
        "count": {
            "value": change.count or members,
            "maximum": max(members, 2),
            "interactive": ready and members > 1,
        },
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _file(found: Any, kind: str) -> Mapping[str, Any]:
    path = None if found is None else found.files.get(kind)
    return {"value": None if path is None else str(path), "interactive": path is not None}

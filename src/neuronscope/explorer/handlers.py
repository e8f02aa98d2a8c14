"""Which action an event of the page is, and what the page is told of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeAlias

from . import html
from .annotations import Marks
from .clients import Visitor, Visitors
from .events import neuron_of, picture_number, point_of
from .forms import Change, Question
from .link import LONGEST_QUESTION, LONGEST_WORD, Link
from .session import Session

#: How often a page that waits is told of progress, in seconds.
_PULSE = 0.4

#: Handlers get the name of the browser's tab, then values or an event's data, and yield what is new on the page.
Handler: TypeAlias = Callable[..., Iterator[Any]]

#: Control -> the field of Question, and of Change, that it sets.
_LOOKED: Mapping[str, str] = {
    "concept": "concept",
    "method": "method",
    "rule": "rule",
    "q": "q",
    "budget": "budget",
    "keep": "count",
    "edit": "edit",
}
_CHANGED = ("operation", "count", "level", "factor", "word")
_ASKED = ("asked", "prefix")


class Handlers:
    """The events of one page.

    Handlers are generators, which Gradio recognises by their code: they are lambdas, which no decorator (such as the
    shape checker of the tests) hides in a function of its own.

    Several of one page run at once, and what one of them tells must not reach the browser behind something newer: the
    page would be set back, and stay so. So one at a time tells, until Gradio comes back for more, when the answer is on
    its way; and the last answer of each says nothing, since Gradio sends that again when a handler ends.

    Args:
        gr: the package.
        visitors: whom the page is shown.
        parts: its components by the name of their part.
    """

    def __init__(self, gr: Any, visitors: Visitors, parts: Mapping[str, Any]) -> None:
        self._gr = gr
        self._visitors = visitors
        self._parts = parts

    def connect(self, demo: Any) -> None:
        """Bind all events, while `demo`, the page, is being made."""
        gr, made = self._gr, self._parts
        outputs = list(made.values())

        def on(listen: Callable[..., Any], handler: Callable[..., Any], inputs: list[str] | None = None) -> Any:
            return listen(
                handler,
                [made[name] for name in inputs or []],
                outputs,
                show_progress="hidden",
                trigger_mode="multiple",
                concurrency_limit=None,
                api_visibility="private",
            )

        def simple(action: Callable[[Session], object]) -> Any:
            return self._handler(lambda tab: self._follow(tab, action))

        on(demo.load, self._arrival())
        if "address" in made:
            on(made["address"].submit, self._handler(self._look), ["address"])
        on(made["shelf"].pressed, self._event(self._shelf))
        on(made["upload"].upload, self._handler(self._upload), ["upload"])
        for name in _ASKED:
            for event in (made[name].submit, made[name].blur):
                on(event, self._handler(self._ask), list(_ASKED))
        on(made["canvas"].marked, self._event(self._mark))
        on(made["canvas"].pointed, self._event(self._point))
        on(made["seek"].submit, self._handler(self._seek), ["seek"])
        for event in (made["locate"].click, made["concept"].submit):
            on(event, self._handler(self._locate), [*_ASKED, *_LOOKED])
        on(made["operation"].input, self._handler(self._change), list(_CHANGED))
        for name in ("level", "factor", "count"):
            on(made[name].release, self._handler(self._change), list(_CHANGED))
        on(made["word"].submit, self._handler(self._change), list(_CHANGED))
        for name in ("neurons", "neuron"):
            on(made[name].pressed, self._event(self._choose))
        for kind in ("report", "archive"):
            done = on(made[kind].click, simple(Session.report))
            done.then(None, js=html.asset("hand.js").replace("KIND", kind))
        on(made["cancel"].click, simple(Session.cancel))
        on(made["undo"].click, simple(Session.undo))
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        made["caption"].pressed(self._name(), None, made["concept"], **quiet)
        thresholds = [made[name] for name in ("rule", "q", "budget", "keep")]
        for name in ("method", "rule"):
            made[name].input(self._choices, [made["method"], made["rule"]], thresholds, **quiet)

        def leave(request: Any) -> None:
            self._visitors.leave(request.session_hash)

        leave.__annotations__ = {"request": gr.Request}
        demo.unload(leave)

    def _handler(self, act: Handler) -> Any:
        """A function that Gradio gives the request, by its annotation; `act` gets the tab's name and the values."""
        made: Any = lambda request, *values: (yield from self._ended(act(request.session_hash, *values)))  # noqa: E731
        made.__annotations__ = {"request": self._gr.Request}
        return made

    def _arrival(self) -> Any:
        """What is done for a page that was opened: its address may say where to begin."""
        made: Any = lambda request: (  # noqa: E731
            yield from self._ended(self._open(request.session_hash, dict(request.query_params or {})))
        )
        made.__annotations__ = {"request": self._gr.Request}
        return made

    def _event(self, act: Handler) -> Any:
        """The same for an event that brings data with it, such as which button was pressed."""
        made: Any = lambda request, event: (  # noqa: E731
            yield from self._ended(act(request.session_hash, _data(event)))
        )
        made.__annotations__ = {"request": self._gr.Request, "event": self._gr.EventData}
        return made

    def _name(self) -> Any:
        """What puts a noun of the caption into its field."""
        made: Any = lambda event: str(_data(event).get("noun", ""))[:LONGEST_WORD]  # noqa: E731
        made.__annotations__ = {"event": self._gr.EventData}
        return made

    def _ended(self, told: Iterator[Any]) -> Iterator[Any]:
        yield from told
        yield self._sent({})

    def _open(self, tab: str, query: Mapping[str, str]) -> Iterator[Any]:
        shop = self._visitors.shop
        yield from self._follow(tab, lambda session: session.open(Link.parse(query, shop.usual, shop.edits)))

    def _look(self, tab: str, address: object) -> Iterator[Any]:
        named = str(address).strip()[:LONGEST_WORD]
        yield from self._follow(tab, lambda session: session.look(named) if named else None)

    def _shelf(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        if "page" not in data:
            yield from self._follow(tab, lambda session: session.pick(picture_number(data.get("pick"))))
            return
        visitor = self._visitors.of(tab)
        visitor.page = min(max(0, picture_number(data["page"])), self._visitors.shop.shelf.pages - 1)
        yield from self._tell(visitor)

    def _upload(self, tab: str, path: str) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.upload(path))

    def _ask(self, tab: str, *values: Any) -> Generator[Any, None, bool]:
        """An empty beginning is the usual one, or none where the explorer was started with none.

        Returns whether it is asked now.
        """
        self._visitors.of(tab).told(dict(zip(_ASKED, values, strict=True)))
        question, prefix = (str(value or "")[:LONGEST_QUESTION] for value in values)
        none = "" if self._visitors.shop.decoding.prefix == "" else None
        return (yield from self._follow(tab, lambda session: session.ask(question, prefix or none)))

    def _mark(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        visitor = self._visitors.of(tab)
        visitor.act(lambda session: session.mark(Marks.parse(data.get("marks"), session.state.marks.finds)))
        visitor.drawn()
        yield from self._tell(visitor)

    def _point(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.point(*point_of(data)))

    def _seek(self, tab: str, word: str) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.seek(word))

    def _choose(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.choose(neuron_of(data.get("neuron"))))

    def _locate(self, tab: str, *values: Any) -> Iterator[Any]:
        """What was typed as a question counts, also where Enter was not pressed."""
        visitor, asked, values = self._visitors.of(tab), values[: len(_ASKED)], values[len(_ASKED) :]
        visitor.told(dict(zip(_LOOKED, values, strict=True)))
        if not (yield from self._ask(tab, *asked)):
            return
        looked = {_LOOKED[name]: value for name, value in zip(_LOOKED, values, strict=True)}
        yield from self._follow(tab, lambda session: session.locate(Question(**looked)))

    def _change(self, tab: str, *values: Any) -> Iterator[Any]:
        self._visitors.of(tab).told(dict(zip(_CHANGED, values, strict=True)))
        yield from self._follow(tab, lambda session: session.change(Change(*values)))

    def _choices(self, method: str, rule: str) -> list[Any]:
        """Which thresholds a method has."""
        question = Question(method=method, rule=rule)  # pyright: ignore[reportArgumentType]
        update, has = self._gr.update, question.thresholds
        return [
            update(visible=has),
            update(visible=has and rule == "target-decoy"),
            update(visible=has and rule == "budget"),
            update(visible=question.counts and not has),
        ]

    def _follow(self, tab: str, action: Callable[[Session], object]) -> Generator[Any, None, bool]:
        """Do something, then tell the page what is new until it is done; whether it was."""
        visitor = self._visitors.of(tab)
        job = visitor.act(action)
        yield from self._tell(visitor)
        if job is None:
            return not visitor.message
        while not job.over and visitor.watches(job):
            self._visitors.shop.desk.watch(_PULSE)
            yield from self._tell(visitor)
        if visitor.watches(job):
            yield from self._tell(visitor, again=True)
        return job.status == "done"

    def _tell(self, visitor: Visitor, *, again: bool = False) -> Iterator[Any]:
        """What is new, if anything; `again`: all texts."""
        with visitor.telling():
            if new := visitor.news(again=again):
                yield self._sent(new)

    def _sent(self, parts: dict[str, Any]) -> dict[Any, Any]:
        update = self._gr.update
        return {
            self._parts[name]: update(**part) if isinstance(part, dict) else update(value=part)
            for name, part in parts.items()
        } or {self._parts["status"]: update()}


def _data(event: Any) -> dict[str, Any]:
    """What an event brought from the browser."""
    found = event._data
    return found if isinstance(found, dict) else {}

"""The page itself, in Gradio: where the parts stand, and which action a click is. Everything else is elsewhere.

Nothing is loaded from another host: fonts are the system's, and Gradio's telemetry is off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import InvalidOption, first_line
from ..files import temporary_folder
from . import html
from .address import free_port, is_taken
from .annotations import Marks
from .clients import Visitors
from .events import neuron_of, point_of, whole
from .forms import EDITS, OFFERED, OPERATIONS, RULES, Change, Question
from .guard import Guard
from .picture_list import MOST_BYTES
from .session import FOLDER, Session, Workshop

#: How often a page that waits is told of progress, in seconds.
_PULSE = 0.4
#: Longest concept or word, in characters.
LONGEST_WORD = 80

#: Handlers get the name of the browser's tab, then values or an event's data, and yield what is new on the page.
Handler: TypeAlias = Callable[..., Iterator[Any]]

#: Control -> the field of Question, and of Change, that it sets.
_ASKED: Mapping[str, str] = {
    "concept": "concept",
    "method": "method",
    "rule": "rule",
    "q": "q",
    "budget": "budget",
    "keep": "count",
    "edit": "edit",
}
_CHANGED = ("operation", "count", "level", "factor", "word")


@dataclass(frozen=True)
class Running:
    """A page that is being served; `close` ends it."""

    url: str
    close: Callable[[], None]


def serve(shop: Workshop, *, host: str = "127.0.0.1", port: int | None = None) -> Running:
    """Serve the explorer and return at once.

    Args:
        shop: the model and the pictures.
        host: the address to listen on; the default can be reached from this machine only.
        port: the first free one from 7860 on when not given.

    Raises InvalidOption where Gradio is missing or refuses to serve, the address is not this machine's, or the port is
    taken.
    """
    gr = gradio()
    from starlette.middleware import Middleware

    uploads = temporary_folder(FOLDER)
    os.environ["GRADIO_TEMP_DIR"] = uploads.name  # Gradio asks when its parts are made
    guard: Any = Middleware(Guard, host=host, folder=Path(uploads.name))  # pyright: ignore[reportArgumentType]
    visitors = Visitors(shop)
    try:
        demo, url = _launched(lambda: _Page(gr, visitors).build(), _theme(gr), guard, host, port)
    except InvalidOption:
        uploads.cleanup()
        raise

    def close() -> None:
        demo.close(verbose=False)
        shop.desk.close()  # before the files of its jobs go
        visitors.close()
        uploads.cleanup()

    return Running(url, close)


def _launched(build: Callable[[], Any], theme: Any, guard: Any, host: str, port: int | None) -> tuple[Any, str]:
    """The page and its address. Where no port was asked for and another process took ours meanwhile, the next one."""
    while True:
        wanted = free_port(host, port)
        try:
            demo = build()
            _, url, _ = demo.queue(default_concurrency_limit=None, api_open=False).launch(
                server_name=f"[{host}]" if ":" in host.strip("[]") else host,
                server_port=wanted,
                app_kwargs={"middleware": [guard]},
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                max_file_size=MOST_BYTES,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
                theme=theme,
                css=html.asset("explorer.css"),
            )
        except Exception as error:  # of whatever kind: a proxy between this machine and itself, for example
            if port is None and isinstance(error, OSError) and is_taken(host, wanted):
                continue
            raise InvalidOption(f"the page cannot be served at {host}, port {wanted}: {first_line(error)}") from error
        return demo, url


def gradio() -> Any:
    """The package, with its telemetry off. Raises InvalidOption where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise InvalidOption(f"the explorer needs gradio ({error}): pip install 'neuronscope[app]'") from error
    return gradio


def _theme(gr: Any) -> Any:
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=system, font_mono=["ui-monospace", "monospace"]
    )


class _Page:
    """Components by the name of their part, and the events.

    Handlers are generators, which Gradio recognises by their code: they are lambdas, which no decorator (such as the
    shape checker of the tests) hides in a function of its own.
    """

    def __init__(self, gr: Any, visitors: Visitors) -> None:
        self._gr = gr
        self._visitors = visitors
        self._parts: dict[str, Any] = {}

    def build(self) -> Any:
        gr = self._gr
        with gr.Blocks(
            title="neuronscope explorer", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
        ) as demo:
            self._lay_out()
            self._connect(demo)
        return demo

    def _lay_out(self) -> None:
        gr, made = self._gr, self._parts
        listen = html.asset("list.js")
        model = self._visitors.shop.desk.vlm.id

        def piece(name: str, **options: Any) -> None:
            made[name] = gr.HTML("", apply_default_css=False, elem_id=f"ns-{name}", **{"js_on_load": listen, **options})

        gr.HTML(html.render("head.html", model=model), apply_default_css=False, js_on_load=None)
        with gr.Row(elem_id="ns-top"):
            piece("status", js_on_load=None, scale=8)
            made["cancel"] = gr.Button("Cancel", scale=1, min_width=90, interactive=False, size="sm")
            made["undo"] = gr.Button("Undo", scale=1, min_width=90, interactive=False, size="sm")
        if self._visitors.shop.index is not None:
            with gr.Column(elem_classes="ns-card"):
                made["address"] = gr.Textbox(
                    label="Any neuron of the index, such as L12.U405 (press Enter)",
                    max_lines=1,
                    max_length=LONGEST_WORD,
                )
                piece("profile", js_on_load=None)
        else:
            piece("profile", js_on_load=None, visible=False)
        with gr.Row():
            with gr.Column(scale=5, min_width=330):
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "1", "Pick a picture")
                    piece("shelf")
                    made["upload"] = gr.UploadButton("Upload a picture", file_types=["image"], size="sm")
                    piece("caption")
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "2", "Mark the object")
                    marking = {"html_template": html.render("canvas.html"), "js_on_load": html.asset("canvas.js")}
                    piece("canvas", **marking)
                    made["seek"] = gr.Textbox(
                        label="Or find it by a word (press Enter)",
                        max_lines=1,
                        max_length=LONGEST_WORD,
                        visible=self._visitors.shop.detector is not None,
                    )
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "3", "Find its neurons")
                    made["concept"] = gr.Textbox(
                        label="The object, as a caption names it", max_lines=1, max_length=LONGEST_WORD
                    )
                    with gr.Accordion("Method and thresholds", open=False):
                        self._settings()
                    made["locate"] = gr.Button("Locate neurons", variant="primary", interactive=False)
                    piece("pictures")
            with gr.Column(scale=7, min_width=330):
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "4", "Watch the caption change")
                    piece("said")
                    self._sliders()
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "5", "Look at the neurons")
                    piece("neuron")
                    piece("neurons")
                with gr.Column(elem_classes="ns-card"):
                    _title(gr, "6", "Take it with you")
                    self._downloads()
                    piece("again")

    def _settings(self) -> None:
        gr, made, usual = self._gr, self._parts, Question()
        made["method"] = gr.Dropdown(list(OFFERED), value=usual.method, label="Method")
        made["rule"] = gr.Radio(list(RULES), value=usual.rule, label="Thresholds")
        made["q"] = gr.Slider(0.01, 0.45, value=usual.q, step=0.01, label="Accepted share of false finds")
        made["budget"] = gr.Slider(1, 300, value=usual.budget, step=1, label="Neurons a stage", visible=False)
        made["keep"] = gr.Slider(1, 300, value=usual.count, step=1, label="Neurons to keep", visible=False)
        made["edit"] = gr.Dropdown(list(EDITS), value=usual.edit, label="How the object is taken out")

    def _sliders(self) -> None:
        gr, made = self._gr, self._parts
        made["operation"] = gr.Radio(
            list(OPERATIONS), value="noise", label="What is done to the located neurons", interactive=False
        )
        with gr.Row():
            made["level"] = gr.Slider(0, 20, value=0, label="Noise level, activation units", interactive=False)
            made["factor"] = gr.Slider(-4, 4, value=2, step=0.1, label="Factor", visible=False, interactive=False)
            made["word"] = gr.Textbox(
                label="Exchange the word for (press Enter)", max_lines=1, max_length=LONGEST_WORD, visible=False
            )
            made["count"] = gr.Slider(1, 2, value=1, step=1, label="How many neurons, best first", interactive=False)

    def _downloads(self) -> None:
        gr, made = self._gr, self._parts
        with gr.Row():
            made["get_neurons"] = gr.DownloadButton("neurons.json", interactive=False, size="sm", min_width=130)
            made["report"] = gr.Button("Make the report", interactive=False, size="sm", min_width=130)
            made["get_report"] = gr.DownloadButton("Report", interactive=False, size="sm", min_width=130)
            made["get_archive"] = gr.DownloadButton("Everything (zip)", interactive=False, size="sm", min_width=130)

    def _connect(self, demo: Any) -> None:
        gr, made = self._gr, self._parts
        outputs = list(made.values())

        def on(listen: Callable[..., Any], handler: Callable[..., Any], inputs: list[str] | None = None) -> None:
            listen(
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
        on(made["canvas"].marked, self._event(self._mark))
        on(made["canvas"].pointed, self._event(self._point))
        on(made["seek"].submit, self._handler(self._seek), ["seek"])
        for event in (made["locate"].click, made["concept"].submit):
            on(event, self._handler(self._locate), list(_ASKED))
        on(made["operation"].input, self._handler(self._change), list(_CHANGED))
        for name in ("level", "factor", "count"):
            on(made[name].release, self._handler(self._change), list(_CHANGED))
        on(made["word"].submit, self._handler(self._change), list(_CHANGED))
        for name in ("neurons", "neuron"):
            on(made[name].pressed, self._event(self._choose))
        on(made["report"].click, simple(Session.report))
        on(made["cancel"].click, simple(Session.cancel))
        on(made["undo"].click, simple(Session.undo))
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        made["caption"].pressed(self._event(self._name), None, made["concept"], **quiet)
        thresholds = [made[name] for name in ("rule", "q", "budget", "keep")]
        for name in ("method", "rule"):
            made[name].input(self._choices, [made["method"], made["rule"]], thresholds, **quiet)

        def leave(request: Any) -> None:
            self._visitors.leave(request.session_hash)

        leave.__annotations__ = {"request": gr.Request}
        demo.unload(leave)

    def _handler(self, act: Handler) -> Any:
        """A function that Gradio gives the request, by its annotation; `act` gets the tab's name and the values."""
        made: Any = lambda request, *values: (yield from act(request.session_hash, *values))  # noqa: E731
        made.__annotations__ = {"request": self._gr.Request}
        return made

    def _arrival(self) -> Any:
        """What is done for a page that was opened: a neuron may be named in its address, as ?neuron=12.405."""
        made: Any = lambda request: (  # noqa: E731
            yield from self._look(request.session_hash, dict(request.query_params or {}).get("neuron", ""))
        )
        made.__annotations__ = {"request": self._gr.Request}
        return made

    def _look(self, tab: str, address: object) -> Iterator[Any]:
        named = str(address).strip()[:LONGEST_WORD]
        yield from self._follow(tab, lambda session: session.look(named) if named else None)

    def _event(self, act: Handler) -> Any:
        """The same for an event that brings data with it, such as which button was pressed."""
        made: Any = lambda request, event: (yield from act(request.session_hash, _data(event)))  # noqa: E731
        made.__annotations__ = {"request": self._gr.Request, "event": self._gr.EventData}
        return made

    def _shelf(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        if "page" not in data:
            yield from self._follow(tab, lambda session: session.pick(whole(data.get("pick"))))
            return
        visitor = self._visitors.of(tab)
        visitor.page = min(max(0, whole(data["page"])), self._visitors.shop.shelf.pages - 1)
        yield self._sent(visitor.news())

    def _upload(self, tab: str, path: str) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.upload(path))

    def _mark(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        visitor = self._visitors.of(tab)
        visitor.act(lambda session: session.mark(Marks.parse(data.get("marks"), session.state.marks.finds)))
        visitor.drawn()
        yield self._sent(visitor.news())

    def _point(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.point(*point_of(data)))

    def _seek(self, tab: str, word: str) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.seek(word))

    def _name(self, _tab: str, data: dict[str, Any]) -> Iterator[Any]:
        yield str(data.get("noun", ""))[:LONGEST_WORD]

    def _choose(self, tab: str, data: dict[str, Any]) -> Iterator[Any]:
        yield from self._follow(tab, lambda session: session.choose(neuron_of(data.get("neuron"))))

    def _locate(self, tab: str, *values: Any) -> Iterator[Any]:
        self._visitors.of(tab).told(dict(zip(_ASKED, values, strict=True)))
        asked = {_ASKED[name]: value for name, value in zip(_ASKED, values, strict=True)}
        yield from self._follow(tab, lambda session: session.locate(Question(**asked)))

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

    def _follow(self, tab: str, action: Callable[[Session], object]) -> Iterator[Any]:
        """Do something, then tell the page what is new until it is done."""
        visitor = self._visitors.of(tab)
        job = visitor.act(action)
        yield self._sent(visitor.news())
        if job is None:
            return
        while not job.over and visitor.watches(job):
            self._visitors.shop.desk.watch(_PULSE)
            if new := visitor.news():
                yield self._sent(new)
        if visitor.watches(job):
            yield self._sent(visitor.news(again=True))

    def _sent(self, parts: dict[str, Any]) -> dict[Any, Any]:
        update = self._gr.update
        return {
            self._parts[name]: update(**part) if isinstance(part, dict) else update(value=part)
            for name, part in parts.items()
        } or {self._parts["status"]: update()}


def _title(gr: Any, number: str, text: str) -> None:
    gr.HTML(html.render("title.html", number=number, text=text), apply_default_css=False, js_on_load=None)


def _data(event: Any) -> dict[str, Any]:
    """What an event brought from the browser."""
    found = event._data
    return found if isinstance(found, dict) else {}

"""Where the parts of the page stand, and what is written on them. What they do is in handlers.py.

Pictures and marks are on the left; what is asked for, and all that comes of it, on the right, one below the other, so
that captions appear beside the button that made them.
"""

from __future__ import annotations

from typing import Any

from . import html
from .forms import OFFERED, OPERATIONS, RULES
from .link import LONGEST_QUESTION, LONGEST_WORD
from .workshop import Workshop


def lay_out(gr: Any, shop: Workshop) -> dict[str, Any]:
    """Make all parts, inside the page that is being made; the components by the name of their part."""
    return _Layout(gr, shop).made


class _Layout:
    def __init__(self, gr: Any, shop: Workshop) -> None:
        self._gr = gr
        self.made: dict[str, Any] = {}
        self._top(shop)
        with gr.Row():
            with gr.Column(scale=5, min_width=330):
                with gr.Column(elem_classes="ns-card"):
                    self._title("1", "Pick a picture")
                    self._picture(shop)
                with gr.Column(elem_classes="ns-card"):
                    self._title("2", "Mark the object")
                    self._marks(shop)
            with gr.Column(scale=7, min_width=330):
                with gr.Column(elem_classes="ns-card"):
                    self._title("3", "Find its neurons")
                    self._question(shop)
                with gr.Column(elem_classes="ns-card"):
                    self._title("4", "Watch the caption change")
                    self._piece("said")
                    self._downloads()
                    self._sliders()
                with gr.Column(elem_classes="ns-card"):
                    self._title("5", "Look at the neurons")
                    self._piece("neuron")
                    self._piece("neurons")
                with gr.Column(elem_classes="ns-card"):
                    self._title("6", "Make it again")
                    self._piece("again")
                    self._piece("link", js_on_load=html.asset("link.js"))
                with gr.Column(elem_classes="ns-card"):
                    self._text("terms.html", terms=html.explained())

    def _piece(self, name: str, **options: Any) -> None:
        """A part that is a text; its buttons tell when they are pressed."""
        chosen = {"js_on_load": html.asset("list.js"), "apply_default_css": False, **options}
        self.made[name] = self._gr.HTML("", elem_id=f"ns-{name}", **chosen)

    def _text(self, template: str, **context: Any) -> None:
        """A text that never changes."""
        self._gr.HTML(html.render(template, **context), apply_default_css=False, js_on_load=None)

    def _title(self, number: str, text: str) -> None:
        self._text("title.html", number=number, text=text)

    def _field(self, name: str, label: str, longest: int = LONGEST_WORD, **options: Any) -> None:
        """A line to type in."""
        self.made[name] = self._gr.Textbox(label=label, max_lines=1, max_length=longest, **options)

    def _top(self, shop: Workshop) -> None:
        gr, made = self._gr, self.made
        self._text("head.html", model=shop.desk.vlm.id)
        with gr.Row(elem_id="ns-top"):
            self._piece("status", js_on_load=None, scale=8)
            made["cancel"] = gr.Button("Cancel", scale=1, min_width=90, interactive=False, size="sm")
            made["undo"] = gr.Button("Undo", scale=1, min_width=90, interactive=False, size="sm")
        if shop.index is not None:
            with gr.Column(elem_classes="ns-card"):
                self._field("address", "Any neuron of the index, such as L12.U405 (press Enter)")
                self._piece("profile", js_on_load=None)
        else:
            self._piece("profile", js_on_load=None, visible=False)

    def _picture(self, shop: Workshop) -> None:
        self._piece("shelf")
        self.made["upload"] = self._gr.UploadButton("Upload a picture", file_types=["image"], size="sm")
        self._piece("caption")
        usual = shop.decoding
        with self._gr.Row(elem_classes="ns-asked"):
            self._field(
                "asked", "Ask a question (press Enter)", LONGEST_QUESTION, placeholder="nothing: a caption",
                value=usual.question, min_width=150,
            )  # fmt: skip
            self._field(
                "prefix", "The answer begins with", LONGEST_QUESTION, placeholder=html.USUAL_PREFIX,
                value=usual.prefix or "", min_width=150,
            )  # fmt: skip

    def _marks(self, shop: Workshop) -> None:
        self._piece("canvas", html_template=html.render("canvas.html"), js_on_load=html.asset("canvas.js"))
        self._field("seek", "Or find it by a word (press Enter)", visible=shop.detector is not None)
        self._piece("pictures")

    def _question(self, shop: Workshop) -> None:
        gr, made, usual = self._gr, self.made, shop.usual
        self._field("concept", "The object, as a caption names it")
        with gr.Accordion("Method and thresholds", open=False):
            made["method"] = gr.Dropdown(list(OFFERED), value=usual.method, label="Method")
            made["rule"] = gr.Radio(list(RULES), value=usual.rule, label="Thresholds")
            made["q"] = gr.Slider(0.01, 0.45, value=usual.q, step=0.01, label="Accepted share of false finds")
            made["budget"] = gr.Slider(1, 300, value=usual.budget, step=1, label="Neurons a stage", visible=False)
            made["keep"] = gr.Slider(1, 300, value=usual.count, step=1, label="Neurons to keep", visible=False)
            made["edit"] = gr.Dropdown(list(shop.edits), value=usual.edit, label="How the object is taken out")
            self._text("rules.html")
        made["locate"] = gr.Button("Locate neurons", variant="primary", interactive=False)

    def _sliders(self) -> None:
        gr, made = self._gr, self.made
        made["operation"] = gr.Radio(
            list(OPERATIONS), value="patch", label="What is done to the located neurons", interactive=False
        )
        with gr.Row():
            made["level"] = gr.Slider(0, 20, value=0, label="Noise level, activation units", interactive=False)
            made["factor"] = gr.Slider(-4, 4, value=2, step=0.1, label="Factor", visible=False, interactive=False)
            self._field("word", "Exchange the word for (press Enter)", visible=False)
            made["count"] = gr.Slider(1, 2, value=1, step=1, label="How many neurons, best first", interactive=False)

    def _downloads(self) -> None:
        """One step from a result to a file: a button makes what is not made yet, and a hidden one hands it over."""
        gr, made = self._gr, self.made
        with gr.Row(elem_classes="ns-take"):
            for kind, label in (("report", "Save as a page"), ("archive", "Save everything (zip)")):
                made[kind] = gr.Button(label, interactive=False, size="sm", min_width=130)
                made[f"get_{kind}"] = gr.DownloadButton(
                    label, interactive=False, elem_id=f"ns-get-{kind}", elem_classes="ns-hidden"
                )
            made["get_neurons"] = gr.DownloadButton("neurons.json", interactive=False, size="sm", min_width=130)

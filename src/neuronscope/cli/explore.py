"""`neuronscope explore`: the local page on which a person points at an object and watches the caption change."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options import Asking, Loading, Reading, made
from ..studies.locate.picture import OnePicture
from ..studies.locate.pointing import Pointing, finder_names
from .output import JsonOption, emit, lines, open_model
from .takes import Given, flag, takes

if TYPE_CHECKING:
    from PIL import Image

    from ..explorer import ListedPicture, Marks, Question
    from ..models.decoding import Decoding
    from ..report import Origin

#: What ends a process from outside; SIGHUP comes from a terminal that closes, and does not exist everywhere.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
#: Concepts of the scenes on offer; the bundled model names each of them.
_SCENES = (
    "bear", "giraffe", "horse", "bus", "pizza", "umbrella",
    "surfboard", "airplane", "laptop", "cake", "bicycle", "vase",
)  # fmt: skip


@takes(Asking, Loading)
def run(
    parsed: Given,
    images: Annotated[Path | None, typer.Option("--images", help="A folder of your pictures to choose from.")] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="Folder of `neuronscope index`: any neuron by address, ?neuron=12.405."),
    ] = None,
    allow_outside: Annotated[bool, flag(Reading, "allow_outside")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The first free one from 7860 on.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than you can reach 0.0.0.0.")] = (
        "127.0.0.1"
    ),
    detector: Annotated[str | None, flag(Pointing, "detector")] = None,
    segmenter: Annotated[str | None, flag(Pointing, "segmenter")] = None,
    edit: Annotated[str, flag(OnePicture, "edit")] = OnePicture.edit,
    as_json: JsonOption = False,
) -> None:
    """Serve the explorer until Ctrl-C. It listens on this machine only, unless another --host is given.

    With a detector a word marks the object, with a segmenter a click does. --edit is what is chosen first on the page.
    """
    from ..explorer import Desk, Shelf, Workshop
    from ..explorer.address import InvalidHost, free_port
    from ..explorer.app import gradio, serve
    from ..explorer.guard import is_loopback
    from ..explorer.picture_list import folder
    from ..index import NeuronIndex
    from ..models.decoding import Decoding
    from ..regions import Detector, Segmenter
    from ..samples.inpainters import require_edit

    require_edit("edit", edit)
    gradio()  # missing packages, and an address that is not ours, are told before the model is loaded
    try:
        free_port(host, port)
    except InvalidHost as error:
        raise typer.BadParameter(str(error), param_hint="--host, --port") from error
    own = folder(images, allow_outside=allow_outside) if images is not None else []
    asking, loading = made(Asking, parsed), made(Loading, parsed)
    entries = offered(loading.model, own)
    opened = None if index is None else NeuronIndex.load(index)
    finds, draws = finder_names(detector, segmenter)
    found = None if finds is None else Detector(finds, loading.device)
    drawn = None if draws is None else Segmenter(draws, loading.device)
    vlm = open_model(loading)
    if opened is not None:
        opened.require_own(vlm)
    origin = partial(origin_of, loading)
    with _ended_by_signals():
        shop = Workshop(Desk(vlm), Shelf(entries), origin, Decoding.asked(asking), found, drawn, opened, edit)
        running = serve(shop, host=host, port=port)
        try:
            if not is_loopback(host):
                sys.stderr.write(f"neuronscope: everybody who can reach {host} can use this page\n")
            told = {"url": running.url, "model": loading.model}
            emit(f"The explorer is open at {running.url} until Ctrl-C ends it.", told, as_json, lambda: None)
            sys.stdout.flush()
            threading.Event().wait()
        except KeyboardInterrupt:
            lines("", "bye") if not as_json else None
        finally:
            running.close()


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """SIGTERM and a terminal that closes end the block as Ctrl-C does, so that temporary folders are removed."""

    def end(number: int, _: object) -> None:
        for one in _SIGNALS:  # a second one must not stop the tidying up
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {one: signal.signal(one, end) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def offered(model: str, own: list[ListedPicture]) -> list[ListedPicture]:
    """The shelf: a person's own pictures first, but with the bundled model the scenes, which are all that it knows."""
    return [*_scenes(), *own] if model == Loading.model else [*own, *_scenes()]


def _scenes() -> list[ListedPicture]:
    from ..explorer import ListedPicture

    return [ListedPicture(f"scene: {concept}", partial(_scene, concept)) for concept in _SCENES]


def _scene(concept: str) -> Image.Image:
    from ..studies.demo.scenes import scenes_of

    return scenes_of(concept, 1)[0].load()


def origin_of(loading: Loading, question: Question, picture: str, marks: Marks, decoding: Decoding) -> Origin:
    """How `neuronscope locate` makes a result of the explorer again."""
    from ..explorer.archive import MASK
    from ..studies.locate.settings import Locate

    drawn = bool(marks.strokes) or any(one.region.mask is not None for one in marks.finds)
    region: dict[str, Any] = {"mask": Path(MASK)} if drawn else {"boxes": marks.all_boxes}
    chosen: dict[str, Any] = {"concept": question.concept, "method": question.method, "edit": question.edit}
    return Locate(
        image=picture, **region, **chosen, **question.options(), **vars(loading), **vars(Asking.of(decoding))
    ).origin()

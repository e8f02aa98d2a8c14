"""The pieces of the page, as text. Templates escape everything; what they are given is plain data.

Texts come from models, file names and people. Gradio puts these pieces into the page as they are, so nothing here is
ever joined by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption, InvalidSample, UnsegmentedScript
from ..index import DescribedNeuron, NeuronIndex
from ..index.described import verdict
from ..models.decoding import CAPTION
from ..report.data_uri import mask_picture, photo, veil, with_boxes
from ..report.located import section
from ..report.marked import Piece, marked
from ..report.neurons import Album, tiles_of
from ..report.terms import TERMS, Term
from ..report.verdict import verdict as told
from ..types import Neuron
from .annotations import Find
from .archive import MASK, python, shell
from .jobs import Job
from .link import query
from .picture_list import Shelf, Thumbnail
from .session import Session
from .state import HERE, UPLOADED, Found, PictureAtHand, Seen, State
from .workshop import Workshop

if TYPE_CHECKING:
    from jinja2 import Environment


_PACKAGE = "neuronscope.explorer"
#: Longer side of the picture to mark, in pixels.
_LARGE = 768
#: And of a picture on the page of a neuron.
_TILE = 160
#: What an answer begins with where nothing is said of it.
USUAL_PREFIX = CAPTION
#: Terms that the page links to, all of which it explains.
_EXPLAINED = ("promoted-words", "noise-level", "layer-matched", "log-odds", "heat-map", "target-decoy")
#: Status of a job that is over -> what the user is told before the error's own text.
_OVER: Mapping[str, tuple[str, str]] = {
    "refused": ("refused", "Refused."),
    "failed": ("refused", "Failed."),
    "cancelled": ("quiet", "Cancelled."),
}


def asset(name: str) -> str:
    """A script or style sheet of the page."""
    return (files(_PACKAGE) / "assets" / name).read_text(encoding="utf-8")


def render(template: str, **context: Any) -> str:
    """A piece of the page."""
    return _environment().get_template(template).render(**context)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def status(session: Session, message: str = "") -> str:
    """What is going on, or what became of it; `message` is an error that kept work from being handed in."""
    if message:
        return render("status.html", kind="refused", job=None, title="Refused.", text=message)
    for job in (session.job, session.side):
        if job is not None and not job.over:
            return render("status.html", kind="busy", job=job, title="", text="")
    job = session.job
    if job is not None and job.status in _OVER:
        kind, title = _OVER[job.status]
        return render("status.html", kind=kind, job=None, title=title, text=_why(job))
    return render("status.html", kind="quiet", job=None, title="", text=_next(session.state))


def _why(job: Job[Any]) -> str:
    if job.status == "failed":
        return f"{type(job.error).__name__}: {job.error}"
    return str(job.error) if job.error is not None else "Nothing was changed."


def _next(state: State) -> str:
    """What a person can do now."""
    if state.picture is None:
        return "Pick a picture to begin."
    if not state.marks:
        return "Mark the object: draw a box around it, or brush over it."
    if state.found is None:
        return "Say what it is, and locate its neurons."
    if not len(state.found.evidence.neurons):
        return "No neuron passed. Try another threshold or method."
    return "Move a slider, or click a neuron."


def shelf(shown: Shelf, page: int, chosen: int | None) -> str:
    """Thumbnails to choose from."""
    return render("shelf.html", tiles=shown.page(page), page=page, pages=shown.pages, chosen=chosen)


def canvas(state: State, *, clicks: bool = False) -> str:
    """What the canvas needs, as JSON: the picture, its size, the marks, and whether a click can mark something."""
    if state.picture is None:
        return json.dumps(None)
    image = state.picture.image
    return json.dumps(
        {
            "picture": _photo_of(state.picture),
            "width": image.width,
            "height": image.height,
            "marks": state.marks.to_dict(),
            "finds": [_drawn(one) for one in state.marks.finds],
            "clicks": clicks,
        }
    )


@lru_cache(maxsize=32)  # finds are compared by identity
def _drawn(find: Find) -> dict[str, Any]:
    """A region's box and, where it has one, its outline as a picture to lay over the other."""
    mask = find.region.mask
    return {"box": list(find.region.box), "outline": None if mask is None else veil(mask, _LARGE)}


@lru_cache(maxsize=16)  # pictures are compared by identity, states share them, and nothing is drawn on them
def _photo_of(picture: PictureAtHand) -> str:
    return photo(picture.image, _LARGE)


def caption(state: State) -> str:
    """What the model says of the picture, and the nouns in it."""
    return render(
        "caption.html",
        picture=state.picture,
        caption=state.caption,
        notice=state.notice,
        nouns=state.nouns,
        asked=state.decoding.question,
        prompt=state.decoding.beginning,
        sent=state.sent,
    )


def said(state: State) -> str:
    """Captions before, after and under the control, side by side."""
    found, now = state.found, state.said
    concept = state.question.concept if found is None else found.question.concept
    words = state.change.says(concept)
    members = 0 if found is None else len(found.evidence.neurons[: state.change.count])
    located = bool(members)
    heard: dict[str, Sequence[str]] = {}
    if now is not None:
        done = "zero" if now.change.operation == "ablate" else now.change.operation
        heard = {done: now.after, f"random {done}": now.control}
    return render(
        "said.html",
        verdict=told(concept, members, lambda condition: heard.get(condition, ())) if heard else "",
        asked=state.decoding.question,
        prompt=state.decoding.beginning,
        before=None if state.caption is None else _lines([state.caption], concept),
        after=_lines(now.after, concept) if now is not None else None,
        control=_lines(now.control, concept) if now is not None and now.control else None,
        after_sub=f"{members} located neurons, {words}" if located else "the located neurons changed",
        control_sub=f"{members} random neurons of the same layers, {words}" if located else "random neurons changed",
        note="" if now is None else now.note,
    )


def _lines(texts: Sequence[str], concept: str) -> list[tuple[int, list[Piece]]]:
    """Equal captions once, with their number."""
    return [(count, _marked(text, concept)) for text, count in Counter(texts).items()]


def _marked(text: str, concept: str) -> list[Piece]:
    """Unmarked where the question cannot be answered while it is typed; locating says why."""
    try:
        return marked(text, concept) if concept else [Piece(text, False)]
    except (InvalidOption, UnsegmentedScript):
        return [Piece(text, False)]


def pictures(state: State) -> str:
    """The picture with its marks, without the object, and what the edit could change."""
    shown: list[tuple[str, str]] = []
    found = state.found
    if state.picture is not None and state.edited is not None:
        if found is not None:
            shown = list(_table(found)["pictures"])
        else:
            shown.append(("original", _photo_of(state.picture)))
            shown.append((f"without the {state.question.concept}", _photo_of(state.edited)))
    return render("pictures.html", pictures=shown)


@lru_cache(maxsize=8)  # found sets are compared by identity, and made once
def _table(found: Found) -> dict[str, Any]:
    shown = section(found.evidence, "located")
    rows = [
        {
            "number": k,
            "layer": row.layer,
            "unit": row.unit,
            "heat": row.heat,
            "peak": row.peak,
            "scores": row.scores,
            "words": row.words,
            "beside": row.beside,
            "quantile": row.quantile,
            "alone": row.detail.alone,
        }
        for k, row in enumerate(shown.rows)
    ]
    return {
        "rows": rows,
        "columns": shown.columns,
        "hidden": shown.hidden,
        "total": len(found.evidence.neurons),
        "concept": shown.concept,
        "method": found.evidence.neurons.method,
        "notes": found.evidence.notes,
        "meaning": [found.evidence.words.sentence, *([found.evidence.place.sentence] if found.evidence.place else [])],
        "tested": found.evidence.word is not None,
        "cuts": [(title, text) for title, text, _ in shown.thresholds],
        "background": photo(found.pair.original, 384),
        "ratio": shown.ratio,
        "pictures": (
            ("original", photo(with_boxes(found.pair.original, found.marks.all_boxes), 384)),
            (f"without the {found.question.concept}", photo(found.pair.edited, 384)),
            ("what the edit could change", mask_picture(found.pair.mask, 384)),
        ),
    }


def neurons(state: State) -> str:
    """The located neurons with their maps, as buttons."""
    if state.found is None:
        return render("neurons.html", rows=None)
    chosen = _number(state.found, state.chosen)
    used = state.change.count or len(state.found.evidence.neurons)
    return render("neurons.html", **_table(state.found), chosen=chosen, used=used)


def neuron(state: State, shown: Shelf, side: Job[Any] | None, *, indexed: bool = False) -> str:
    """The neuron that is looked at; `indexed`: it has a page of its own."""
    number = None if state.found is None else _number(state.found, state.chosen)
    if state.found is None or number is None or state.chosen is None:
        return render("neuron.html", row=None)
    table = _table(state.found)
    searching = side.stage if side is not None and not side.over else ""
    return render(
        "neuron.html",
        row=table["rows"][number],
        indexed=indexed,
        first=table["columns"][0] if table["columns"] else "score",
        background=table["background"],
        ratio=table["ratio"],
        tops=[(_tile(state, shown, seen), seen.activation) for seen in state.tops.get(state.chosen, ())],
        beside=[(_tile(state, shown, seen), seen.activation) for seen in state.beside.get(state.chosen, ())],
        note=state.note,
        searching=searching,
    )


def _tile(state: State, shown: Shelf, seen: Seen) -> Thumbnail:
    if seen.number != HERE or state.picture is None:
        return shown.tile(seen.number)
    return Thumbnail(HERE, state.picture.name, _photo_of(state.picture))


def profile(state: State, index: NeuronIndex | None) -> str:
    """The page of a neuron of the index."""
    return "" if state.page is None or index is None else _profile(state.page, index)


@lru_cache(maxsize=8)  # compared by identity
def _profile(found: DescribedNeuron, index: NeuronIndex) -> str:
    album = Album(index)
    sides = [(side, tiles_of(found, side, index)) for side in (found.own, found.random) if side is not None]
    numbers = {tile.picture for _, rows in sides for row in rows for tile in row}
    try:
        pictures = {number: album.style(number, _TILE) for number in numbers}
    except InvalidSample:  # gone since it was described
        pictures = {}
    return render("profile.html", found=found, verdict=verdict(found), sides=sides, pictures=pictures)


def _number(found: Found, neuron: Neuron | None) -> int | None:
    """Its row, where it has one: only the first neurons are shown."""
    members = list(found.evidence.neurons)[: len(found.evidence.units)]
    return members.index(neuron) if neuron in members else None


def again(state: State) -> str:
    """The equivalent Python and shell."""
    found = state.found
    if found is None:
        return render("again.html", python="")
    return render(
        "again.html",
        python=python(found, state),
        shell=shell(found),
        uploaded=UPLOADED in found.evidence.command,
        mask=MASK in found.evidence.command,
    )


def link(state: State, shop: Workshop) -> str:
    """The address that opens the same again, and what is not in it."""
    picture = state.picture
    missing = {
        "the picture, which was uploaded": picture is not None and picture.number is None,
        "what was brushed": bool(state.marks.strokes),
        "what was found by a word or a click": bool(state.marks.finds),
    }
    usual = State(decoding=shop.decoding, question=shop.usual)
    return render("link.html", query=query(state, usual), missing=[what for what, there in missing.items() if there])


def explained() -> list[Term]:
    """The terms of the page, as pages of results and the glossary explain them."""
    return [term for term in TERMS if term.anchor in _EXPLAINED]

"""The work behind what a person does: what a job asks the model, and what of the state is new after it.

Nothing here knows of sessions: what is asked is given, what is found is returned, as fields of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from ..caption import generate_captions
from ..errors import InvalidOption
from ..loading import VLM
from ..loading.world import notice
from ..locate import layer_matched
from ..locate.validity import valid_pair
from ..models.decoding import Decoding
from ..report import Origin, Test, gather, locate_watched, write_located
from ..samples.inpaint import counterfactual
from ..samples.nouns import noun_finder
from ..samples.sample import Sample
from .annotations import Marks
from .archive import bundle
from .forms import Change, Question, captions_under, other_word, usual_level
from .jobs import Job
from .picture_list import shrunk
from .state import UPLOADED, Found, PictureAtHand, Said, State
from .workshop import Workshop

#: Fields of a state and their new values.
Changes: TypeAlias = Mapping[str, Any]

#: What is no longer true when another question is asked.
NOTHING: Changes = {"found": None, "said": None, "chosen": None, "tops": {}, "beside": {}, "note": ""}


def captioned(vlm: VLM, image: Image.Image, decoding: Decoding) -> Changes:
    """What the model says of a picture, and the nouns in it."""
    text = generate_captions(vlm, [image], decoding=decoding)[0][0].text
    nouns = tuple(noun.text for noun in noun_finder().find(text, decoding.beginning))
    return {"caption": text, "nouns": nouns}


def taken(
    vlm: VLM,
    name: str,
    load: Callable[[], Image.Image],
    path: str,
    number: int | None,
    decoding: Decoding,
    job: Job[Any],
) -> Changes:
    """A picture, and what the model says of it; `number` is its place on the shelf."""
    job.step("reading the picture")
    whole = load()
    image = shrunk(whole)
    fresh: Changes = {
        **NOTHING,
        "picture": PictureAtHand(name, image, path if image is whole else UPLOADED, number),
        "marks": Marks(),
        "edited": None,
        "notice": notice(vlm, image),
        "caption": None,
        "nouns": (),
    }
    job.step("writing the caption", fresh)
    return {**fresh, **captioned(vlm, image, decoding)}


def located(
    shop: Workshop,
    picture: PictureAtHand,
    marks: Marks,
    question: Question,
    decoding: Decoding,
    folder: Callable[[], Path],
    job: Job[Any],
) -> Changes:
    """The neurons of a concept, and what is done to them first. `folder` makes one for the file of the set."""
    vlm = shop.desk.vlm
    job.step("taking the object out of the picture")
    mask = marks.mask(picture.image.size)
    boxes = marks.all_boxes if mask is None else ()
    sample = Sample(
        picture.image, question.concept, boxes=boxes, mask=mask, image_id=picture.name, found_by=marks.found_by
    )
    edit: Any = shop.inpainter(question)
    first = counterfactual(sample, edit)  # shown whatever becomes of it
    asked = {**NOTHING, "question": question, "edited": PictureAtHand(picture.name, first.edited, "")}
    job.step("locating neurons", asked)
    pair, validity = valid_pair(vlm, sample, edit, decoding=decoding)
    if validity.removal is not None:
        validity.removal.require()
    asked["edited"] = PictureAtHand(picture.name, pair.edited, "")
    made, curves = locate_watched(question.locator(decoding), vlm, pair, validity)
    named = replace(question, edit=edit)
    origin = replace(shop.origin(named, picture.path, marks, decoding), image=picture.name)
    job.step("maps of the neurons")
    evidence = gather(vlm, pair, made, curves, test=None, origin=origin, decoding=decoding)
    level = usual_level(vlm, picture.image, made.neurons)
    path = folder() / "neurons.json"
    made.neurons.save(path)
    found = Found(question, marks, pair, made, evidence, level, {"neurons": path})
    word = other_word(vlm, picture.image, question.concept, decoding)
    return {
        **asked,
        "found": found,
        # What two-stage filtering asks of a set; noise does nothing, or everything, on models that nobody planted.
        "change": Change("patch", None, level, word=word),
        "chosen": made.neurons[0] if len(made.neurons) else None,
    }


def said(vlm: VLM, found: Found, change: Change, decoding: Decoding, job: Job[Any]) -> Changes:
    """What the model says with the located neurons changed, and with random ones."""
    job.step("captions with the located neurons changed", {"change": change, "said": None})
    neurons = found.evidence.neurons[: change.count]
    heard = Said(change, captions_under(vlm, found.pair, neurons, change, decoding))
    try:
        control = replace(layer_matched(vlm, neurons, change.seed), concept=neurons.concept)
    except InvalidOption as error:  # a layer with fewer neurons left than were located in it
        heard = replace(heard, note=f"there is no random control: {error}")
    else:
        job.step("captions with random neurons changed", {"change": change, "said": heard})
        heard = replace(heard, control=captions_under(vlm, found.pair, control, change, decoding))
    return {"change": change, "said": heard}


def reported(vlm: VLM, found: Found, state: State, folder: Callable[[], Path], job: Job[Any]) -> Changes:
    """The page to share, and an archive with everything. What was tested before is not tested again."""
    page = found.files.get("report")
    place = folder()
    if page is None:
        old = found.evidence
        evidence = gather(
            vlm,
            found.pair,
            found.located,
            old.curves,
            test=Test(found.level or None),
            origin=Origin(old.image, old.command, old.python, old.environment),
            decoding=state.decoding,
            step=job.step,
        )
        job.step("writing the page")
        page = write_located(evidence, place / "report.html")
        found = replace(found, evidence=evidence)
    archive = bundle(place / "neuronscope.zip", found, state, page)
    return {"found": replace(found, files={**found.files, "report": page, "archive": archive})}

"""What one person does in the explorer, without any page: every action is a job at the model's desk, or done at once.

An action that is cancelled, refused or fails leaves the state as it was. A new action of the same person cancels the
one before, so that dragging a slider twice asks the model once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from ..caption import generate_captions
from ..errors import InvalidOption, InvalidSample
from ..files import temporary_folder
from ..index import NeuronIndex, describe
from ..loading.world import notice
from ..locate import layer_matched
from ..locate.validity import valid_pair
from ..models.decoding import Decoding
from ..regions import Detector, Segmenter
from ..report import Origin, Test, gather, locate_watched, write_located
from ..samples.inpaint import counterfactual
from ..samples.nouns import noun_finder
from ..samples.sample import Sample
from ..types import Neuron, Neurons
from .annotations import Find, Marks
from .archive import bundle
from .forms import Change, Question, captions_under, other_word, usual_level
from .jobs import Desk, Job
from .movers import movers
from .picture_list import Shelf, limited, shrunk
from .seeking import by_click, by_word
from .state import Found, Picture, Said, State

#: What the explorer calls its folders for temporary files.
FOLDER = "neuronscope-explorer"
#: States that undo can go back to.
_REMEMBERED = 30
#: Fields of a state and their new values.
Changes: TypeAlias = Mapping[str, Any]
Work: TypeAlias = Callable[[Job[Changes]], Changes]

#: What is no longer true when another question is asked.
_NOTHING: Changes = {"found": None, "said": None, "chosen": None, "tops": {}, "beside": {}, "note": ""}
#: A job that has committed its main result already completes it with the rest.
_COMPLETES = "completes"
_LATER: Changes = {_COMPLETES: True}
#: What a picture without a file of its own is called in commands.
UPLOADED = "image.png"


@dataclass(frozen=True)
class Workshop:
    """What all sessions share.

    Attributes:
        desk: the model and its queue.
        shelf: the pictures on offer.
        origin: how to make a result again, from the question, the picture's path and the marks.
        decoding: what the model is asked about every picture.
        detector: marks an object by a word; None where there is none.
        segmenter: outlines what was found, and what lies under a click; None likewise.
        index: what `neuronscope index` noted of its neurons; None where none was given.
    """

    desk: Desk
    shelf: Shelf
    origin: Callable[[Question, str, Marks], Origin]
    decoding: Decoding = field(default_factory=Decoding)
    detector: Detector | None = None
    segmenter: Segmenter | None = None
    index: NeuronIndex | None = None


class Session:
    """One person's work; see the module.

    Attributes:
        state: what is known.
        job: the last job that was asked for.
        side: the last search for a neuron's best pictures, which may go on beside other work.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.state = State(decoding=shop.decoding, sent=shop.desk.vlm.sent(shop.decoding))
        self.job: Job[Changes] | None = None
        self.side: Job[Changes] | None = None
        self._past: list[State] = []
        self._lock = threading.RLock()
        self._folder = temporary_folder(FOLDER)
        self._files = 0

    @property
    def undoable(self) -> bool:
        """Whether there is something to go back to."""
        return bool(self._past)

    @property
    def shown(self) -> State:
        """The state, with what running jobs have to show so far."""
        with self._lock:
            state = self.state
            for job in (self.job, self.side):
                if job is not None and not job.over and job.shown:
                    state = replace(state, **job.shown)
            return state

    def close(self) -> None:
        """Cancel what is running and remove the session's files."""
        self.cancel()
        self._folder.cleanup()

    def cancel(self) -> None:
        """Stop what is running or waiting; the state stays as it was."""
        for job in (self.job, self.side):
            if job is not None and not job.over:
                job.cancel()

    def undo(self) -> State:
        """Go back by one action."""
        with self._lock:
            self.cancel()
            if self._past:
                self.state = self._past.pop()
            return self.state

    def pick(self, number: int) -> Job[Changes]:
        """Take a picture of the shelf and caption it."""
        entry = self.shop.shelf.entry(number)
        return self._take(entry.name, entry.load, entry.path or UPLOADED, number)

    def upload(self, path: str | Path, name: str = "") -> Job[Changes]:
        """Take a picture of the user's and caption it. The job is refused where it is too large or no picture."""
        return self._take(name or Path(path).name, partial(limited, path), UPLOADED, None)

    def mark(self, marks: Marks) -> State:
        """Where the concept is. Raises InvalidSample where there is no picture."""
        with self._lock:
            self._picture()
            if marks != self.state.marks:
                self._commit({"marks": marks})
            return self.state

    def seek(self, word: str) -> Job[Changes]:
        """Mark what a detector finds of a word. Raises InvalidSample where there is no picture or word."""
        picture = self._picture()
        if not word.strip():
            raise InvalidSample("type the word to look for")

        def work(job: Job[Changes]) -> Changes:
            find = by_word(picture.image, word, self.shop.detector, self.shop.segmenter)
            question = replace(self.state.question, concept=word.strip())
            return {"marks": self._with(find), "question": question}

        return self._start(f"looking for “{word.strip()}”", work)

    def point(self, x: float, y: float) -> Job[Changes]:
        """Mark what lies under a click, in pixels. Raises InvalidSample where there is no picture."""
        picture = self._picture()

        def work(job: Job[Changes]) -> Changes:
            return {"marks": self._with(by_click(picture.image, x, y, self.shop.segmenter))}

        return self._start("outlining what was clicked", work)

    def _with(self, find: Find) -> Marks:
        return replace(self.state.marks, finds=(*self.state.marks.finds, find))

    def locate(self, question: Question) -> Job[Changes]:
        """Find the neurons of a concept, and what the model says when they are disturbed.

        Raises InvalidSample before a picture is chosen, or where nothing is marked.
        """
        picture, marks = self._picture(), self.state.marks
        if not question.concept.strip():
            raise InvalidSample("the concept is empty; type the word to find neurons for, as the caption says it")
        if not marks:
            raise InvalidSample(f"nothing is marked: draw a box around the {question.concept}, or brush over it")
        name = f"locating neurons of “{question.concept}”"
        return self._start(name, partial(self._locate, picture, marks, question))

    def change(self, change: Change) -> Job[Changes]:
        """Do something to the located neurons and to their control, and caption the picture under both."""
        found = self._found()
        if self.job is not None and not self.job.over:  # the captions of the settings before
            self.job.cancel()
        return self._start("captions under the change", partial(self._say, found, change), alone=False)

    def choose(self, neuron: Neuron) -> Job[Changes] | None:
        """Look at one neuron: its map and tokens at once, its best pictures by a job; None if known."""
        found = self._found()
        if neuron not in found.evidence.neurons:
            raise InvalidOption(f"{neuron} is not one of the located neurons")
        with self._lock:
            if neuron != self.state.chosen:
                self._commit({"chosen": neuron})
            if self.state.tops or (self.side is not None and not self.side.over):
                return self.side
            self.side = self._submit(
                "pictures that move these neurons", partial(self._tops, found, self._picture()), same=True
            )
            return self.side

    def look(self, address: str) -> Job[Changes]:
        """Show the page of any neuron of the index.

        Raises InvalidOption where there is no index or this is no address, NeuronOutOfRange for one that it has not.
        """
        index = self.shop.index
        if index is None:
            raise InvalidOption("no index is open: start with --index FOLDER, which `neuronscope index` makes")
        neurons = Neurons.at(address)
        index.require_part(neurons)

        def work(job: Job[Changes]) -> Changes:
            (found,) = describe(self.shop.desk.vlm, index, list(neurons), step=job.step)
            return {"page": found}

        return self._start(f"the page of {neurons[0]}", work, same=True)

    def report(self) -> Job[Changes]:
        """Test every neuron alone and make the page to share, and an archive with everything in it."""
        found = self._found()
        return self._start("testing neurons for the report", partial(self._report, found), same=True)

    def _take(self, name: str, load: Callable[[], Image.Image], path: str, number: int | None) -> Job[Changes]:
        def work(job: Job[Changes]) -> Changes:
            job.step("reading the picture")
            whole = load()
            image = shrunk(whole)
            picture = Picture(name, image, path if image is whole else UPLOADED, number)
            fresh: Changes = {
                **_NOTHING,
                "picture": picture,
                "marks": Marks(),
                "edited": None,
                "notice": notice(self.shop.desk.vlm, image),
                "caption": "",
                "nouns": (),
            }
            job.step("writing the caption", fresh)
            text = generate_captions(self.shop.desk.vlm, [picture.image], decoding=self.shop.decoding)[0][0].text
            nouns = tuple(noun.text for noun in noun_finder().find(text, self.shop.decoding.beginning))
            question = replace(self.state.question, concept=nouns[0] if nouns else "")
            return {**fresh, "caption": text, "nouns": nouns, "question": question}

        return self._start("reading the picture", work)

    def _locate(self, picture: Picture, marks: Marks, question: Question, job: Job[Changes]) -> Changes:
        vlm = self.shop.desk.vlm
        job.step("taking the object out of the picture")
        mask = marks.mask(picture.image.size)
        boxes = marks.all_boxes if mask is None else ()
        sample = Sample(
            picture.image, question.concept, boxes=boxes, mask=mask, image_id=picture.name, found_by=marks.found_by
        )
        edit: Any = question.edit
        first = counterfactual(sample, edit)  # shown whatever becomes of it
        asked = {**_NOTHING, "question": question, "edited": Picture(picture.name, first.edited, "")}
        job.step("locating neurons", asked)
        pair, validity = valid_pair(vlm, sample, edit, decoding=self.shop.decoding)
        if validity.removal is not None:
            validity.removal.require()
        asked["edited"] = Picture(picture.name, pair.edited, "")
        located, curves = locate_watched(question.locator(self.shop.decoding), vlm, pair, validity)
        origin = replace(self.shop.origin(question, picture.path, marks), image=picture.name)
        job.step("maps of the neurons")
        evidence = gather(vlm, pair, located, curves, test=None, origin=origin, decoding=self.shop.decoding)
        level = usual_level(vlm, picture.image, located.neurons)
        found = Found(question, marks, pair, located, evidence, level)
        path = self._place() / "neurons.json"
        located.neurons.save(path)
        word = other_word(vlm, picture.image, question.concept, self.shop.decoding)
        change = Change("noise" if level else "ablate", None, level, word=word)
        answer: Changes = {
            **asked,
            "found": replace(found, files={"neurons": path}),
            "change": change,
            "chosen": located.neurons[0] if len(located.neurons) else None,
        }
        if not len(located.neurons):
            return answer
        with self._lock:  # what is found stays, whatever becomes of the captions
            job.check()
            self._commit(answer)
        return {**self._say(found, change, job), **_LATER}

    def _say(self, found: Found, change: Change, job: Job[Changes]) -> Changes:
        vlm, picture = self.shop.desk.vlm, found.pair.original
        job.step("captions with the located neurons changed", {"change": change, "said": None})
        neurons = found.evidence.neurons[: change.count]
        said = Said(change, captions_under(vlm, picture, neurons, change, self.shop.decoding))
        try:
            control = replace(layer_matched(vlm, neurons, change.seed), concept=neurons.concept)
        except InvalidOption as error:  # a layer with fewer neurons left than were located in it
            said = replace(said, note=f"there is no random control: {error}")
        else:
            job.step("captions with random neurons changed", {"change": change, "said": said})
            said = replace(said, control=captions_under(vlm, picture, control, change, self.shop.decoding))
        return {"change": change, "said": said}

    def _tops(self, found: Found, picture: Picture, job: Job[Changes]) -> Changes:
        shop = self.shop
        return movers(shop.desk.vlm, found, picture, shop.shelf, decoding=shop.decoding, step=job.step)

    def _report(self, found: Found, job: Job[Changes]) -> Changes:
        old = found.evidence
        origin = Origin(old.image, old.command, old.python, old.environment)
        evidence = gather(
            self.shop.desk.vlm,
            found.pair,
            found.located,
            old.curves,
            test=Test(found.level or None),
            origin=origin,
            decoding=self.shop.decoding,
            step=job.step,
        )
        job.step("writing the page")
        folder = self._place()
        page = write_located(evidence, folder / "report.html")
        tested = replace(found, evidence=evidence)
        archive = bundle(folder / "neuronscope.zip", tested, self.state, page)
        return {"found": replace(tested, files={**found.files, "report": page, "archive": archive})}

    def _place(self) -> Path:
        """A new folder, so that a file that is being downloaded is never written again."""
        self._files += 1
        folder = Path(self._folder.name) / str(self._files)
        folder.mkdir()
        return folder

    def _picture(self) -> Picture:
        if self.state.picture is None:
            raise InvalidSample("no picture is chosen yet")
        return self.state.picture

    def _found(self) -> Found:
        if self.state.found is None or not len(self.state.found.evidence.neurons):
            raise InvalidSample("no neurons are located yet")
        return self.state.found

    def _start(self, name: str, work: Work, *, same: bool = False, alone: bool = True) -> Job[Changes]:
        """Hand in a job in the place of the one before; `alone`: also of the search for pictures."""
        with self._lock:
            if alone:
                self.cancel()
            self.job = self._submit(name, work, same=same)
            return self.job

    def _submit(self, name: str, work: Work, *, same: bool) -> Job[Changes]:
        """`same`: the result only completes the state, so that undo does not stop at it."""

        def run(job: Job[Changes]) -> Changes:
            changes = dict(work(job))
            later = bool(changes.pop(_COMPLETES, same))
            with self._lock:
                job.check()  # from here on it is too late to cancel
                self._commit(changes, same=later)
            return changes

        return self.shop.desk.submit(name, run)

    def _commit(self, changes: Changes, *, same: bool = False) -> None:
        if not same and self.state.picture is not None:
            self._past = [*self._past, self.state][-_REMEMBERED:]
        self.state = replace(self.state, **changes)

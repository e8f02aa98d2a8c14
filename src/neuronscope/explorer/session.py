"""What one person does in the explorer, without any page: every action is a job at the model's desk, or done at once.

An action that is cancelled, refused or fails leaves the state as it was. A new action of the same person cancels the
one before, so that dragging a slider twice asks the model once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from ..errors import InvalidOption, InvalidSample
from ..files import temporary_folder
from ..index import describe
from ..models.decoding import Decoding
from ..types import Neuron, Neurons
from .annotations import Find, Marks
from .forms import Change, Question
from .jobs import Job
from .link import Link
from .movers import movers
from .picture_list import limited
from .seeking import by_click, by_word
from .state import UPLOADED, Found, PictureAtHand, State
from .work import NOTHING, Changes, captioned, located, reported, said, taken
from .workshop import Workshop

#: What the explorer calls its folders for temporary files.
FOLDER = "neuronscope-explorer"
#: States that undo can go back to.
_REMEMBERED = 30
Work: TypeAlias = Callable[[Job[Changes]], Changes]

#: A job that has committed its main result already completes it with the rest.
_COMPLETES = "completes"
_LATER: Changes = {_COMPLETES: True}


class Session:
    """One person's work; see the module.

    Attributes:
        state: what is known.
        job: the last job that was asked for.
        side: the last search for a neuron's best pictures, which may go on beside other work.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.state = State(decoding=shop.decoding, sent=shop.desk.vlm.sent(shop.decoding), question=shop.usual)
        self.job: Job[Changes] | None = None
        self.side: Job[Changes] | None = None
        self._past: list[State] = []
        self._asking: tuple[Job[Changes], Changes] | None = None
        self._reading: tuple[Job[Changes], Callable[[], Job[Changes]]] | None = None
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

    def ask(self, question: str, prefix: str | None = None) -> Job[Changes] | None:
        """Ask the model something else, from now on, and caption the picture at hand again.

        Args:
            question: what is asked; nothing for a caption.
            prefix: what the answer begins with, as :class:`neuronscope.Decoding` has it.

        Returns the job; None where there is no picture, or the same is asked already.

        Raises InvalidOption for what cannot be asked of this model.
        """
        asked = self._asked(question, prefix)
        with self._lock:
            picture, known = self.state.picture, self.state.question
            if self._asking is not None and not self._asking[0].over and self._asking[1] == asked:
                return self._asking[0]
            if asked["decoding"] == self.state.decoding:
                return None
            if self._reading is not None and not self._reading[0].over:  # of a picture that is being captioned
                self._commit(asked)
                return self._reading[1]()
            if picture is None:
                self._commit(asked)
                return None

        def work(job: Job[Changes]) -> Changes:
            job.step("writing the answer")
            changes = captioned(self.shop.desk.vlm, picture.image, asked["decoding"])
            concept = known.concept or next(iter(changes["nouns"]), "")
            return {**NOTHING, **asked, **changes, "edited": None, "question": replace(known, concept=concept)}

        job = self._start("asking the model", work, shown={**NOTHING, **asked, "caption": None, "nouns": ()})
        self._asking = job, asked
        return job

    def open(self, link: Link) -> Job[Changes] | None:
        """Go where an address leads: to a question, a picture with its marks, or a neuron. Nothing is located.

        Raises InvalidSample for a picture that is not on the shelf, and what :meth:`ask` and :meth:`look` raise.
        """
        if link.picture:
            number = self.shop.shelf.find(link.picture)
            entry = self.shop.shelf.entry(number)
            return self._take(entry.name, entry.load, entry.path or UPLOADED, number, link)
        if link.question != self.state.question:
            self._commit({"question": link.question})
        job = self.ask(link.asked, link.prefix) if link.asks else None
        return self.look(link.neuron) if link.neuron else job

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

        Raises InvalidSample before a picture is chosen, or where nothing is marked, and InvalidOption for a way to take
        the object out that is not offered here.
        """
        self.shop.inpainter(question)
        picture, marks = self._picture(), self.state.marks
        if not question.concept.strip():
            raise InvalidSample("the concept is empty; type the word to find neurons for, as the caption says it")
        if not marks:
            raise InvalidSample(f"nothing is marked: draw a box around the {question.concept}, or brush over it")
        name = f"locating neurons of “{question.concept}”"
        return self._start(
            name, partial(self._locate, picture, marks, question, self.state.decoding), shown={"question": question}
        )

    def change(self, change: Change) -> Job[Changes]:
        """Do something to the located neurons and to their control, and caption the picture under both."""
        found = self._found()
        if self.job is not None and not self.job.over:  # the captions of the settings before
            self.job.cancel()
        work = partial(said, self.shop.desk.vlm, found, change, self.state.decoding)
        return self._start("captions under the change", work, alone=False, shown={"change": change, "said": None})

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
            picture, decoding = self._picture(), self.state.decoding

            def work(job: Job[Changes]) -> Changes:
                return movers(self.shop.desk.vlm, found, picture, self.shop.shelf, decoding=decoding, step=job.step)

            self.side = self._submit("pictures that move these neurons", work, same=True)
            return self.side

    def look(self, address: str) -> Job[Changes]:
        """Show the page of any neuron of the index.

        Raises InvalidOption where there is no index or this is no address, NeuronOutOfRange for one that it has not.
        """
        neurons = self._address(address)
        return self._start(f"the page of {neurons[0]}", partial(self._described, neurons), same=True)

    def report(self) -> Job[Changes]:
        """Make the page to share, for which every neuron is tested alone, and an archive with everything in it."""
        found, state = self._found(), self.state

        def work(job: Job[Changes]) -> Changes:
            return reported(self.shop.desk.vlm, found, state, self._place, job)

        return self._start("testing neurons for the report", work, same=True)

    def _take(
        self,
        name: str,
        load: Callable[[], Image.Image],
        path: str,
        number: int | None,
        link: Link | None = None,
    ) -> Job[Changes]:
        asked: Changes = {}
        if self._asking is not None and not self._asking[0].over:  # asked of the picture before, and not answered yet
            asked = self._asking[1]
        if link is not None and link.asks:
            asked = self._asked(link.asked, link.prefix)
        decoding = asked.get("decoding", self.state.decoding)
        question = self.state.question if link is None else link.question
        neurons = self._address(link.neuron) if link is not None and link.neuron else None

        def work(job: Job[Changes]) -> Changes:
            changes = {**asked, **taken(self.shop.desk.vlm, name, load, path, number, decoding, job)}
            concept = question.concept if link is not None else ""
            changes["question"] = replace(question, concept=concept or next(iter(changes["nouns"]), ""))
            if link is not None:
                changes["marks"] = Marks(link.boxes)
            return changes if neurons is None else {**changes, **self._described(neurons, job)}

        job = self._start("reading the picture", work)
        self._reading = job, partial(self._take, name, load, path, number, link)
        return job

    def _asked(self, question: str, prefix: str | None) -> Changes:
        """What is asked, and how it is written. Raises InvalidOption for what cannot be asked of this model."""
        decoding = replace(self.shop.decoding, question=question.strip(), prefix=prefix)
        return {"decoding": decoding, "sent": self.shop.desk.vlm.sent(decoding)}

    def _address(self, text: str) -> Neurons:
        """The neurons that an address names, if the index has their kind."""
        index = self.shop.index
        if index is None:
            raise InvalidOption("no index is open: start with --index FOLDER, which `neuronscope index` makes")
        neurons = Neurons.at(text)
        index.require_part(neurons)
        return neurons

    def _described(self, neurons: Neurons, job: Job[Changes]) -> Changes:
        index = self.shop.index
        assert index is not None
        (found,) = describe(self.shop.desk.vlm, index, list(neurons), step=job.step)
        return {"page": found}

    def _locate(
        self, picture: PictureAtHand, marks: Marks, question: Question, decoding: Decoding, job: Job[Changes]
    ) -> Changes:
        answer = located(self.shop, picture, marks, question, decoding, self._place, job)
        found: Found = answer["found"]
        if not len(found.evidence.neurons):
            return answer
        with self._lock:  # what is found stays, whatever becomes of the captions
            job.check()
            self._commit(answer)
        return {**said(self.shop.desk.vlm, found, answer["change"], decoding, job), **_LATER}

    def _place(self) -> Path:
        """A new folder, so that a file that is being downloaded is never written again."""
        self._files += 1
        folder = Path(self._folder.name) / str(self._files)
        folder.mkdir()
        return folder

    def _picture(self) -> PictureAtHand:
        if self.state.picture is None:
            raise InvalidSample("no picture is chosen yet")
        return self.state.picture

    def _found(self) -> Found:
        if self.state.found is None or not len(self.state.found.evidence.neurons):
            raise InvalidSample("no neurons are located yet")
        return self.state.found

    def _start(
        self, name: str, work: Work, *, same: bool = False, alone: bool = True, shown: Changes | None = None
    ) -> Job[Changes]:
        """Hand in a job in the place of the one before; `alone`: also of the search for pictures.

        `shown` is what the user has said already, and must not see taken back while the job waits.
        """
        with self._lock:
            if alone:
                self.cancel()
            self.job = self._submit(name, work, same=same, shown=shown)
            return self.job

    def _submit(self, name: str, work: Work, *, same: bool, shown: Changes | None = None) -> Job[Changes]:
        """`same`: the result only completes the state, so that undo does not stop at it."""

        def run(job: Job[Changes]) -> Changes:
            changes = dict(work(job))
            later = bool(changes.pop(_COMPLETES, same))
            with self._lock:
                job.check()  # from here on it is too late to cancel
                self._commit(changes, same=later)
            return changes

        return self.shop.desk.submit(name, run, shown)

    def _commit(self, changes: Changes, *, same: bool = False) -> None:
        if not same and self.state.picture is not None:
            self._past = [*self._past, self.state][-_REMEMBERED:]
        self.state = replace(self.state, **changes)

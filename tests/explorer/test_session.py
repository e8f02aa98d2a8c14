"""What a person does in the explorer, on the bundled model, against the library called directly."""

from __future__ import annotations

import json
import re
import shlex
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from markupsafe import escape

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.cli.explore import origin_of
from neuronscope.errors import ConceptNotNamed, InvalidOption, InvalidSample
from neuronscope.explorer import (
    Change,
    Desk,
    Link,
    ListedPicture,
    Marks,
    Question,
    Session,
    Shelf,
    State,
    Stroke,
    Workshop,
    html,
)
from neuronscope.explorer.clients import Visitor, Visitors, parts
from neuronscope.explorer.link import query
from neuronscope.explorer.movers import movers
from neuronscope.explorer.state import HERE
from neuronscope.intervene import activations
from neuronscope.options import Loading
from neuronscope.samples import inpainters
from neuronscope.samples.scenes import CONCEPTS
from neuronscope.studies.demo.scenes import scenes_of
from report_samples import CLOSING, HOSTILE, IMAGE, SCRIPT, make_index

SOON = 120.0


@pytest.fixture(scope="module")
def bear():
    return scenes_of("bear", 1)[0]


@pytest.fixture(scope="module")
def shop(demo, bear):
    def broken():
        raise InvalidSample("the file is damaged")

    bus = scenes_of("bus", 1)[0].load()
    entries = [
        ListedPicture("bear", bear.load, "bear.png"),
        ListedPicture(f"{IMAGE}.png", lambda: bus),
        ListedPicture("broken", broken),
    ]
    made = Workshop(Desk(demo), Shelf(entries), lambda *asked: origin_of(Loading(), *asked))
    yield made
    made.desk.close()


@pytest.fixture
def session(shop):
    made = Session(shop)
    yield made
    made.close()


@pytest.fixture(scope="module")
def located(shop, bear):
    """A session in which the bear's neurons are located; tests that change it go back by undo."""
    made = Session(shop)
    assert made.pick(0).wait(SOON).status == "done"
    made.mark(Marks(bear.boxes))
    assert made.locate(Question("bear")).wait(SOON).status == "done"
    yield made
    made.close()


def test_a_picture_is_captioned_and_its_nouns_are_suggested(session, demo, bear):
    assert session.pick(0).wait(SOON).status == "done"
    state = session.state
    assert f"The image shows a {state.caption}" == demo.caption(bear.load())
    assert state.nouns[0] == state.question.concept == "bear"
    assert state.picture.path == "bear.png"


def test_what_is_located_is_what_the_library_locates(located, demo, bear):
    pair = ns.counterfactual(ns.Sample(bear.load(), "bear", boxes=bear.boxes))
    state = located.state
    expected = Question("bear").locator().locate(demo, pair, validity=state.found.located.validity).neurons
    assert list(state.found.evidence.neurons) == list(expected)
    assert np.array_equal(np.asarray(state.edited.image), np.asarray(pair.edited))
    assert ns.Neurons.load(state.found.files["neurons"]).addresses == expected.addresses
    control = ns.layer_matched(demo, expected)
    level = 2 * float(np.median(expected.scores["activation"]))
    for change in (state.change, replace(state.change, operation="noise")):
        if change.operation == "noise":
            assert located.change(change).wait(SOON).status == "done"
        said = located.state.said
        for texts, neurons in ((said.after, expected), (said.control, control)):
            if change.operation == "patch":
                written = demo.captions([bear.load()], ns.Patch.take(demo, neurons, pair.edited))
            else:
                (written,) = demo.captions([bear.load()], ns.Noise(neurons, level=level, draws=3))
            assert [f"The image shows a {text}" for text in texts] == written
        assert all("bear" not in text for text in said.after)
        assert all("bear" in text for text in said.control)
    located.undo()
    assert located.state.said.change.operation == "patch"


def test_ones_own_inpainter_takes_the_object_out(shop, bear, monkeypatch):
    monkeypatch.setitem(inpainters._REGISTERED, "own", inpainters.INPAINTERS["navier_stokes"])
    made = Session(Workshop(shop.desk, shop.shelf, shop.origin, edit="own"))
    try:
        assert made.state.question.edit == "own"
        assert made.pick(0).wait(SOON).status == "done"
        made.mark(Marks(bear.boxes))
        quick = replace(made.state.question, concept="bear", method="activation", count=2)
        assert made.locate(quick).wait(SOON).status == "done"
        assert made.state.found.pair.method == "own"
        assert "--edit own" in made.state.found.evidence.command
    finally:
        made.close()


def test_a_way_to_take_the_object_out_that_is_not_offered_is_refused(located, tmp_path):
    with pytest.raises(InvalidOption, match="edit='diffusion:other'"):
        located.locate(Question("bear", edit="diffusion:other"))


def test_pages_call_a_pipeline_by_its_folder_alone(shop, tmp_path):
    name = f"diffusion:{tmp_path / 'sd'}"
    made = replace(shop, edit=name)
    assert made.usual.edit == "diffusion:sd"
    assert list(made.edits) == [*inpainters.known_inpainters(), "diffusion:sd"]  # other tests register some
    assert made.inpainter(made.usual) == name


def test_a_slider_changes_the_captions_and_undo_brings_them_back(located):
    before = located.state
    assert located.change(Change("scale", 2, factor=1.0)).wait(SOON).status == "done"
    assert located.state.said.after == (before.caption,)
    assert located.state.change.count == 2
    assert located.undo() is before
    assert located.state.said == before.said


def test_a_later_change_takes_the_place_of_an_earlier(located):
    first = located.change(Change("ablate"))
    last = located.change(Change("ablate", 1))
    assert last.wait(SOON).status == "done"
    assert first.wait(SOON).status in ("cancelled", "done")
    assert located.state.said.change == Change("ablate", 1)
    while located.state.said.change.operation != "patch":
        located.undo()


def test_a_neuron_and_the_pictures_that_move_it_most(located, shop, demo):
    neurons = located.state.found.evidence.neurons
    job = located.choose(neurons[1])
    assert located.state.chosen == neurons[1]
    assert job.wait(SOON).status == "done"
    seen = located.state.tops[neurons[1]]
    naive = {k: activations(demo, shop.shelf.entry(k).load(), neurons)[:, 1].max() for k in (0, 1)}
    assert [one.number for one in seen] == sorted(naive, key=lambda k: -naive[k])
    assert [one.activation for one in seen] == pytest.approx(sorted(naive.values(), reverse=True), rel=1e-4)
    assert "1 pictures cannot be read" in located.state.note
    assert "the file is damaged" in located.state.note
    other = located.state.found.evidence.words.beside[1].neuron
    assert other.layer == neurons[1].layer
    random = activations(demo, shop.shelf.entry(0).load(), ns.Neurons((other,))).max()
    assert {one.number: one.activation for one in located.state.beside[neurons[1]]}[0] == pytest.approx(
        random, rel=1e-4
    )
    located.choose(neurons[0])
    assert located.state.tops[neurons[0]]
    shown = html.neuron(located.state, shop.shelf, None)
    assert "pictures that move the random neuron most" in shown
    assert shown.count("ns-tops") == 2
    assert f"a random neuron of its layer, {located.state.found.evidence.words.beside[0].neuron}, promotes" in shown
    assert located.state.found.evidence.words.sentence.split(":")[0] in html.neurons(located.state)
    with pytest.raises(InvalidOption, match="not one of the located"):
        located.choose(ns.Neuron(0, 0))


def test_scores_carry_their_names_where_a_narrow_page_has_no_heading(located):
    shown = html.neurons(located.state)
    for name in ("attribution", "activation", "gradient"):
        assert shown.count(f'data-name="{name}"') == shown.count("data-neuron=") > 0


def test_swap_starts_with_a_word_that_the_model_says(located, demo, bear):
    word = located.state.change.word
    assert word != "bear"
    logits = demo.logits(demo.prepare([bear.load()]))[0, -1]
    first = {one: int(demo.tokenizer(f" {one}", add_special_tokens=False).input_ids[0]) for one in CONCEPTS}
    others = [one for one in CONCEPTS if first[one] != first["bear"]]
    assert first[word] == first[max(others, key=lambda one: float(logits[first[one]]))]
    assert located.change(Change("swap", word=word)).wait(SOON).status == "done"
    assert "bear" not in located.state.said.after[0]
    located.undo()


def test_an_uploaded_picture_is_among_those_that_move_a_neuron(session, shop, bear, tmp_path):
    bear.load().save(tmp_path / "mine.png")
    assert session.upload(tmp_path / "mine.png").wait(SOON).status == "done"
    session.mark(Marks(bear.boxes))
    assert session.locate(Question("bear", method="activation", count=2)).wait(SOON).status == "done"
    chosen = session.state.found.evidence.neurons[0]
    assert session.choose(chosen).wait(SOON).status == "done"
    seen = {one.number: one.activation for one in session.state.tops[chosen]}
    assert set(seen) == {HERE, 0, 1}
    assert seen[HERE] == pytest.approx(seen[0], rel=1e-4)  # the same picture
    assert 'alt="mine.png"' in html.neuron(session.state, shop.shelf, None)


def test_the_whole_shelf_is_searched_and_what_is_best_so_far_is_shown(located, demo, bear, monkeypatch):
    """Of every picture a value drawn by chance, which is quicker than to read it."""
    picture, drawn = bear.load(), np.random.default_rng(0).permutation(53)
    left = iter(drawn)
    monkeypatch.setattr(
        "neuronscope.explorer.movers.activations",
        lambda vlm, image, neurons, **_: np.full((2, len(neurons)), float(next(left))),
    )
    shelf = Shelf([ListedPicture(f"{number}", lambda: picture) for number in range(53)])
    told = []
    found = movers(
        demo,
        located.state.found,
        located.state.picture,
        shelf,
        decoding=located.state.decoding,
        step=lambda stage, shown: told.append((stage, shown)),
    )
    assert told[-1][0] == "looking at picture 53 of 53"
    assert [shown.get("note", "") for _, shown in told[:4]] == [
        "",
        *(f"so far, of {k} of 53 pictures" for k in (1, 2, 2)),
    ]
    assert found["note"] == ""
    best = [int(number) for number in np.argsort(-drawn)[:6]]
    for neuron in located.state.found.evidence.neurons:
        assert [one.number for one in found["tops"][neuron]] == [one.number for one in found["beside"][neuron]] == best


def test_any_neuron_of_an_index_by_its_address(session, shop, demo, tmp_path):
    with pytest.raises(InvalidOption, match="--index FOLDER"):
        session.look("3.17")
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        shop.shelf.entry(number).load().save(tmp_path / "pictures" / f"{number}.png")
    index = make_index(demo, tmp_path / "pictures", tmp_path / "index")
    visitor = Visitor(replace(shop, index=index))
    for wrong in ("3.99999", "99.1", "vision.1.3"):
        assert visitor.act(lambda session, wrong=wrong: session.look(wrong)) is None
        assert visitor.message
    assert visitor.news()["profile"] == ""
    for address in ("3.17", "L3.U17"):
        assert visitor.act(lambda session, address=address: session.look(address)).wait(SOON).status == "done"
        shown = visitor.news(again=True)["profile"]
        assert "<h3>L3.U17</h3>" in shown
        assert "A random neuron of its layer, L3.U" in shown
        assert shown.count("background-image:url(data:image/jpeg") == 8  # two pictures at both ends of both neurons
    visitor.session.close()


def test_the_report_and_the_recipes(located, tmp_path, monkeypatch):
    assert located.report().wait(SOON).status == "done"
    files = located.state.found.files
    page = files["report"].read_text(encoding="utf-8")
    assert "Neurons that hold" in page
    assert located.state.found.evidence.word is not None
    with zipfile.ZipFile(files["archive"]) as archive:
        assert set(archive.namelist()) == {
            *("again.py", "again.sh", "image.png", "edited.png", "neurons.json", "report.html"),
            *(f"evidence/{name}" for name in ("evidence.json", "maps.npz", "mask.png", "original.png")),
        }
        command, code = archive.read("again.sh").decode(), archive.read("again.py").decode()
        assert archive.read("report.html").decode() == page
        archive.extractall(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", str(tmp_path), "--out", str(tmp_path / "again.html")])
    assert not end.value.code
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page
    tested = located.state.found.evidence
    assert located.report().wait(SOON).status == "done"
    assert located.state.found.evidence is tested  # and not again
    words = shlex.split(command.splitlines()[0])
    assert words[:4] == ["neuronscope", "locate", "bear.png", "bear"]
    assert words[words.index("--out") + 1] in command.splitlines()[1]
    (tmp_path / "image.png").rename(tmp_path / "bear.png")
    monkeypatch.chdir(tmp_path)
    printed = []
    exec(compile(code, "again.py", "exec"), {"print": printed.append})
    said = located.state.said  # the patch, which has no draws
    assert printed[1:] == [f"The image shows a {text}" for row in (said.after, said.control) for text in row]
    saved = ns.Neurons.load(tmp_path / "neurons.json")
    assert saved.addresses == located.state.found.evidence.neurons.addresses


def count_hooks(shop):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in shop.desk.vlm.model.modules())


def test_a_job_cancelled_in_mid_run_changes_nothing(session, shop, bear):
    session.pick(0).wait(SOON)
    session.mark(Marks(bear.boxes))
    before, hooks = session.state, count_hooks(shop)
    job = session.locate(Question("bear"))
    while not job.over and not (job.stage == "locating neurons" and job.passes):
        shop.desk.watch(0.05)
    assert session.shown.edited is not None
    session.cancel()
    assert job.wait(SOON).status == "cancelled"
    assert session.state is before
    assert session.shown is before
    assert count_hooks(shop) == hooks


def test_what_cannot_be_asked_is_refused_at_once(session):
    for action in (
        lambda: session.locate(Question("bear")),
        lambda: session.mark(Marks()),
        lambda: session.change(Change()),
        lambda: session.choose(ns.Neuron(0, 0)),
        session.report,
    ):
        with pytest.raises(InvalidSample):
            action()
    assert session.undo() is session.state
    assert session.pick(2).wait(SOON).status == "refused"
    assert session.state.picture is None


def test_a_refused_sample_says_why_in_the_librarys_words(session):
    session.pick(0).wait(SOON)
    with pytest.raises(InvalidSample, match="nothing is marked"):
        session.locate(Question("bear"))
    session.mark(Marks(((1.0, 1.0, 20.0, 20.0),)))
    with pytest.raises(InvalidSample, match="concept is empty"):
        session.locate(Question(" "))
    job = session.locate(Question("zebra")).wait(SOON)
    assert job.status == "refused"
    assert isinstance(job.error, ConceptNotNamed)
    assert "does not name 'zebra'" in str(job.error)
    assert str(escape(str(job.error))) in html.status(session)
    assert session.state.found is None


def test_a_brush_is_a_mask(session, bear):
    session.pick(0).wait(SOON)
    x, y, w, h = bear.boxes[0]
    middle = y + h / 2
    session.mark(Marks((), (Stroke(h / 2, ((x + h / 2, middle), (x + w - h / 2, middle))),)))
    job = session.locate(Question("bear", rule="budget", budget=3)).wait(SOON)
    assert job.status == "done", job.error
    found = session.state.found
    assert found.pair.sample.boxes == ()
    assert np.array_equal(found.pair.mask, found.marks.mask((128, 128)))
    assert "--mask mask.png" in found.evidence.command
    assert "--budget 3" in found.evidence.command


def test_hostile_texts_stay_texts(located, shop):
    state = located.state
    evil = replace(
        state,
        picture=replace(state.picture, name=SCRIPT),
        caption=IMAGE,
        nouns=HOSTILE,
        question=replace(state.question, concept=CLOSING),
        said=replace(state.said, after=HOSTILE, control=HOSTILE, note=SCRIPT),
        found=replace(state.found, question=replace(state.question, concept=IMAGE)),
        note=IMAGE,
    )
    visitor = Visitor(shop)
    visitor.message = SCRIPT + IMAGE
    visitor.session.state = evil
    pieces = [part for name, part in parts(visitor).items() if isinstance(part, str) and name != "canvas"]
    text = "".join(pieces)
    assert "&lt;script&gt;" in text
    for hostile in ("<script", "<img src=x", 'onerror="'):
        assert hostile not in text
    visitor.session.close()


def test_a_page_is_sent_what_is_new(shop, session):
    visitor = Visitor(shop)
    assert set(visitor.news()) == set(parts(visitor))
    assert visitor.news() == {}
    visitor.act(lambda s: s.locate(Question("bear")))
    assert "no picture is chosen" in visitor.news()["status"]
    job = visitor.act(lambda s: s.pick(0))
    job.wait(SOON)
    assert {"canvas", "caption", "said", "concept", "locate"} <= set(visitor.news())
    visitor.told({"concept": "dog"})
    assert visitor.news() == {"concept": {"value": "bear"}}
    assert json.loads(parts(visitor)["canvas"])["width"] == 128
    visitor.session.close()


def test_everybody_has_a_session_of_their_own(shop, monkeypatch):
    from neuronscope.explorer import clients as visitors

    monkeypatch.setattr(visitors, "MOST", 2)
    people = Visitors(shop)
    one, two = people.of("one"), people.of("two")
    assert people.of("one") is one
    assert one.session is not two.session
    people.of("three")
    assert people.of("one") is one
    assert people.of("two") is not two
    people.leave("one")
    people.leave("nobody")
    assert people.of("one") is not one
    people.close()


def test_two_people_wait_for_one_model(shop):
    one, two = Session(shop), Session(shop)
    first, second = one.pick(0), two.pick(1)
    assert (first.ahead, second.ahead) in ((0, 1), (0, 0))
    assert second.wait(SOON).status == first.status == "done"
    assert one.state.caption != two.state.caption
    one.close()
    two.close()


ASKED = ("what is this?", "The image shows a black")


@pytest.fixture(scope="module")
def questioned(shop, bear):
    """A session with a question of one's own, in which a few neurons are located by a quick method."""
    made = Session(shop)
    assert made.ask(*ASKED) is None  # before there is a picture
    assert made.state.decoding == ns.Decoding(question=ASKED[0], prefix=ASKED[1])
    assert made.pick(0).wait(SOON).status == "done"
    assert made.ask(*ASKED) is None  # it is asked already
    made.mark(Marks(bear.boxes))
    job = made.locate(Question("bear", method="activation", count=3)).wait(SOON)
    assert job.status == "done", job.error
    yield made
    made.close()


def test_a_question_is_asked_and_is_in_everything_that_comes_of_it(questioned, demo, bear):
    session, decoding = questioned, ns.Decoding(question=ASKED[0], prefix=ASKED[1])
    said = f"{ASKED[1]} {session.state.caption}"
    assert said == demo.caption(bear.load(), decoding=decoding)
    assert session.state.sent == demo.sent(decoding)
    assert ASKED[0] in session.state.sent
    found = session.state.found
    pair = found.pair
    expected = Question("bear", method="activation", count=3).locator(decoding).locate(demo, pair).neurons
    assert found.evidence.neurons.addresses == expected.addresses
    assert found.evidence.prompt == ASKED[1]
    assert found.evidence.sent == demo.sent(decoding)
    assert "--question 'what is this?' --prefix 'The image shows a black'" in found.evidence.command
    assert html.again(session.state).count("what is this?") >= 3
    assert "asked: what is this?" in html.caption(session.state)
    assert "asked: what is this?" in html.said(session.state)
    assert session.report().wait(SOON).status == "done"
    files = session.state.found.files
    assert "what is this?" in files["report"].read_text(encoding="utf-8")
    with zipfile.ZipFile(files["archive"]) as archive:
        for name in ("again.py", "again.sh", "evidence/evidence.json"):
            assert "what is this?" in archive.read(name).decode(), name


def test_another_question_takes_the_place_of_what_was_found_and_undo_brings_it_back(located, demo, bear):
    before = located.state
    assert located.ask("What is it?").wait(SOON).status == "done"
    state = located.state
    assert state.found is state.said is state.edited is None
    assert state.marks == before.marks
    assert state.question.concept == "bear"
    assert state.caption == demo.caption(bear.load(), decoding=ns.Decoding(question="What is it?"))
    assert located.undo() is before


def test_what_was_said_is_shown_while_its_job_waits(session, shop, bear):
    """Else a page would take back what was typed until the model has time for it."""
    session.pick(0).wait(SOON)
    session.mark(Marks(bear.boxes))
    gate = threading.Event()
    shop.desk.submit("something long", lambda _: gate.wait(SOON))
    try:
        session.ask(*ASKED)
        assert session.shown.decoding == ns.Decoding(question=ASKED[0], prefix=ASKED[1])
        assert session.state.decoding == ns.Decoding()
        session.locate(Question("a bear", method="pan"))
        assert session.shown.question == Question("a bear", method="pan")
        session.cancel()
        assert session.shown is session.state
    finally:
        gate.set()


def test_a_question_that_cannot_be_asked_is_refused(shop, demo):
    session = Session(replace(shop, decoding=ns.Decoding(template="{image} {question} {prefix}", question="What?")))
    with pytest.raises(InvalidOption, match="no question is given"):
        session.ask("")
    assert session.state.decoding.question == "What?"
    session.close()


def test_a_model_that_says_nothing_is_not_said_to_be_reading(session, shop, bear):
    """The bundled model ends at once after this question."""
    session.pick(0).wait(SOON)
    job = session.ask("The image shows a street.")
    assert job.wait(SOON).status == "done"
    assert session.state.caption == ""
    assert "The model says nothing: ask otherwise" in html.caption(session.state)
    assert "reading" not in html.caption(session.state)
    assert html.said(session.state).count("ns-wait") == 2  # what comes after and the control, not what was before


def test_a_question_while_a_picture_is_read_is_asked_of_that_picture(session, demo):
    session.pick(0).wait(SOON)
    first = session.ask("What is it?")
    job = session.pick(1)  # before the answer
    assert job.wait(SOON).status == "done"
    assert first.over
    assert session.state.picture.number == 1
    assert session.state.decoding.question == "What is it?"
    session.pick(0)
    again = session.ask("And now?")
    assert again.wait(SOON).status == "done"
    assert session.state.picture.number == 0
    assert session.state.decoding == ns.Decoding(question="And now?")
    picture = session.state.picture.image
    assert session.state.caption == demo.caption(picture, decoding=session.state.decoding)


def test_a_link_opens_the_same_and_locates_nothing(questioned, shop, bear):
    session, other = questioned, Session(shop)
    text = query(session.state, State())
    job = other.open(Link.parse(dict(parse_qsl(text)))).wait(SOON)
    assert job.status == "done"
    assert other.state.picture.number == session.state.picture.number
    assert other.state.marks == session.state.marks
    assert other.state.question == session.state.question
    assert other.state.decoding == session.state.decoding
    assert other.state.found is None
    assert query(other.state, State()) == text
    assert other.locate(other.state.question).wait(SOON).status == "done"
    assert other.state.found.evidence.neurons.addresses == session.state.found.evidence.neurons.addresses
    with pytest.raises(InvalidSample, match="no picture here is called 'nothing'"):
        other.open(Link(picture="nothing"))
    other.close()


def test_a_link_holds_a_question_and_leaves_out_what_cannot_be_linked(session, shop, bear, tmp_path):
    bear.load().save(tmp_path / "mine.png")
    session.ask(*ASKED)
    session.upload(tmp_path / "mine.png").wait(SOON)
    session.mark(Marks(bear.boxes, (Stroke(2.0, ((5.0, 6.0),)),)))
    said = dict(parse_qsl(query(session.state, State())))
    assert set(said) == {"concept", "question", "prefix"}
    shown = html.link(session.state, shop)
    assert "Not in it: the picture, which was uploaded, what was brushed." in shown
    other = Session(shop)
    assert other.open(Link.parse(said)) is None
    assert other.state.decoding == session.state.decoding
    assert other.state.question == session.state.question
    assert other.pick(0).wait(SOON).status == "done"
    assert html.link(Session(shop).state, shop).count("href") == 0
    other.close()


def test_the_captions_begin_with_a_sentence(located):
    sentence = " neurons. With them as without the object the caption does not name “bear”; with as many random ones"
    assert f"{sentence} like that it does." in html.said(located.state)
    assert located.change(replace(located.state.change, operation="noise")).wait(SOON).status == "done"
    sentence = "With noise on them 0 of 3 captions name “bear”; with the same noise on as many random ones 3 of 3."
    assert sentence in html.said(located.state)
    located.undo()
    assert located.change(Change("swap", word="dog")).wait(SOON).status == "done"
    assert "With another word written into them the caption does not name “bear”" in html.said(located.state)
    located.undo()


def test_terms_that_the_page_links_to_are_explained_on_it():
    folder = Path(html.__file__).parent / "templates"
    texts = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.html"))
    linked = set(re.findall(r'{{ term\("([^"]+)"', texts))
    assert linked == {term.anchor for term in html.explained()}
    assert len(linked) > 4

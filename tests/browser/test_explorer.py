"""The explorer in a real browser, with the bundled model behind it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from functools import partial
from importlib.util import find_spec
from urllib.parse import urljoin

import pytest

from neuronscope.cli.explore import origin_of
from neuronscope.explorer import Desk, ListedPicture, Shelf, Workshop, work
from neuronscope.explorer import picture_list as shelf
from neuronscope.options import Loading
from neuronscope.regions import Detector, Segmenter
from neuronscope.studies.demo.scenes import scenes_of
from page_widths import NO_SIDEWAYS
from report_samples import IMAGE

TooLate = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need playwright (the dev extra)"
).TimeoutError
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="the explorer needs gradio (the app extra)")

#: Seconds from a click to the first neurons, and from a slider's release to both captions. Processor time of the server
#: is what is measured, all threads together: on a machine that is busy with other tests clocks tell nothing.
NEURONS, CAPTIONS = 10, 3


@pytest.fixture(scope="module")
def bear():
    return scenes_of("bear", 1)[0]


@pytest.fixture(scope="module")
def served(demo, bear, finder, tmp_path_factory):
    """A page with a scene, and a folder with a picture whose name would like to run."""
    from neuronscope.explorer.app import serve

    folder = tmp_path_factory.mktemp("pictures")
    scenes_of("bus", 1)[0].load().save(folder / f"{IMAGE}.png")
    entries = [ListedPicture("bear", bear.load), *shelf.folder(folder)]
    helpers = {"detector": Detector(finder("owlvit")), "segmenter": Segmenter(finder("sam"))}
    running = serve(Workshop(Desk(demo), Shelf(entries), partial(origin_of, Loading()), **helpers))
    yield running.url
    running.close()


@pytest.fixture
def visit(browser, served):
    """Opens the page in a tab of its own; in the end nothing may have been printed, run or asked of another host."""
    opened = []

    def show(width=1280, address="", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True, **options)
        context.set_default_timeout(120_000)  # a machine that is busy with other tests
        page = context.new_page()
        wrong = []
        page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda r: None if r.url.startswith((served, "data:", "blob:")) else wrong.append(r.url))
        page.goto(urljoin(served, address))
        page.locator("[data-pick='0']").wait_for()
        opened.append((page, wrong))
        return page

    yield show
    for page, wrong in opened:
        assert not wrong
        assert page.evaluate("window.hacked") is None
        page.context.close()


@pytest.fixture
def endless(monkeypatch):
    """Locating never ends; it goes on asking the model until it is cancelled."""

    def run(_method, vlm, pair, _validity):
        inputs = vlm.prepare([pair.original])
        while True:
            vlm.logits(inputs)

    monkeypatch.setattr(work, "locate_watched", run)


def pick(page, number=0):
    page.locator(f"[data-pick='{number}']").click()
    page.locator("[data-noun]").first.wait_for()


def drag(page, *corners):
    """Draw with the mouse, in pixels of a scene."""
    canvas = page.locator("[data-draw]")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('[data-draw]').height > 200")  # 150 until it is painted
    box = still(page, canvas)
    scale = box["width"] / 128
    places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def still(page, shown):
    """Where something is, once it stays there: what is told above it may still come and move it."""
    before = None
    for _ in range(100):
        if (box := shown.bounding_box()) == before:
            return box
        before = box
        page.wait_for_timeout(150)
    pytest.fail("it does not stay where it is")


def corners(box):
    x, y, w, h = box
    return (x, y), (x + w, y + h)


def status(page, text):
    """Wait for what the page says is going on; where it never does, the failure tells what it says instead."""
    shown = page.locator("#ns-status")
    try:
        shown.get_by_text(re.compile(text)).wait_for()
    except TooLate as error:
        raise AssertionError(f"not {text!r} but {shown.inner_text()!r}") from error


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def lines(page, kind):
    found = page.locator(f".ns-said-{kind} .ns-line")
    found.first.wait_for()
    return found.all_inner_texts()


def test_from_a_picture_to_a_changed_caption(visit, bear):
    page = visit()
    pick(page)
    assert page.locator("[data-noun]").first.inner_text() == "bear"
    assert page.get_by_label("The object, as a caption names it").input_value() == "bear"
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    assert page.evaluate("scrollY") > 0
    assert page.locator("#ns-top").bounding_box()["y"] >= 0  # what is going on stays in sight
    start = time.process_time()
    press(page, "Locate neurons")
    page.locator("table [data-neuron]").first.wait_for()
    assert time.process_time() - start < NEURONS
    page.locator(".ns-pictures img").nth(1).wait_for()
    assert any("bear" in line for line in lines(page, "control"))
    assert not any("bear" in line for line in lines(page, "after"))
    assert "bear" in lines(page, "before")[0]

    page.get_by_label("noise").check()
    page.locator(".ns-said-after").get_by_text("3 draws").wait_for()
    slider = page.get_by_role("slider", name=re.compile("Noise level"))
    slider.evaluate("e => e.scrollIntoView({block: 'center'})")  # not under the bar that stays in sight
    box = slider.bounding_box()
    start = time.process_time()
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.ns-said-after .ns-soft').innerText.includes('noise of level 0')")
    page.wait_for_function("document.querySelector('.ns-said-after .ns-line')?.innerText.includes('bear')")
    page.locator(".ns-said-control .ns-line").first.wait_for()
    assert time.process_time() - start < CAPTIONS
    press(page, "Undo")
    page.wait_for_function("!document.querySelector('.ns-said-after').innerText.includes('bear')")
    page.get_by_label("ablate").check()
    page.locator(".ns-said-after").get_by_text("set to zero").wait_for()

    button = page.locator("table [data-neuron]").nth(1)
    address = button.get_attribute("aria-label").removeprefix("look at ")
    button.click()
    page.locator(".ns-tops img").first.wait_for()
    panel = page.locator(".ns-neuron")
    assert address in panel.inner_text()
    assert panel.locator(".ns-heat").bounding_box()["width"] > 150
    assert panel.locator(".ns-token").count() == 10  # its own five, and a random neuron's
    assert page.locator("table [aria-pressed=true]").get_attribute("aria-label") == f"look at {address}"

    with page.expect_download() as kept:
        page.get_by_role("button", name="neurons.json").click()
    assert json.loads(kept.value.path().read_text())["concept"] == "bear"
    for name, holds in (("Save as a page", b"Neurons that hold"), ("Save everything (zip)", b"again.py")):
        with page.expect_download() as kept:  # one click, whatever has to be made first
            press(page, name)
        assert holds in kept.value.path().read_bytes()


def test_captions_appear_beside_the_button_that_made_them(visit, bear):
    """Both are on a screen of 900 pixels at once; on a phone they follow each other."""
    for width in (1440, 390):
        page = visit(width)
        pick(page)
        drag(page, *corners(bear.boxes[0]))
        status(page, "Say what it is")
        press(page, "Locate neurons")
        lines(page, "control")
        button = page.get_by_role("button", name="Locate neurons")
        button.scroll_into_view_if_needed()
        shown = page.locator(".ns-said").bounding_box()
        assert shown["y"] - button.bounding_box()["y"] < 400
        verdict = page.locator(".ns-verdict").inner_text()
        assert re.match(r"\d+ neurons. With them as without the object the caption does not name “bear”", verdict)


def test_the_box_is_drawn_with_keys_and_numbers_are_kept_in_step(visit):
    page = visit()
    pick(page)
    canvas = page.locator("[data-draw]")
    page.wait_for_function("document.querySelector('[data-draw]').width > 300")

    def numbers():
        return [float(page.locator(f"[data-n='{number}']").input_value() or -1) for number in range(4)]

    def sent(*boxes):
        said = ";".join(",".join(f"{value:g}" for value in box) for box in boxes)
        page.wait_for_function("box => (new URLSearchParams(location.search).get('box') || '') === box", arg=said)

    canvas.focus()
    canvas.press("Enter")
    assert numbers() == [32, 32, 64, 64]
    sent([32, 32, 64, 64])
    for keys, expected in (
        ("ArrowRight", [34, 32, 64, 64]),
        ("ArrowUp", [34, 30, 64, 64]),
        ("Shift+ArrowDown", [34, 30, 64, 66]),
        ("Alt+ArrowLeft", [33, 30, 64, 66]),
        ("Shift+Alt+ArrowLeft", [33, 30, 63, 66]),
    ):
        canvas.press(keys)
        assert numbers() == expected
    sent([33, 30, 63, 66])
    for _ in range(40):
        canvas.press("ArrowRight")
    assert numbers() == [128 - 63, 30, 63, 66]  # and no further
    assert "box at 65, 30, 63 wide, 66 high" in page.locator("[data-told]").inner_text()
    page.locator("[data-n='2']").fill("20")
    page.locator("[data-n='2']").press("Enter")
    sent([65, 30, 20, 66])
    drag(page, (5, 5), (25, 35))
    x, y, w, h = numbers()
    assert abs(x - 5) + abs(y - 5) + abs(w - 20) + abs(h - 30) < 4
    drag(page, (70, 50), (70, 50))  # a click chooses
    assert numbers() == [65, 30, 20, 66]
    canvas.press("Delete")
    page.wait_for_function("!new URLSearchParams(location.search).get('box').includes(';')")
    press(page, "Another box")
    assert numbers() == [-1, -1, -1, -1]
    for number, value in enumerate((1, 2, 3, 4)):
        page.locator(f"[data-n='{number}']").fill(str(value))
    page.locator("[data-n='3']").press("Tab")
    page.wait_for_function("new URLSearchParams(location.search).get('box').endsWith(';1,2,3,4')")
    press(page, "Clear")
    sent()


def test_a_question_is_typed_and_a_link_opens_it_again(visit, bear):
    page = visit()
    pick(page)
    page.get_by_label("The answer begins with").fill("The image shows a")
    field = page.get_by_label("Ask a question (press Enter)")
    field.fill("what is this?")
    field.press("Enter")
    page.locator(".ns-caption").get_by_text("asked: what is this?").wait_for()
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    page.wait_for_function("location.search.includes('box=') && location.search.includes('question=')")
    copied = page.url
    link = page.locator("#ns-link a")
    assert link.get_attribute("href") == copied[copied.index("?") :]
    other = visit(address=copied)
    other.locator(".ns-caption").get_by_text("asked: what is this?").wait_for()
    assert other.get_by_label("Ask a question (press Enter)").input_value() == "what is this?"
    assert other.get_by_label("The answer begins with").input_value() == "The image shows a"
    assert other.get_by_label("The object, as a caption names it").input_value() == "bear"
    status(other, "Say what it is, and locate")
    other.wait_for_timeout(500)
    assert other.locator("table [data-neuron]").count() == 0  # nothing is located before somebody asks
    press(other, "Locate neurons")
    other.locator("table [data-neuron]").first.wait_for()
    assert "black bear" in lines(other, "before")[0]


def test_a_question_that_was_typed_counts_without_enter(visit, bear):
    page = visit()
    pick(page)
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    page.get_by_label("Ask a question (press Enter)").fill("what is this?")
    page.get_by_label("The answer begins with").fill("The image shows a")
    press(page, "Locate neurons")
    page.locator("table [data-neuron]").first.wait_for()
    assert "what is this?" in page.locator(".ns-said").locator("xpath=..").inner_text()
    page.locator("summary", has_text="The same in Python").click()
    assert "question='what is this?'" in page.locator("#ns-again").inner_text()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("picture=nothing", "no picture here is called 'nothing'"),
        ("picture=bear&method=magic", "magic"),
        ("neuron=1.2", "no index is open"),
        ("picture=bear&box=1,2", "is not four finite numbers"),
    ],
)
def test_a_link_that_leads_nowhere_says_so(visit, query, told):
    status(visit(address=f"?{query}"), re.escape(told))


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(visit, bear, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate(NO_SIDEWAYS)
    pick(page)
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    press(page, "Locate neurons")
    lines(page, "control")
    page.locator("table [data-neuron]").nth(1).click()
    page.locator(".ns-tops img").first.wait_for()
    assert page.evaluate(NO_SIDEWAYS)
    ground = page.evaluate("getComputedStyle(document.querySelector('.ns-card')).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_terms_lead_to_their_explanation(visit):
    page = visit()
    page.locator(".ns-said").wait_for()
    page.get_by_role("link", name="layer-matched").first.click()
    term = page.locator("#term-layer-matched")
    assert 0 < term.bounding_box()["y"] < 900
    assert "each layer has as many" in page.locator(".ns-terms").inner_text()


def test_a_brushed_mask_an_erased_mark_and_a_refused_sample(visit):
    page = visit()
    pick(page)
    drag(page, (10, 10), (60, 40))
    status(page, "Say what it is")
    press(page, "Clear")
    status(page, "Mark the object")
    press(page, "Brush")
    drag(page, (10, 10), (40, 12), (20, 20))
    status(page, "Say what it is")
    press(page, "Locate neurons")
    status(page, "the caption of the edited image still names 'bear'")
    assert page.locator("table [data-neuron]").count() == 0
    page.get_by_label("The object, as a caption names it").fill("zebra")
    page.get_by_label("The object, as a caption names it").press("Enter")
    status(page, "does not name 'zebra'")


def test_a_word_and_a_click_mark_the_object(visit):
    page = visit()
    pick(page)
    field = page.get_by_label("Or find it by a word (press Enter)")
    field.fill("bus")
    field.press("Enter")
    status(page, "Say what it is")
    assert page.get_by_label("The object, as a caption names it").input_value() == "bus"
    drawn = """(() => {
        const shown = document.querySelector("[data-draw]"), blank = document.createElement("canvas");
        [blank.width, blank.height] = [shown.width, shown.height];
        return shown.toDataURL() !== blank.toDataURL();
    })()"""
    page.wait_for_function(drawn)
    press(page, "Undo mark")
    status(page, "Mark the object")
    press(page, "Click")
    drag(page, (40, 40), (40, 40))
    status(page, "Say what it is")
    page.wait_for_function(drawn)
    press(page, "Clear")
    status(page, "Mark the object")
    page.wait_for_function(f"!{drawn}")


def test_cancel_in_mid_run_while_another_tab_waits(visit, endless, bear):
    page, other = visit(), visit()
    pick(page)
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    press(page, "Locate neurons")
    status(page, "passes of the model")
    other.locator("[data-pick='1']").click()
    status(other, "waiting: 1 job ahead for this model")
    press(page, "Cancel")
    status(page, "Cancelled")
    other.locator("[data-noun]").first.wait_for()
    assert "bus" in other.locator(".ns-caption").inner_text()
    assert "bear" in page.locator(".ns-caption").inner_text()
    assert page.locator("table [data-neuron]").count() == 0


@pytest.fixture
def late(monkeypatch):
    """Whatever ends is told to the browser a second late, as on a busy machine; what goes on is not."""
    from gradio import queueing

    send = queueing.Queue.send_message

    def slowly(self, event, message):
        if isinstance(message, queueing.ProcessCompletedMessage):
            asyncio.get_running_loop().call_later(1, send, self, event, message)
        else:
            send(self, event, message)

    monkeypatch.setattr(queueing.Queue, "send_message", slowly)


def test_an_answer_that_comes_late_takes_nothing_back(visit, endless, late, bear):
    page = visit()
    pick(page)
    drag(page, *corners(bear.boxes[0]))
    status(page, "Say what it is")
    press(page, "Locate neurons")
    status(page, "passes of the model")
    press(page, "Cancel")
    status(page, "Cancelled")
    page.wait_for_timeout(2000)
    status(page, "Cancelled")


def test_a_hostile_file_name_and_uploads_on_a_phone(visit, bear, tmp_path, monkeypatch):
    page = visit(width=390)
    page.locator("[data-pick='1']").click()
    page.locator("[data-noun]").first.wait_for()
    assert IMAGE in page.locator(".ns-name").inner_text()
    mine = tmp_path / f"mine {IMAGE}.png"
    bear.load().save(mine)
    page.locator("input[type=file]").set_input_files(mine)
    page.locator(".ns-name").get_by_text("mine").wait_for()
    page.locator("[data-noun]").first.wait_for()
    for number, value in enumerate(bear.boxes[0]):
        page.locator(f"[data-n='{number}']").fill(str(value))
    page.locator("[data-n='3']").press("Enter")
    page.get_by_role("button", name="Locate neurons").click()
    score = page.locator(".ns-neurons td.n").nth(2)
    score.scroll_into_view_if_needed()
    assert score.bounding_box()["x"] + score.bounding_box()["width"] <= 390  # seen without a move to the side
    monkeypatch.setattr(shelf, "MOST_PIXELS", 1000)
    bear.load().save(tmp_path / "large.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    status(page, "large.png has 128 x 128 pixels; at most")
    assert "mine" in page.locator(".ns-name").inner_text()
    assert page.evaluate(NO_SIDEWAYS)


def test_only_this_machine_is_listened_to(served):
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)/", served).groups()
    assert host == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(port)), timeout=5).close()

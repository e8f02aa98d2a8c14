"""The explorer in a real browser, with the bundled model behind it."""

from __future__ import annotations

import json
import re
import socket
import time
from functools import partial
from importlib.util import find_spec

import pytest

from neuronscope.cli.explore import origin_of
from neuronscope.explorer import Desk, Entry, Shelf, Workshop, session
from neuronscope.explorer import picture_list as shelf
from neuronscope.options import Loading
from neuronscope.regions import Detector, Segmenter
from neuronscope.studies.demo.scenes import scenes_of
from report_samples import IMAGE

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="the explorer needs gradio (the app extra)"),
]

#: Seconds from a click to the first neurons, and from a slider's release to both captions. Processor time of the server
#: is what is measured, all threads together: on a machine that is busy with other tests clocks tell nothing.
NEURONS, CAPTIONS = 10, 3
NO_SIDEWAYS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def bear():
    return scenes_of("bear", 1)[0]


@pytest.fixture(scope="module")
def served(demo, bear, finder, tmp_path_factory):
    """A page with a scene, and a folder with a picture whose name would like to run."""
    from neuronscope.explorer.app import serve

    folder = tmp_path_factory.mktemp("pictures")
    scenes_of("bus", 1)[0].load().save(folder / f"{IMAGE}.png")
    entries = [Entry("bear", bear.load), *shelf.folder(folder)]
    helpers = {"detector": Detector(finder("owlvit")), "segmenter": Segmenter(finder("sam"))}
    running = serve(Workshop(Desk(demo), Shelf(entries), partial(origin_of, Loading()), **helpers))
    yield running.url
    running.close()


@pytest.fixture
def visit(browser, served):
    """Opens the page in a tab of its own; in the end nothing may have been printed, run or asked of another host."""
    opened = []

    def show(width=1280):
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        context.set_default_timeout(30_000)
        page = context.new_page()
        wrong = []
        page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda r: None if r.url.startswith((served, "data:", "blob:")) else wrong.append(r.url))
        page.goto(served)
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

    monkeypatch.setattr(session, "locate_watched", run)


def pick(page, number=0):
    page.locator(f"[data-pick='{number}']").click()
    page.locator("[data-noun]").first.wait_for()


def drag(page, *corners):
    """Draw with the mouse, in pixels of a scene."""
    canvas = page.locator("[data-draw]")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('[data-draw]').width > 300")
    box = canvas.bounding_box()
    scale = box["width"] / 128
    places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def corners(box):
    x, y, w, h = box
    return (x, y), (x + w, y + h)


def status(page, text):
    page.locator("#ns-status").get_by_text(re.compile(text)).wait_for()


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
    press(page, "Make the report")
    page.wait_for_function(
        "[...document.querySelectorAll('button')].some(b => b.innerText === 'Report' && !b.disabled)"
    )
    with page.expect_download() as kept:
        press(page, "Report")
    assert "Neurons that hold" in kept.value.path().read_text(encoding="utf-8")


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
    page.locator("summary", has_text="Type a box").click()
    for number, value in enumerate(bear.boxes[0]):
        page.locator(f"[data-n='{number}']").fill(str(value))
    page.locator("[data-act='add']").click()
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

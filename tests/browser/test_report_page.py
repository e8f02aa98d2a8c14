"""The pages of `neuronscope report` in a real browser."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from neuronscope.report import write_located
from neuronscope.report.blocks import Section, grid, text
from neuronscope.report.cells import Cell, number
from neuronscope.report.data_uri import photo, uri
from neuronscope.report.page import write_page
from neuronscope.report.result import Card, Group, ResultPage, said, write_result
from neuronscope.studies.locate.truth_page import MethodRow, ShownTruth
from neuronscope.studies.locate.truth_page import curves as curves_of
from neuronscope.studies.reproduce.gallery import CaptionVariant
from neuronscope.studies.reproduce.page import run_page, write_run
from page_widths import CUT, NO_SIDEWAYS, SCROLLING
from report_samples import CONCEPTS, HOSTILE, LOST, evidence, make_run, picture


@pytest.fixture(scope="module")
def located(tmp_path_factory):
    return write_located(evidence(), tmp_path_factory.mktemp("located") / "page.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    return write_run(run_page(make_run(root / "run", root / "data"), root / "data"), root / "page.html")


def addresses(page) -> list[str]:
    rows = page.locator("table.neurons tbody tr:visible")
    return [f"{row.locator('td').nth(1).inner_text()}.{row.locator('td').nth(2).inner_text()}" for row in rows.all()]


def test_neurons_sort_by_a_click_and_by_the_keyboard(open_page, located):
    page = open_page(located)
    assert addresses(page) == ["3.7", "1.20", "3.100"]
    unit = page.get_by_role("columnheader", name="unit")
    unit.get_by_role("button").click()
    assert addresses(page) == ["3.100", "1.20", "3.7"]
    assert unit.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert addresses(page) == ["3.7", "1.20", "3.100"]
    assert unit.get_attribute("aria-sort") == "ascending"
    effect = page.get_by_role("columnheader", name="log-odds")
    effect.get_by_role("button").click()
    assert addresses(page) == ["1.20", "3.100", "3.7"]
    assert unit.get_attribute("aria-sort") == "none"


def test_neurons_filter_by_layer_and_by_token(open_page, located):
    page = open_page(located)
    page.get_by_role("combobox", name="Layer").select_option("3")
    assert addresses(page) == ["3.7", "3.100"]
    page.get_by_role("searchbox", name="Find").fill("DOG")
    assert addresses(page) == ["3.100"]
    assert page.get_by_role("status").inner_text() == "1 of 3 shown"
    page.get_by_role("combobox", name="Layer").select_option("all")
    page.get_by_role("searchbox", name="Find").fill("l1.u2")
    assert addresses(page) == ["1.20"]


def test_a_neuron_is_shown_large(open_page, located):
    page = open_page(located)
    panel = page.get_by_label("chosen neuron")
    assert "L3.U7" in panel.inner_text()
    page.get_by_role("button", name="show L1.U20 large").focus()
    page.keyboard.press("Enter")
    assert "L1.U20" in panel.inner_text()
    assert HOSTILE[3] in panel.inner_text()
    assert page.get_by_role("button", pressed=True).get_attribute("aria-label") == "show L1.U20 large"
    size = panel.locator(".heat").bounding_box()
    assert size["width"] > 200
    assert size["width"] / size["height"] == pytest.approx(48 / 32, rel=0.02)


def test_hostile_texts_are_read_as_texts(open_page, located):
    page = open_page(located)
    page.wait_for_timeout(100)
    text = page.locator("body").inner_text()
    for hostile in HOSTILE[:3]:
        assert hostile in text
    assert page.locator("script").count() == 1


def test_the_policy_stops_what_would_escape(open_page, located, tmp_path):
    broken = tmp_path / "broken.html"
    html = located.read_text(encoding="utf-8")
    broken.write_text(html.replace("<main", "<script>document.title = 'ran'</script><main"), encoding="utf-8")
    context = open_page(located).context
    page = context.new_page()  # the refusal is told on the console, so this page is not among those watched
    page.goto(broken.as_uri())
    assert page.title() != "ran"


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The page of `truth` of methods with long names, and a plot."""
    curves = uri(curves_of({f"difference-x-gradient-{n}": {10: 0.1, 100: 0.5 + n / 10} for n in range(3)}), "image/png")
    rows = tuple(
        MethodRow(
            f"difference-x-gradient-refined-{n}", 0.5, ("0.98",) * 3 + ("-0.02 [-0.48, 0.37]",) * 2, ("0.63",) * 6
        )
        for n in range(3)
    )
    told = tuple(f"of its best {n} neurons, share among the {n} that do most" for n in (20, 100, 500, 1000, 2000))
    shown = ShownTruth(
        "Which method?", "One.", "All.", "The picture", (("original", photo(picture())),), curves, told,
        (10, 20, 50, 100, 200, 500), rows, ("a note",), (("image", "a.png"),),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("truth") / "page.html"
    return write_page("truth.html", path, {"shown": shown, "version": "0"})


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The page of an edit with long words and many columns."""
    lines = [
        said(label, f"a {word} beside a bear. {HOSTILE[2]}", ("bear",), begins="The image shows")
        for label, word in (("before", "bear"), ("with the edit", "supercalifragilisticexpialidocious" * 2))
    ]
    cards = [Card(f"picture-{n}.png", photo(picture(n)), lines) for n in range(3)]
    row = ["traffic light -> lamp", "a word in the place of another", *(number(0.5) for _ in range(9))]
    cells = [Cell(str(one), 0.5, "[-0.123, 0.567]") if n > 1 else str(one) for n, one in enumerate(row)]
    table = grid([f"a measure with a long name {n}" for n in range(11)], [cells] * 8, 2)
    sections = [Section("opening", "", [text("One."), text("Two.")]), Section("all", "All figures", [table])]
    recipe = {"command": "neuronscope edit " + "--images a-long-name-of-a-folder " * 5, "python": "import neuronscope"}
    page = ResultPage(
        "An edit", "Model demo.", [Group("Held out", cards, "3 of 9.")], sections, recipe, {"a": {"b": 1}}, "x"
    )
    return write_result(page, tmp_path_factory.mktemp("result") / "page.html")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("kind", ["located", "run", "truth", "result"])
def test_no_text_is_cut_off(open_page, request, kind, width):
    page = open_page(request.getfixturevalue(kind), width=width)
    assert page.evaluate(NO_SIDEWAYS)
    assert page.evaluate(CUT) == []


def test_a_phone_shows_the_words_and_scores_of_every_neuron_and_sorts_them(open_page, located):
    page = open_page(located, width=390)
    row = page.locator("table.neurons tbody tr").first
    for cell in row.locator("[data-name]").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert row.locator("td.full .token").count() > 0
    assert row.bounding_box()["height"] < 330
    name = row.locator("[data-name='layer']").evaluate("e => getComputedStyle(e, '::before').content")
    assert name.startswith('"layer')
    page.get_by_role("button", name="unit").click()
    assert addresses(page) == ["3.100", "1.20", "3.7"]


def test_figures_follow_the_dark_and_print_on_white(open_page, truth):
    """As pixels: the plot's ground is dark where the page is, and the photograph is left as it is."""
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_page(truth, width=1440, color_scheme=scheme)
        plot = page.locator(".plot img")
        shot = Image.open(io.BytesIO(plot.screenshot())).convert("L")
        grounds[scheme] = np.median(np.asarray(shot))
        assert page.locator(".pictures img").evaluate("e => getComputedStyle(e).filter") == "none"
        page.emulate_media(media="print", color_scheme=scheme)
        assert plot.evaluate("e => getComputedStyle(e).filter") == "none"
    assert grounds["light"] > 240
    assert grounds["dark"] < 50


def test_a_run_without_captions_has_no_empty_sections(open_page, tmp_path):
    root = make_run(tmp_path / "run", tmp_path / "data")
    document = json.loads((root / "tables.json").read_text())
    gone = [name for name in ("layers", "sizes") if name not in document["absent"]]
    document["absent"] |= dict.fromkeys(gone, "No neurons were located.")
    (root / "tables.json").write_text(json.dumps(document))
    found = run_page(root)
    page = open_page(write_run(replace(found, gallery=replace(found.gallery, cells={})), tmp_path / "page.html"))
    titles = page.locator("section > h2").all_inner_texts()
    assert "Layers" not in titles
    assert "Gallery: every caption under every draw" not in titles
    assert "Layers: No neurons were located." in page.locator("#absent").inner_text()
    targets = page.locator("nav.contents a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert targets
    assert all(page.locator(target).count() == 1 for target in targets)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["located", "run", "truth", "result"])
def test_a_phone_does_not_scroll_sideways(open_page, request, kind, scheme):
    page = open_page(request.getfixturevalue(kind), width=390, color_scheme=scheme)
    for fold in page.locator("details:not([open]) > summary").all():
        if fold.is_visible():
            fold.click()
    assert page.evaluate(NO_SIDEWAYS)
    assert page.evaluate(SCROLLING) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 28)"
    assert dark == (scheme == "dark")


def test_printing_shows_what_is_folded(open_page, located):
    page = open_page(located)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print")
    assert not page.get_by_role("searchbox", name="Find").is_visible()


def test_without_scripts_everything_but_the_tools_is_there(open_page, located):
    page = open_page(located, java_script_enabled=False)
    assert addresses(page) == ["3.7", "1.20", "3.100"]
    assert not page.get_by_role("searchbox", name="Find").is_visible()


def test_the_gallery_shows_every_caption_under_every_draw(open_page, run):
    page = open_page(run)
    said = page.locator("[data-said]")
    assert "Images of bear: 1 of 2 captions no longer name it" in said.inner_text()
    own = page.get_by_role("region", name="images of bear").locator("tbody tr")
    assert f"The image shows a {LOST}" in own.inner_text()
    assert "draw 1" in own.inner_text()
    assert own.locator("mark").all_inner_texts() == ["bear"]
    page.get_by_role("combobox", name="Condition").select_option("zero")
    assert "1 of 1 captions no longer name it" in said.inner_text()
    page.get_by_role("combobox", name="Method").select_option("random-layer-matched")
    assert "0 of 1 captions no longer name it" in said.inner_text()
    page.get_by_role("combobox", name="Concept").select_option(CONCEPTS[1])
    assert f"Images of {CONCEPTS[1]}" in said.inner_text()
    assert page.locator("[data-cards] .card img").count() == 2
    assert page.locator("[data-cards] img").first.evaluate("image => image.naturalWidth") == 48


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    """Pages of a run of one picture of a concept and many of another, whose captions stay or change."""
    root = tmp_path_factory.mktemp("galleries")
    found = run_page(make_run(root / "run", root / "data"))

    def page(stay, changed):
        own, other = found.gallery.shots
        others = stay + changed
        said = (CaptionVariant(other.caption, True), CaptionVariant(LOST, False))
        cells = np.zeros((others + 1, others + 1, 1), dtype=np.uint16)
        cells[:, stay + 1 :] = 1
        many = replace(
            found.gallery,
            shots=[own, *[other] * others],
            said=[found.gallery.said[0], *[said] * others],
            cells=dict.fromkeys(found.gallery.cells, cells),
            sizes={name: [3] * (others + 1) for name in found.gallery.sizes},
            notes={name: [()] * (others + 1) for name in found.gallery.notes},
        )
        return write_run(replace(found, gallery=many), root / f"{stay}-{changed}.html")

    return page


@pytest.mark.parametrize(("stay", "changed"), [(1, 0), (12, 0), (13, 0), (30, 12), (30, 13)])
def test_the_gallery_folds_what_stays_and_what_is_much(open_page, galleries, stay, changed):
    page = open_page(galleries(stay, changed))
    others, titles = stay + changed, page.locator("[data-said] summary").all_inner_texts()
    as_before = f"captions that are as before ({stay} of {others} images)"
    moved = f"captions that changed ({changed} of {others} images)"
    assert (as_before in titles) == (stay > 12)
    assert (f"{changed - 12} more" in titles) == (changed > 12)
    seen = page.locator("[data-said] tbody tr:visible").count() - 1  # one is the concept's own
    assert seen == min(changed, 12) + (stay if stay <= 12 else 0)
    for fold in page.locator("[data-said] summary").all():
        fold.click()
    assert page.locator("[data-said] tbody tr:visible").count() - 1 == others
    assert page.get_by_role("region", name=as_before).count() == 1
    assert page.get_by_role("region", name=moved, exact=True).count() == (changed > 0)


def test_a_phone_shows_few_rows_of_a_table_before_all_are_asked_for(open_page, result):
    rows, page = "table.results tbody tr:visible", open_page(result, width=390)
    assert page.locator(rows).count() == 6
    page.get_by_label("all 8 rows").check()
    assert page.locator(rows).count() == 8
    page = open_page(result, width=1440)
    assert page.locator(rows).count() == 8
    assert not page.get_by_text("all 8 rows").is_visible()


def test_a_table_of_a_run_is_cards_on_a_phone_and_still_sorts(open_page, result):
    page = open_page(result, width=390)
    row = page.locator("table.results tbody tr").first
    for cell in row.locator("[data-name]").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    name = row.locator("[data-name]").first.evaluate("e => getComputedStyle(e, '::before').content")
    assert name.startswith('"a measure with a long name 0')
    head = page.get_by_role("button", name="a measure with a long name 5")
    head.click()
    assert head.locator("xpath=..").get_attribute("aria-sort") == "descending"
    assert page.locator(".seen .card mark").first.inner_text() == "bear"

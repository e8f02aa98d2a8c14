"""Pages of single neurons in a real browser: they sort, filter, link to one another, and run nothing of others."""

from __future__ import annotations

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.studies.index.pages import read_sets, write_pages
from neuronscope.studies.index.settings import Pages
from page_widths import CUT, NO_SIDEWAYS
from report_samples import CLOSING, IMAGE, SCRIPT, make_index


@pytest.fixture(scope="module")
def site(vlm, tmp_path_factory):
    """Three neurons, with pictures and a set whose names would like to run."""
    root = tmp_path_factory.mktemp("site")
    (root / "pictures").mkdir()
    for number, name in enumerate((IMAGE, SCRIPT.replace("/", "")), 1):
        Image.effect_noise((48, 40), 90 * number).convert("RGB").save(root / "pictures" / f"{name}.png")
    index = make_index(vlm, root / "pictures", root / "index", kept=2)
    ns.Neurons(ns.Neurons.at("1.3", "0.2").members, concept=CLOSING).save(root / "set.json")
    sets = read_sets([root / "set.json"])
    neurons = [ns.Neuron(1, 3), ns.Neuron(0, 2), ns.Neuron(1, 5)]
    write_pages(vlm, index, neurons, sets, Pages(), root / "index", hidden=0)
    return root / "index"


def test_the_list_leads_to_a_neuron_and_back(open_page, site):
    page = open_page(site / "index.html")
    rows = page.locator("table.atlas tbody tr:visible")
    assert rows.count() == 3
    page.get_by_role("searchbox", name="Find").fill("l1.u")
    assert rows.count() == 2
    page.get_by_role("columnheader", name="spread").get_by_role("button").click()
    page.get_by_role("link", name="L1.U3").click()
    assert page.get_by_role("heading", level=1).inner_text() == "L1.U3"
    assert CLOSING in page.locator(".verdict").inner_text()
    assert page.locator(".looks li").count() == 8
    page.get_by_role("link", name="All neurons").click()
    assert page.locator("table.atlas tbody tr").count() == 3


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_pictures_are_there(open_page, site, width, scheme):
    for name in ("index.html", "neurons/L1.U3.html"):
        page = open_page(site / name, width=width, color_scheme=scheme)
        assert page.evaluate(NO_SIDEWAYS)
        assert page.evaluate(CUT) == []
        tile = page.locator(".heat").first
        assert tile.evaluate("e => getComputedStyle(e).backgroundImage.startsWith('url(\"data:image/jpeg')")
        assert tile.bounding_box()["width"] > 30

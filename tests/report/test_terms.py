"""Terms of pages: explained where they are linked, by the sentence of the glossary."""

from __future__ import annotations

import re
from pathlib import Path

from neuronscope.report import page
from neuronscope.report.terms import TERMS

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(page.__file__).parent / "templates"
_LINK = re.compile(r'href="#term-([^"]+)"')


def test_a_term_is_explained_as_in_the_glossary():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").replace("`", "")
    entries = dict(re.findall(r"^### (.+)\n\n(.+)$", text, re.MULTILINE))
    for term in TERMS:
        assert entries[term.name].startswith(term.meaning.removesuffix(".")), term.name


def test_templates_link_to_every_term_and_to_no_other():
    linked = {anchor for path in TEMPLATES.glob("*.html") for anchor in _LINK.findall(path.read_text("utf-8"))}
    assert linked - {"{{ term.anchor }}"} == {term.anchor for term in TERMS}


def test_a_page_explains_what_it_links_to_and_nothing_else():
    row = type("Row", (), {"label": "noise", "s_se": 1.0, "s_re": 0.5, "j": 0.5})()
    study = {
        "concept": "bear",
        "model": {"id": "m", "family": "f", "fingerprint": "0"},
        "images": 1,
        "seconds": 1.0,
        "precision": None,
        "refused": [],
    }
    context = {"study": study, "widths": [4], "scores": [row], "sections": [], "version": "0"}
    html = page.render("study.html", context)
    assert set(re.findall(r'id="term-([^"]+)"', html)) == set(_LINK.findall(html)) == {"s_se", "s_re", "j"}
    assert html.count('id="terms"') == 1

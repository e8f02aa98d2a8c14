"""The family table: every row is tested or says why not, and the documentation shows the same data."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest

import neuronscope as ns
from neuronscope.check import conformance
from neuronscope.check.suite import CHECKS
from neuronscope.errors import InvalidOption, NoImagePositions, UnsupportedModel
from neuronscope.models import families
from neuronscope.models.families import FAMILIES, Family, family_of, lacking, register_family
from neuronscope.models.family_table import applies, markdown, remark
from zoo import ZOO

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture
def table() -> Generator[dict[str, Family]]:
    """The table, put back as it was after the test."""
    rows = families._TABLE
    before = dict(rows)
    yield rows
    rows.clear()
    rows.update(before)


def test_every_row_is_run_by_the_conformance_suite_or_says_why_not():
    run = {animal.model_type for animal in ZOO.values()} | {"fast_vlm"}  # the natural model: check/test_suite.py
    for kind, row in FAMILIES.items():
        assert (kind in run) == (not row.refused and not row.untested), kind
    assert len(run) >= 40


def test_the_documentation_holds_the_table_as_it_is():
    assert markdown() in DOCS.read_text(encoding="utf-8"), "put the output of `neuronscope models --markdown` there"


def test_templates_are_those_that_the_tiny_models_were_built_for():
    for animal in ZOO.values():
        row = FAMILIES[animal.model_type]
        if row.placeholder:
            assert row.placeholder in animal.placeholder


def test_a_new_row_is_used_and_a_bad_one_refused(table: dict[str, Family]):
    row = Family("my_model", "My Model", template="{image} {prompt}", placeholder="<picture>")
    register_family(row)
    assert family_of(SimpleNamespace(model_type="my_model")).title == "My Model"
    with pytest.raises(InvalidOption, match=r"must hold \{image\} once"):
        register_family(Family("other", "Other", template="{prompt}"))
    assert "other" not in table


def test_a_projector_of_queries_has_no_grid_unless_the_row_says_so():
    with_queries = SimpleNamespace(model_type="minigpt4", qformer_config={})
    assert "queries" in (family_of(with_queries).no_grid or "")
    assert family_of(SimpleNamespace(model_type="minigpt4", qformer_config=None)).no_grid == ""
    assert family_of(SimpleNamespace(model_type="granite4_vision", qformer_config={})).no_grid == ""


@pytest.mark.parametrize("kind", [kind for kind, row in FAMILIES.items() if row.refused])
def test_a_family_that_cannot_be_studied_is_refused_with_its_reason(kind: str):
    with pytest.raises(UnsupportedModel, match="cannot be studied: "):
        family_of(SimpleNamespace(model_type=kind))
    assert not any(applies(FAMILIES[kind]).values())


@pytest.mark.parametrize("kind", ["llava", "internvl", "qwen2_vl", "blip-2"])
def test_a_model_type_without_a_row_gets_general_rules_and_has_to_prove_its_map(kind: str, table: dict[str, Family]):
    parts = ZOO[kind].build()
    row = table.pop(kind)
    if row.placeholder is not None:  # how the prompt is spelled cannot be guessed
        general = Family(kind, kind, template=row.template, placeholder=row.placeholder, listed=False)
        table[kind] = general
    vlm = ns.load(parts)
    assert not vlm.family.listed
    tokens = vlm.prepare([_picture()]).images[0]
    assert bool(tokens.tiles) == (kind != "blip-2")


@pytest.mark.parametrize(
    ("since", "installed", "old"),
    [
        ("", "5.0.0", False),
        ("5.9", "5.8.3", True),
        ("5.9", "5.9.0", False),
        ("5.9", "5.10.2", False),  # numbers, not letters
        ("5.10", "5.9.4", True),
        ("5.9", "5.9.0.dev0", False),
        ("5.9", "6.0.0rc1", False),
        ("6.0", "5.23.0", True),
    ],
)
def test_a_family_lacks_a_release_that_is_newer_than_the_installed_one(
    monkeypatch: pytest.MonkeyPatch, since: str, installed: str, old: bool
):
    monkeypatch.setattr("transformers.__version__", installed)
    row = Family("my_model", "My Model", since=since)
    sentence = f"My Model (my_model) needs transformers {since} or later; {installed} is installed"
    assert lacking(row) == (sentence if old else "")
    assert (f"transformers {since} or later" in remark(row)) == bool(since)


def test_a_map_that_the_coloured_square_contradicts_is_dropped(table: dict[str, Family]):
    """Two-by-two cells for a model whose tokens lie in a row: they divide the picture, but the wrong way."""
    table["llava"] = Family("llava", "llava", cell=(1, 4), listed=False)
    vlm = ns.load(ZOO["llava"].build())
    assert "coloured square contradicts" in (vlm.family.no_grid or "")


def test_a_template_of_ones_own_is_used_where_the_processor_adds_the_image():
    vlm = ns.load(ZOO["blip-2"].build())
    usual, own = (
        vlm.prepare([_picture()], ns.Decoding(template=template)).tensors["input_ids"]
        for template in (None, "{image} dog cat {prompt}")
    )
    assert own.shape[1] == usual.shape[1] + 2


def test_an_error_inside_a_check_is_a_failed_line_not_a_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(_: ns.VLM):
        raise RuntimeError("shapes do not match")

    monkeypatch.setitem(CHECKS, "heat map", broken)
    last = [*CHECKS][-1]
    report = conformance(ns.load(ZOO["llava"].build()), only=("heat map", last))
    assert last in {row.name for row in report.rows}  # after the broken one
    assert [row.value for row in report.rows if not row.ok] == ["RuntimeError: shapes do not match"]


def test_image_positions_are_refused_with_the_reason_where_there_are_none():
    vlm = ns.load(ZOO["mllama"].build())
    zero = ns.Zero(ns.Neurons.of([(0, 1)]), span="image")
    advice = 'no neurons at image positions: the decoder reads the image through cross-attention; span="media" is where'
    with pytest.raises(NoImagePositions, match=advice):
        vlm.intervene(zero)
    with vlm.intervene(ns.Zero(ns.Neurons.of([(0, 1)]), span="text")):
        vlm.logits(vlm.prepare([_picture()]))


def _picture():
    from PIL import Image

    return Image.new("RGB", (96, 64), (90, 160, 30))

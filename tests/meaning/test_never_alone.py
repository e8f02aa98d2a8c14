"""Wherever tokens of neurons are shown, those of random neurons and what they say stand beside them."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest

import neuronscope as ns
from neuronscope.locate import Located
from neuronscope.report import gather, write_located
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.studies.locate.study import locate_into

SOURCE = Path(ns.__file__).parent
#: Who may read bare words: the comparison itself, and a measurement that draws its own controls.
ALLOWED = {
    *("view/__init__.py", "view/decode.py", "meaning/words.py", "evaluate/discovery/sensitivity.py"),
    "index/described.py",  # of `decode`'s own rows
}


def test_nothing_else_reads_bare_words():
    """A new page or verb has to take them from :func:`neuronscope.decode`, which brings the random ones along."""
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "promoted" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.Name) and node.id == "promoted")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "promoted" for alias in node.names))
        or (isinstance(node, ast.Attribute) and node.attr == "promoted")
    }
    assert users <= ALLOWED


@pytest.fixture(scope="module")
def result(demo, tmp_path_factory):
    pair = ns.counterfactual(scenes_of("bear", 1)[0])
    quick = ns.TwoStage(activation=ns.locate.Fixed(1.0), gradient=ns.locate.Fixed(0.05))
    return locate_into(tmp_path_factory.mktemp("located"), demo, quick, pair, draws=None), pair


def test_the_folder_of_locate(result):
    found, _ = result
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(document["words"]["neurons"]) == len(found.located.neurons) > 0
    assert all(row["random"]["tokens"] for row in document["words"]["neurons"])
    assert document["place"]["draws"] == 40
    summary = "\n".join(found.summary)
    assert document["words"]["sentence"] in summary
    assert document["place"]["sentence"] in summary


def test_its_page(result, tmp_path):
    found, _ = result
    page = write_located(found.evidence, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "a random neuron of its layer promotes" in page
    assert found.evidence.place.sentence.replace("'", "&#39;") in page
    assert "standard deviations over the vocabulary" in page


@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("boxes", [True, False])
def test_sets_of_any_size(demo, result, tmp_path, count, boxes):
    """Also a set that is empty, and a sample whose object is marked by nothing."""
    found, pair = result
    located: Located = dataclasses.replace(found.located, neurons=found.located.neurons[:count])
    if not boxes:
        pair = dataclasses.replace(pair, sample=dataclasses.replace(pair.sample, boxes=(), mask=None))
    evidence = gather(demo, pair, located, {}, test=None)
    assert len(evidence.words) == len(evidence.words.beside) == count
    assert (evidence.place is None) == (not boxes or not count)
    write_located(evidence, tmp_path / "page.html")

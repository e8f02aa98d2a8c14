"""Reading a run for its page: every caption in its place, and only pictures that the run used."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from neuronscope.errors import InvalidOption, InvalidSample, RunMismatch
from neuronscope.run import directory
from neuronscope.run.directory import Run
from neuronscope.studies.reproduce.page import read_gallery, run_page
from report_samples import CONCEPTS, CONDITIONS, METHODS, caption, make_run, picture


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("gallery")
    return make_run(root / "run", root / "data")


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.parent, tmp_path / "copy")


def test_every_caption_stands_in_its_place(run):
    found = read_gallery(Run.existing(run), None, list(CONDITIONS))
    assert list(found.cells) == [(m, c) for m in METHODS for c in CONDITIONS]
    for (method, condition), cells in found.cells.items():
        assert cells.shape == (2, 2, CONDITIONS[condition])
        for (s, o, d), cell in np.ndenumerate(cells):
            said = found.said[o][cell]
            assert said.text == caption(method, CONCEPTS[s], CONCEPTS[o], d)
            assert said.hit == (said.text == caption("", CONCEPTS[s], CONCEPTS[o], d))
    assert [len(said) for said in found.said] == [2, 2]
    assert found.sizes == {method: [3, 3] for method in METHODS}
    assert "holds no pictures" in found.pictures


def test_pictures_are_found_below_another_folder(run):
    page = run_page(run, run.parent / "data")
    assert all(shot.original.startswith("data:image/jpeg") for shot in page.gallery.shots)
    assert all(shot.edited.startswith("data:image/jpeg") for shot in page.gallery.shots)
    assert "proved" in page.gallery.pictures
    assert set(page.figures) == {"layers", "layers-ratio"}
    assert [figure.name for one in page.sections for figure in one.figures if figure.name in page.figures] == [
        "layers",
        "layers-ratio",
    ]
    assert "--methods two-stage,random-layer-matched" in page.again


def test_an_unfinished_unit_is_not_there(copy):
    part = next((copy / "run" / "parts" / "captions").glob("*.parquet"))
    part.unlink()
    found = read_gallery(Run.existing(copy / "run"))
    assert sum((cells == 0xFFFF).sum() for cells in found.cells.values()) in (2, 4)


def test_another_picture_is_refused_and_a_missing_one_is_said(copy):
    paths = sorted((copy / "data" / "images").iterdir())
    paths[1].unlink()
    assert "1 of 2 pictures are not there" in run_page(copy / "run", copy / "data").gallery.pictures
    picture(9).save(paths[0])
    with pytest.raises(RunMismatch, match="its pixels differ"):
        run_page(copy / "run", copy / "data")


def test_pictures_that_links_lead_to_outside_the_data_are_shown_only_where_that_is_allowed(copy, tmp_path):
    path = sorted((copy / "data" / "images").iterdir())[0]
    path.rename(tmp_path / "elsewhere.png")
    path.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InvalidSample, match=r"leads out of .*--allow-outside"):
        run_page(copy / "run", copy / "data")
    assert all(shot.original for shot in run_page(copy / "run", copy / "data", allow_outside=True).gallery.shots)


def test_an_edit_that_cannot_be_made_again_is_said(copy):
    path = next((copy / "run" / "parts" / "dataset").glob("*"))
    run = Run.existing(copy / "run")
    document = json.loads(run.read("dataset", {"part": "all"}).to_pylist()[0]["document"])
    del document["samples"][0]["mask"]
    path.unlink()
    writer = directory.Run(run.folder, directory.Record.load(run.folder / "run.json"), {}, 1.0)
    writer.write("dataset", {"part": "all"}, [{"document": json.dumps(document)}])
    gallery = run_page(copy / "run", copy / "data").gallery
    assert gallery.shots[0].original
    assert not gallery.shots[0].edited
    assert "1 edited pictures cannot be made again" in gallery.pictures


def test_runs_without_tables_are_refused(copy):
    tables = copy / "run" / "tables.json"
    tables.write_text("{}")
    with pytest.raises(RunMismatch, match="schema"):
        run_page(copy / "run")
    tables.write_text("{")
    with pytest.raises(RunMismatch, match="cannot be read"):
        run_page(copy / "run")
    tables.unlink()
    with pytest.raises(RunMismatch, match="--tables-only"):
        run_page(copy / "run")


def test_a_data_folder_that_is_not_there(run, tmp_path):
    with pytest.raises(InvalidOption, match="is not a folder"):
        run_page(run, tmp_path / "nowhere")

"""Data that cannot be enough are refused before anything of a cluster is started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from neuronscope.cluster import ray
from neuronscope.errors import InvalidSample
from neuronscope.studies.reproduce.cluster import Cluster
from neuronscope.studies.reproduce.conditions import TooFewSamples
from neuronscope.studies.reproduce.job import ReproductionJob
from neuronscope.studies.reproduce.settings import Experiment


class Connected(Exception):
    """The cluster would be started now."""


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*asked: object) -> None:
        raise Connected

    monkeypatch.setattr(ray, "connected", connect)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two bears and a cat."""
    folder = tmp_path / "data"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    tables = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 64, "height": 64} for k in range(3)],
        "categories": [{"id": 1, "name": "bear"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1 + (k == 2), "bbox": [4, 4, 30, 30], "area": 900, "iscrowd": 0}
            for k in range(3)
        ],
    }
    (folder / "annotations" / "instances_a.json").write_text(json.dumps(tables), encoding="utf-8")
    return folder


def linked_out(data: Path) -> None:
    """The pictures of the bears are links out of the folder."""
    for number in (0, 1):
        (data.parent / f"{number}.png").write_bytes(b"")
        (data / "images" / f"{number}.png").symlink_to(data.parent / f"{number}.png")


PLAN = Experiment(("bear", "cat"), images=1)
LACKING: dict[str, tuple[Experiment, Callable[[Path], None]]] = {
    "too few images of both": (replace(PLAN, images=3), lambda data: None),
    "one of two concepts": (replace(PLAN, images=2), lambda data: None),
    "a concept without images": (replace(PLAN, concepts=("bear", "dog")), lambda data: None),
    "most of many": (replace(PLAN, concepts=("dog", "cat", "bear"), images=2), lambda data: None),
    "pictures that lead out": (replace(PLAN, concepts=("bear", "cat"), images=2), linked_out),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_cannot_be_enough_is_refused_before_workers_start(case: str, data: Path, tmp_path: Path):
    plan, change = LACKING[case]
    change(data)
    with pytest.raises(TooFewSamples, match=r"of \d concepts are in fewer than \d images"):
        Cluster(ReproductionJob(plan, data), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(Connected):
        Cluster(ReproductionJob(replace(plan, allow_missing=True), data), tmp_path / "out")


def test_enough_data_and_data_that_only_workers_see_go_on(data: Path, tmp_path: Path):
    for job in (
        ReproductionJob(PLAN, data),
        ReproductionJob(PLAN, tmp_path / "elsewhere"),
        ReproductionJob(PLAN, Path("elsewhere"), place=tmp_path),
    ):
        with pytest.raises(Connected):
            Cluster(job, tmp_path / "out")


def test_data_that_cannot_be_read_here_are_refused(data: Path, tmp_path: Path):
    for name in os.listdir(data / "annotations"):
        (data / "annotations" / name).write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidSample, match="instances_a"):
        Cluster(ReproductionJob(PLAN, data), tmp_path / "out")

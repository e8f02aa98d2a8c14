"""The pass over the pictures by a worker, called as a cluster calls it: the index of one process, byte for byte."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.cluster.messages import Probe
from neuronscope.cluster.worker import Worker
from neuronscope.index.file import NAME
from neuronscope.models.decoding import Decoding
from neuronscope.options import Loading
from neuronscope.samples.picture_files import Pictures, gather
from neuronscope.studies.index.looking import Indexing
from neuronscope.studies.index.settings import IndexPlan
from neuronscope.studies.index.work import RUN, IndexRun

PLAN = IndexPlan(top=2, batch=2, part=2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Five pictures, and a file that is none."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(5)
    folder.mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def made(vlm: ns.VLM, pictures: Pictures, folder: Path) -> IndexRun:
    return IndexRun(vlm, pictures, PLAN, Decoding(), folder, loaded="tiny")


def content(folder: Path) -> dict[str, bytes]:
    files = [*(folder / RUN / "parts").glob("*/*"), folder / NAME]
    return {f"{path.parent.name}/{path.name}" if path.name != NAME else NAME: path.read_bytes() for path in files}


@pytest.mark.parametrize("storage", ["shared", "driver"])
def test_workers_make_the_same_index(
    place: Path, checkpoint: Path, tmp_path: Path, storage: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    vlm, pictures = ns.load(str(checkpoint)), gather([place], checked=False)
    alone, shared = made(vlm, pictures, tmp_path / "alone"), made(vlm, pictures, tmp_path / "shared")
    alone.work()
    worker = Worker()
    task = pickle.loads(pickle.dumps(Indexing(Loading(model=str(checkpoint)), pictures, PLAN, Decoding())))
    assert worker.hello(task).settings == shared.run.settings
    probe = Probe(shared.run.folder / "temporary" / "probe", "here")
    probe.path.write_text(probe.token)
    worker.join(shared.run.folder, probe, storage)
    kept = (place / "4.png").read_bytes()
    (place / "4.png").write_bytes((place / "3.png").read_bytes())
    reports = [done for done in worker.work(shared.units, []) if done is not None]
    reasons = [done.reason for done in reports if done.reason]
    assert len(reasons) == 1
    assert f"{place / '4.png'} is another file on " in reasons[0]
    (place / "4.png").unlink()
    (again,) = [done.reason for done in worker.work(shared.units, []) if done is not None and done.reason]
    assert f"{place / '4.png'} cannot be read on " in again  # where nobody else would say that it is no picture
    for done in reports:
        for part in done.parts:
            assert shared.run.adopt(part.name.kind, part.name.key, part.data)
    assert shared.left() == 1
    (place / "4.png").write_bytes(kept)
    shared.work()  # begun by one engine, gone on with by the other
    alone.finish()
    assert [one["where"] for one in shared.finish().refused] == [str(place / "broken.png")]
    assert content(tmp_path / "alone") == content(tmp_path / "shared")
    worker.leave()

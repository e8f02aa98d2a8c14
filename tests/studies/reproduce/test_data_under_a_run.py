"""A run is gone on with after its data have changed: what decides results is noticed, and what does not is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidSample, RunMismatch
from neuronscope.samples.scenes import write_coco
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.opening import open_run
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.work import Reproduction

PLAN = Experiment(
    ("bear", "bus"), images=1, methods=("two-stage",), levels=(2.0,), draws=1, metrics={}, random_sets=0, seed=1,
    limits=Limits(min_side=16.0), edit="exact",
)  # fmt: skip


def begin(vlm: ns.VLM, data: Path, out: Path) -> Reproduction:
    source = ns.CocoFolder.open(data)
    return Reproduction(vlm, source, PLAN, open_run(out, vlm, source.identity(), PLAN))


@pytest.fixture(scope="module")
def begun(demo: ns.VLM, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """Data, a run whose data set is built, and the pictures that it took."""
    data = write_coco(tmp_path_factory.mktemp("data") / "coco", 16, 20_000_037)
    out = tmp_path_factory.mktemp("run") / "run"
    return data, out, [Path(str(kept.pair.sample.image)) for kept in begin(demo, data, out).samples]


def tables(data: Path, change: Callable[[dict[str, Any]], object], name: str = "instances") -> None:
    (path,) = (data / "annotations").glob(f"{name}_*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def one_pixel(path: Path) -> None:
    picture = Image.open(path).convert("RGB")
    red, green, blue = picture.getpixel((3, 3))  # pyright: ignore
    picture.putpixel((3, 3), (red ^ 1, green, blue))
    picture.save(path)


def exact(data: Path, at: Path) -> list[Path]:
    found = sorted((data / "exact").rglob(f"{at.stem}*"))
    assert found
    return found


def again(path: Path) -> None:
    Image.open(path).convert("RGB").save(path, compress_level=1)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).convert("RGB").save(path, exif=exif)


NOTICED: dict[str, Callable[[Path, Path], object]] = {
    "another picture": lambda data, at: Image.new("RGB", Image.open(at).size, "red").save(at),
    "one bit of one pixel": lambda data, at: one_pixel(at),
    "a picture turned": lambda data, at: turned(at),
    "a picture that is gone": lambda data, at: at.unlink(),
    "a picture of another size": lambda data, at: Image.open(at).resize((64, 64)).save(at),
    "the picture without the object": lambda data, at: [one_pixel(path) for path in exact(data, at)],
    "a box": lambda data, at: tables(data, lambda t: t["annotations"][0]["bbox"].__setitem__(2, 9.0)),
    "a category's name": lambda data, at: tables(data, lambda t: t["categories"][0].update(name="cat")),
    "a row more": lambda data, at: tables(data, lambda t: t["categories"].append({"id": 999, "name": "yak"})),
    "the order of rows": lambda data, at: tables(data, lambda t: t["images"].reverse()),
}
NOT: dict[str, Callable[[Path, Path], object]] = {
    "nothing": lambda data, at: None,
    "the same pixels in another file": lambda data, at: again(at),
    "captions, which nothing of a run reads": lambda data, at: tables(
        data, lambda t: [row.update(caption="a cat") for row in t["annotations"]], "captions"
    ),
    "a folder beside the pictures": lambda data, at: (data / "notes").mkdir(),
    "the time of a file": lambda data, at: at.touch(),
}


def copy_of(begun: tuple[Path, Path, list[Path]], place: Path) -> tuple[Path, Path, Path]:
    data, out, used = begun
    shutil.copytree(data, place / "coco")
    shutil.copytree(out, place / "run")
    return place / "coco", place / "run", place / "coco" / used[0].relative_to(data)


@pytest.mark.parametrize("change", NOTICED)
def test_what_decides_results_is_noticed(change: str, begun: Any, demo: ns.VLM, tmp_path: Path):
    data, out, picture = copy_of(begun, tmp_path)
    NOTICED[change](data, picture)
    with pytest.raises((RunMismatch, InvalidSample)) as caught:
        _ = begin(demo, data, out).samples
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", NOT)
def test_what_does_not_is_not(change: str, begun: Any, demo: ns.VLM, tmp_path: Path):
    data, out, picture = copy_of(begun, tmp_path)
    NOT[change](data, picture)
    assert len(begin(demo, data, out).samples) == 2

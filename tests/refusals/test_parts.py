"""Parts of runs that are whole, stamped for the run and hold another document: the part is refused in one line.

Somebody who writes a part with its right hash can put anything into it. Every value of the documents of every kind of
part is left out or of another kind in turn, every other column has no value, and a part has no row or too many; what is
read is refused by the part's place, or was never needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import neuronscope as ns
from neuronscope.models.decoding import Decoding
from neuronscope.run.directory import Run
from neuronscope.run.parts import decode, encode
from neuronscope.samples.picture_files import gather
from neuronscope.studies.discover.collect import collect_discoveries
from neuronscope.studies.discover.directory import SCHEMAS as DISCOVERING
from neuronscope.studies.discover.directory import open_discovery
from neuronscope.studies.discover.settings import DiscoveryPlan
from neuronscope.studies.discover.work import DiscoveryRun
from neuronscope.studies.reproduce.collect import collect
from neuronscope.studies.reproduce.conditions import Limits
from neuronscope.studies.reproduce.opening import open_run, run_settings
from neuronscope.studies.reproduce.record import read_named
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.units import SCHEMAS as REPRODUCING
from neuronscope.studies.reproduce.work import Reproduction

from .damage import copied, documents
from .test_files import refused, report, spread, told

PLAN = Experiment(
    ("bear", "bus"),
    images=1,
    methods=("two-stage:activation=1,gradient=0.05", "random"),
    levels=(2.0,),
    draws=1,
    ablations=(),
    metrics={"bleu-1": {}},
    random_sets=20,
    seed=1,
    limits=Limits(min_side=16.0),
    decoding=Decoding(max_new_tokens=4),
)
#: Columns that hold JSON.
JSON = ("document", "neurons", "provenance")


@pytest.fixture(scope="module")
def reproduced(demo: ns.VLM, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, source = tmp_path_factory.mktemp("reproduced"), ns.CocoFolder.open(data / "good" / "coco")
    Reproduction(demo, source, PLAN, open_run(out, demo, source.identity(), PLAN)).work()
    return out


def parts_of(folder: Path, settings: str) -> dict[str, Path]:
    """Kind -> its first part that has rows."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "parts").glob("*/*.parquet")):
        if decode(path.read_bytes(), path.name, settings)[1].num_rows:
            found.setdefault(path.parent.name, path.relative_to(folder))
    return found


def forgeries(table: pa.Table, few: int) -> Iterator[tuple[str, pa.Table]]:
    """What is changed, and rows that hold it; the types of the columns stay, which are looked at before."""
    rows = table.to_pylist()
    for name in table.column_names:
        if name in JSON and rows[0][name] is not None:
            for what, text in spread(documents(rows[0][name]), few):
                yield f"{name}: {what}", table_of(table, [{**rows[0], name: text}, *rows[1:]])
            for text in ("", "x", "[]", "null", "3", "[" * 3000, '{"x": 1e999}'):
                yield f"{name} is {text[:9]}", table_of(table, [{**rows[0], name: text}, *rows[1:]])
        yield f"{name} has no value", table_of(table, [{**rows[0], name: None}, *rows[1:]])
    yield "no rows", table.slice(0, 0)
    yield "a row twice", table_of(table, [rows[0], *rows])


def table_of(like: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=like.schema)


def forge(folder: Path, path: Path, settings: str, table: pa.Table) -> None:
    stamp, _ = decode((folder / path).read_bytes(), path.name, settings)
    (folder / path).write_bytes(encode(table, stamp))


def tried(good: Path, place: Path, few: int, use: Callable[[str, Path], object]) -> list[tuple[str, str]]:
    """What is wrong with how a forged part of each kind is taken; `use` is told the kind and the run's copy."""
    settings = Run.existing(good).record.digest
    found: list[tuple[str, str]] = []
    for kind, path in parts_of(good, settings).items():
        _, table = decode((good / path).read_bytes(), path.name, settings)
        for what, forged in forgeries(table, few):
            copy = copied(good, place)
            forge(copy, path, settings, forged)
            found.append((f"{kind}, {what}", refused(lambda kind=kind, copy=copy: use(kind, copy), place)))
    return found


@pytest.mark.usefixtures("unchecked")
def test_parts_of_a_reproduction(reproduced: Path, demo: ns.VLM, data: Path, tmp_path: Path):
    source = ns.CocoFolder.open(data / "good" / "coco")
    settings = run_settings(demo, source.identity(), PLAN)  # the same for every copy, and read from all weights

    def use(kind: str, folder: Path) -> None:
        if kind == "candidate":  # which is read only where the data set is not there
            shutil.rmtree(folder / "parts" / "dataset")
        work = Reproduction(demo, source, PLAN, Run.open(folder, settings, schemas=REPRODUCING))
        if kind == "candidate":
            assert work.samples
            return
        read_named(work.run, PLAN.concepts)
        collect(work)

    for kind in ("candidate", "captions"):
        use(kind, copied(reproduced, tmp_path / "run"))
    found = tried(reproduced, tmp_path / "run", 5, use)
    report(found)
    assert len(found) > 60


@pytest.mark.usefixtures("loaded_once", "unchecked")
def test_pages_of_forged_parts(reproduced: Path, data: Path, tmp_path: Path):
    settings = Run.existing(reproduced).record.digest
    found: list[tuple[str, str]] = []
    for kind in ("dataset", "located", "captions"):
        path = parts_of(reproduced, settings)[kind]
        _, table = decode((reproduced / path).read_bytes(), path.name, settings)
        for what, forged in forgeries(table, 3):
            place = copied(reproduced, tmp_path / "run")
            forge(place, path, settings, forged)
            words = ["report", place, "--data", data / "good" / "coco", "--out", tmp_path / "page.html"]
            found.append((f"{kind}, {what}", told(words, place)))
    report(found)


@pytest.mark.usefixtures("unchecked")
def test_parts_of_a_discovery(demo: ns.VLM, data: Path, tmp_path: Path):
    pictures = gather([data / "good" / "pictures"]).items[:3]
    plan = DiscoveryPlan(
        discovery=ns.Discovery(top=5, nouns="tagger"), group=2, group_k=3, ks=(1, 3), draws=1, described=(3, 3)
    )

    good = tmp_path / "good"
    DiscoveryRun(demo, pictures, plan, open_discovery(good, demo, plan)).work()
    settings = plan.settings(demo)  # the same for every copy, and read from all weights

    def begun(folder: Path) -> DiscoveryRun:
        return DiscoveryRun(demo, pictures, plan, Run.open(folder, settings, schemas=DISCOVERING))

    report(tried(good, tmp_path / "run", 12, lambda _, folder: collect_discoveries(begun(folder))))

"""Every verb that takes pictures or annotated data takes them in every form; the same data give the same results."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from data_forms import FORMS, Data, of_scenes
from hallucinations import scenes as hallucinated
from neuronscope.cli.main import app
from neuronscope.studies.demo.scenes import scene_stream

Cli = Callable[..., tuple[int, str, str]]

#: Verb -> its words, DATA for the data and OUT for a folder, and what of its document has to be the same in every form.
VERBS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "pictures": ("L3.U7 DATA --concept bear --draws 2", lambda found: (found["auc"], found["shown"])),
    "concept": (
        "DATA bear -n 2 --method grad-x-activation --count 9 --no-test --max-new-tokens 6 --out OUT",
        lambda found: found["neurons"],
    ),
    "discover": (
        "DATA --top 5 --shuffles 0 --group 2 --max-new-tokens 6 --out OUT",
        lambda found: sorted(found["nouns"]),
    ),
    "index": ("DATA --pages 1 --top 2 --out OUT", lambda found: (found["pictures"], found["pages"])),
    "edit": (
        "--images DATA --source bear --editor ablate --count 3 --controls 0 --made-with 1 --max-new-tokens 6 --out OUT",
        lambda found: [len(found["images"][one]) for one in sorted(found["images"])],
    ),
    "repair": (
        "--images DATA --count 1 --set right=0 --max-new-tokens 12 --out OUT",
        lambda found: [one["before"] for one in found["hallucinations"]],
    ),
}
REPRODUCE = (
    "--concepts bear,bus -n 2 --min-side 16 --levels 2 --draws 1 --ablations none --methods two-stage --metrics none "
    "--random-sets 0"
)


@pytest.fixture(scope="session")
def data() -> Data:
    """Two bears, three buses, the last with other objects."""
    return of_scenes([one for name, n in (("bear", 2), ("bus", 3)) for one in islice(scene_stream(name, 5), n)])


@pytest.fixture(scope="session")
def wrong() -> Data:
    """A bus and two horses; the bus is called a horse."""
    return of_scenes(hallucinated()[:3])


def words(text: str, source: Path, out: Path) -> list[str]:
    return [{"DATA": str(source), "OUT": str(out)}.get(one, one) for one in text.split()]


def said(cli: Cli, *asked: object) -> dict[str, Any]:
    code, out, err = cli(*asked, "--json")
    assert code == 0, err
    return json.loads(out)


#: By default each verb with one form, another for each; the first is what others are compared with.
CASES = [
    pytest.param(verb, form, marks=[] if n == k + 1 else [pytest.mark.long], id=f"{verb}, {form}")
    for k, verb in enumerate(VERBS)
    for n, form in enumerate(FORMS)
]
_FIRST: dict[str, Any] = {}


@pytest.fixture
def expected(cli: Cli, data: Data, wrong: Data, tmp_path: Path) -> Callable[[str], Any]:
    """What a verb says of the data as a COCO folder."""

    def of(verb: str) -> Any:
        if verb not in _FIRST:
            source = FORMS["coco"](wrong if verb == "repair" else data, tmp_path / "coco")
            asked, part = VERBS[verb]
            _FIRST[verb] = part(said(cli, verb, *words(asked, source, tmp_path / "first")))
        return _FIRST[verb]

    return of


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("verb", "form"), CASES)
def test_every_form(
    cli: Cli, data: Data, wrong: Data, tmp_path: Path, expected: Callable[[str], Any], verb: str, form: str
):
    source = FORMS[form](wrong if verb == "repair" else data, tmp_path / "data")
    asked, part = VERBS[verb]
    found = part(said(cli, verb, *words(asked, source, tmp_path / "out")))
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(expected(verb)))
    assert found


def test_no_verb_with_data_is_left_out():
    """Verbs with --split read annotated data."""
    reads = {
        command.name
        for command in app.registered_commands
        if command.callback is not None and "split" in command.callback.__annotations__
    }
    assert reads == {*VERBS, "reproduce", "report"}


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    "form",
    [pytest.param(one, marks=pytest.mark.long) for one in FORMS if one != "coco"],
)
def test_a_whole_reproduction(cli: Cli, data: Data, tmp_path: Path, tables: dict[str, Any], form: str):
    """The same tables as of the COCO folder; and the page of the run finds its pictures again."""
    if not tables:
        source = FORMS["coco"](data, tmp_path / "coco")
        found = said(cli, "reproduce", "--data", source, *REPRODUCE.split(), "--out", tmp_path / "first")
        tables.update({name: found[name] for name in ("table_2", "thresholds", "verdict") if name in found})
    source, out = FORMS[form](data, tmp_path / "data"), tmp_path / "run"
    found = said(cli, "reproduce", "--data", source, *REPRODUCE.split(), "--out", out)
    assert {name: found[name] for name in tables} == tables
    said(cli, "report", out, "--data", source, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Thumbnails are from the data" in page
    assert "are not there" not in page


def test_splits_are_chosen(cli: Cli, data: Data, tmp_path: Path):
    source = FORMS["yolo"](data, tmp_path / "data")
    for part in ("images", "labels"):
        (source / part / "val").mkdir()
    code, _, err = cli("pictures", "L3.U7", source)
    assert code == 1
    assert "choose one of train, val" in err
    found = said(cli, "pictures", "L3.U7", source, "--split", "train", "--draws", "2")
    assert found["pictures"] == len(data)
    code, _, err = cli("discover", source / "images" / "train", "--split", "train")
    assert code == 1
    assert "split='train' is one of annotated data" in err


def test_pictures_that_a_table_holds_are_files_of_this_process(data: Data, tmp_path: Path):
    found = ns.annotated(FORMS["saved by datasets"](data, tmp_path / "data"))
    paths = [path for path, _ in found.showing("bear")]
    assert len(set(paths)) == len(data)
    for path, (picture, _) in zip(paths, data.values(), strict=True):
        assert ns.samples.read_image(path).tobytes() == picture.convert("RGB").tobytes()

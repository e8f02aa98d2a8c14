"""Whatever a verb prints, writes as JSON or puts on a page begins with a sentence for a person."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from data_forms import coco, of_scenes
from hallucinations import write_folder
from neuronscope.cli import convert
from neuronscope.cli.main import app
from neuronscope.models.conversion.report import ConversionReport
from neuronscope.studies.demo.scenes import scene_stream

Cli = Callable[..., tuple[int, str, str]]

#: Verb -> its words; names in capitals are in :func:`places`.
WORDS: dict[str, str] = {
    "demo": "-n 1 --out OUT",
    "scenes": "-n 2 --out OUT",
    "check": "demo --only memory~released",
    "check --estimate": "demo --estimate --card rtx4090",
    "models": "",
    "locate": "BEAR bear --box BOX --method grad-x-activation --count 3 --no-test --out OUT",
    "locate, tested": "BEAR bear --box BOX --method grad-x-activation --count 3 --draws 1 --out OUT",
    "concept": "DATA bear -n 2 --method grad-x-activation --count 9 --out OUT",
    "concept, untested": "DATA bear -n 1 --method grad-x-activation --count 9 --no-test --out OUT",
    "truth": "BEAR bear --box BOX --budget 300 --method grad-x-activation --out OUT",
    "discover": "DATA --top 5 --shuffles 0 --group 2 --out OUT",
    "caption": "BEAR",
    "caption, asked": "BEAR --question What? --chat never --template {image}{question}",
    "decode": "L3.U7 L2.U5",
    "heatmap": "BEAR L3.U7 --out OUT/a.png",
    "heatmap, with a box": "BEAR L3.U7 --box BOX --draws 3 --out OUT/a.png",
    "pictures": "L3.U7 DATA --concept bear --draws 2",
    "pictures, unlabelled": "L3.U7 DATA/images --draws 2",
    "index": "DATA --pages 1 --top 2 --out INDEX",
    "neuron": "L3.U7 --index INDEX",
    "neuron, two": "L3.U7 L2.U5 --index INDEX",
    "neuron --export": "--layer 1 --export OUT/a.jsonl --index INDEX",
    "edit": "--images DATA --source bear --editor ablate --count 3 --controls 1 --made-with 1 --out OUT",
    "edit --suppress": "--images DATA --suppress LIST --editor ablate --count 3 --made-with 1 --out OUT",
    "repair": "--images WRONG --count 1 --set right=1 --out OUT",
    "reproduce": "--data DATA --concepts bear,bus -n 1 --min-side 16 --levels 2 --draws 1 --ablations none "
    "--methods pan,random --metrics none --out RUN",
    "reproduce --plan": "--concepts bear,bus --plan",
    "report": "RUN --out OUT/a.html",
}
#: Those that take a second or two; NEURONSCOPE_LONG=all runs the others, too.
SHORT = ("scenes", "check", "check --estimate", "models", "locate", "caption", "caption, asked", "decode", "heatmap")
#: Verbs that are not run here, and where they are.
ELSEWHERE = {"explore": "tests/explorer/test_cli.py", "convert": "below"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("first")
    scenes = of_scenes(
        [one for name, count in (("bear", 3), ("bus", 3), ("cake", 2)) for one in islice(scene_stream(name, 5), count)]
    )
    data = coco(scenes, root / "data")
    (root / "words.txt").write_text("bear\nbus\n", encoding="utf-8")
    box = next(box for name, box in scenes["000.png"][1] if name == "bear")
    return {
        "DATA": data, "BEAR": data / "images" / "000.png", "BOX": ",".join(f"{side:g}" for side in box),
        "WRONG": write_folder(root / "wrong"), "LIST": root / "words.txt", "INDEX": root / "index", "RUN": root / "run",
        "ROOT": root,
    }  # fmt: skip


def is_sentence(text: str) -> bool:
    """It begins with a capital or a number or a name, ends with a full stop, and says more than two words."""
    return bool(re.fullmatch(r"[\w“].* .* .*[.”]\.?|[\w“].* .* .*\.", text)) and not text.startswith("#")


#: Verb and words -> what it printed. A verb's folder is that of its name.
_PRINTED: dict[str, str] = {}


def printed(cli: Cli, places: dict[str, Any], verb: str) -> str:
    """What a verb prints, run once."""
    if verb not in _PRINTED:
        asked = WORDS[verb].split()
        for name, place in {"OUT": places["ROOT"] / verb, **places}.items():
            asked = [one.replace(name, str(place)) for one in asked]
        code, out, err = cli(name_of(verb), *(one.replace("~", " ") for one in asked), "--quiet")
        assert code == 0, err
        _PRINTED[verb] = out
    return _PRINTED[verb]


def name_of(verb: str) -> str:
    return verb.split(",")[0].split()[0]


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=[] if verb in SHORT else [pytest.mark.long]) for verb in WORDS]
)
def test_the_first_line(cli: Cli, places: dict[str, Any], verb: str):
    if name_of(verb) in ("neuron", "report"):
        printed(cli, places, "index" if name_of(verb) == "neuron" else "reproduce")
    first, *rest = printed(cli, places, verb).splitlines()
    assert is_sentence(first), first
    assert not any(first in line for line in rest)


@pytest.mark.parametrize("verb", ["caption", "decode L3.U7", "models"])
def test_documents_begin_with_it(cli: Cli, places: dict[str, Any], verb: str):
    """As all do: one function ends every verb."""
    words = [str(places["BEAR"])] if verb == "caption" else []
    first = cli(*verb.split(), *words, "--quiet")[1].splitlines()[0]
    document = json.loads(cli(*verb.split(), *words, "--quiet", "--json")[1])
    assert next(iter(document)) == "verdict"
    assert document["verdict"] == first


def test_no_verb_is_left_out():
    names = {one.name for one in app.registered_commands} | {one.name for one in app.registered_groups}
    assert names == {name_of(verb) for verb in WORDS} | ELSEWHERE.keys()


@pytest.mark.long
def test_pages(cli: Cli, places: dict[str, Any], tmp_path: Path):
    """The first paragraph behind the title."""
    left = ("demo", "truth", "locate, tested", "discover", "edit", "edit --suppress", "repair")
    for verb in (*left, "index", "neuron", "reproduce"):
        printed(cli, places, verb)
    results = [places["ROOT"] / verb for verb in left]
    pages = [places["INDEX"] / "index.html", *sorted((places["INDEX"] / "neurons").glob("*.html"))[:2]]
    for number, result in enumerate([*results, places["RUN"]]):
        assert cli("report", result, "--out", tmp_path / f"{number}.html")[0] == 0
        pages.append(tmp_path / f"{number}.html")
    for page in pages:
        body = page.read_text(encoding="utf-8").split("</h1>")[1]
        first = re.findall(r"<p[^>]*>.*?</p>", body, re.DOTALL)[0]
        assert 'class="verdict"' in first, page
        assert is_sentence(" ".join(re.sub(r"<[^>]+>", "", first).split())), first


def test_what_was_converted(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    made: dict[str, Any] = dict.fromkeys(ConversionReport.__annotations__, "x")
    made |= {"used": ["a", "b"], "ignored": {"c": "a counter"}, "kind": "LLaVA v1"}
    convert._emit(tmp_path, ConversionReport(**made), [], False)
    first = capsys.readouterr().out.splitlines()[0]
    assert is_sentence(first)
    assert "2 tensors" in first


def test_it_is_a_sentence():
    assert is_sentence("12 neurons. With them changed 0 of 3 captions name the bear.")
    assert not any(map(is_sentence, ["# Evaluation", "heatmap.png: mean", "concept   bear", "", "a.png", "Two words."]))

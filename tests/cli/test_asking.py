"""What a verb is told to ask is what the model is asked, by every reading of every picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.models.loaded import LoadedModel
from neuronscope.studies.demo.scenes import scenes_of

ASKED = ns.Decoding("There is a", max_new_tokens=6, chat="never")
OPTIONS = ("--prefix", "There is a", "--max-new-tokens", "6", "--chat", "never")
USUAL = ns.Decoding()
#: Modules that only ask whether a picture can be read, or how it is resized.
LOOKING = ("models.usable", "conditions", "selfcheck", "checks", "unlisted", "batching")


@pytest.fixture
def bears(tmp_path: Path) -> list[tuple[Path, str]]:
    """Two pictures of bears, each with the box of the first one's bear."""
    found: list[tuple[Path, str]] = []
    for number, sample in enumerate(scenes_of("bear", 2)):
        path = tmp_path / f"{number}.png"
        sample.load().save(path)
        found.append((path, ",".join(f"{value:g}" for value in sample.boxes[0])))
    return found


@pytest.fixture
def busses(tmp_path: Path) -> Path:
    folder = tmp_path / "busses"
    folder.mkdir()
    for number, sample in enumerate(scenes_of("bus", 2)):
        sample.load().save(folder / f"{number}.png")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[ns.Decoding]]:
    """Module -> what it asked."""
    found: dict[str, set[ns.Decoding]] = {}
    real = LoadedModel.prepare

    def prepare(self: Any, images: Any, decoding: ns.Decoding = USUAL, **more: Any) -> Any:
        frame: Any = sys._getframe(1)
        while frame.f_globals["__name__"].endswith(("turns", "test_asking")):
            frame = frame.f_back
        found.setdefault(frame.f_globals["__name__"], set()).add(decoding)
        return real(self, images, decoding, **more)

    monkeypatch.setattr(LoadedModel, "prepare", prepare)
    return found


Verb = Callable[[list[tuple[Path, str]], Path, Path, Path], tuple[object, ...]]


def _list(folder: Path) -> Path:
    """A word to suppress."""
    (folder / "words.txt").write_text("bear\n")
    return folder / "words.txt"


VERBS: dict[str, Verb] = {
    "caption": lambda bears, *_: ("caption", bears[0][0]),
    "locate": lambda bears, busses, scenes, out: ("locate", bears[0][0], "bear", "--box", bears[0][1], "--draws", 1),
    "locate by a filter": lambda bears, busses, scenes, out: (
        *("locate", bears[1][0], "bear", "--box", bears[1][1], "--no-test", "--budget", 20),
    ),
    "locate by a ranking": lambda bears, busses, scenes, out: (
        *("locate", bears[1][0], "bear", "--box", bears[1][1], "--no-test"),
        *("--count", 5, "--method", "integrated-gradients"),
    ),
    "heatmap": lambda bears, *_: ("heatmap", bears[0][0], "3.5", "4.6", "--box", bears[0][1], "--draws", 2),
    "discover": lambda bears, *_: ("discover", bears[0][0], bears[1][0], "--nouns", "lexicon", "--top", 20),
    "index": lambda bears, *_: ("index", bears[0][0], bears[1][0], "--pages", 1),
    "edit": lambda bears, busses, scenes, out: (
        *("edit", "--images", bears[0][0].parent, "--images", busses, "--source", "bear", "--target", "bus"),
        *("--editor", "swap", "--count", 5, "--made-with", 1, "--controls", 0),
    ),
    "edit of a list": lambda bears, busses, scenes, out: (
        *("edit", "--images", bears[0][0].parent, "--images", busses, "--suppress", _list(out)),
        *("--editor", "swap", "--count", 5, "--made-with", 1, "--controls", 0),
    ),
    "concept": lambda bears, busses, scenes, out: ("concept", scenes, "bear", "-n", 2, "--count", 20),
    "reproduce": lambda bears, busses, scenes, out: (
        *("reproduce", "--data", scenes, "--concepts", "bear,bus", "--images", 1, "--min-side", 16),
        *("--metrics", "none", "--methods", "two-stage:activation=1,gradient=0.05,pan", "--levels", "none"),
        *("--ablations", "zero,mean,patch", "--random-sets", 0),
    ),
}


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.usefixtures("undrawn")
def test_every_reading_of_a_picture_is_asked_what_the_verb_was_told(
    cli: Callable[..., tuple[int, str, str]],
    bears: list[tuple[Path, str]],
    busses: Path,
    few_scenes: Path,
    tmp_path: Path,
    asked: dict[str, set[ns.Decoding]],
    request: pytest.FixtureRequest,
    name: str,
):
    if name.startswith("locate by"):
        request.getfixturevalue("unplaced")  # `locate` reads the picture for its place, too
    verb = VERBS[name](bears, busses, few_scenes, tmp_path)
    out = () if verb[0] == "caption" else ("--out", tmp_path / ("map.png" if verb[0] == "heatmap" else "out"))
    code, text, told = cli(*verb, *OPTIONS, *out, "--json")
    assert code == 0, text + told
    others = {module: made for module, made in asked.items() if not any(part in module for part in LOOKING)}
    assert others
    assert not {module: made - {ASKED} for module, made in others.items() if made != {ASKED}}
    document = json.dumps(json.loads(text))
    recorded = document + "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json"))
    assert "There is a" in recorded


def test_a_question_and_a_system_turn_reach_the_model(
    cli: Callable[..., tuple[int, str, str]], bears: list[tuple[Path, str]]
):
    told = ("--question", "What is it?", "--system", "Be short.", "--template", "{system} {image} {question} {prefix}")
    code, text, _ = cli("caption", bears[0][0], *told, "--prefix", "a", "--max-new-tokens", 2, "--json")
    assert code == 0
    document = json.loads(text)
    assert document["sent"] == "Be short. <image> What is it? a"
    assert document["captions"][0]["caption"].startswith("a")
    code, text, _ = cli("caption", bears[0][0], "--chat", "always", "--json")
    assert code == 1
    assert "demo has no chat template that shows an image" in json.loads(text)["error"]["message"]


@pytest.mark.usefixtures("undrawn", "unplaced")
def test_a_map_of_a_located_set_asks_what_was_asked_then(
    cli: Callable[..., tuple[int, str, str]], bears: list[tuple[Path, str]], tmp_path: Path
):
    """Unless another thing is asked for; a set that does not say was asked the usual."""
    path, box = bears[1]
    given = ("--box", box, "--no-test", "--method", "activation", "--count", 3)
    told = ("--template", "now {image} {prefix}")
    assert cli("locate", path, "bear", *given, *told, "--out", tmp_path / "out")[0] == 0

    def sent(*neurons: object) -> str:
        return json.loads(cli("heatmap", path, *neurons, "--out", tmp_path / "map.png", "--json")[1])["sent"]

    found = tmp_path / "out" / "neurons.json"
    assert (
        sent(found)
        == json.loads(found.read_text(encoding="utf-8"))["provenance"]["sent"]
        == ("now <image> The image shows a")
    )
    assert sent(found, "--prefix", "There is a") == "<image>\nThere is a"
    assert sent("3.5") == "<image>\nThe image shows a"

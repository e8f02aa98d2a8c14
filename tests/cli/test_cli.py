"""The command line in process: exit codes, documents on stdout, nothing half written."""

import json

import numpy as np
import pytest
from PIL import Image

from neuronscope.cli.output import table


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


def test_check_prints_what_was_found(cli, checkpoint):
    code, out, _ = cli("check", checkpoint, "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["layers"], document["d_f"], document["sites"]) == (4, 48, ["neuron", "act", "pre"])
    assert {row["name"]: row["ok"] for row in document["checks"]}["logits with empty hooks"] is True
    code, out, _ = cli("check", checkpoint, "--only", "heat map")  # all lines: the test below
    assert code == 0
    assert "16 = 4 x 4" in out


def test_checks_can_be_chosen_and_lines_come_one_by_one(cli, checkpoint):
    asked = ("check", checkpoint, "--only", "heat map", "--only", "cached = uncached")
    code, out, _ = cli(*asked)
    assert code == 0
    said = [line.split(":")[0] for line in out.splitlines() if ": ok: " in line]
    assert said[-2:] == ["cached = uncached", "heat map"]
    assert "self" not in said  # whose lines come first, by their own names
    assert said[0] == "finite weights"
    document = json.loads(cli(*asked, "--json")[1])
    assert [row["name"] for row in document["checks"]] == said
    code, _, err = cli("check", checkpoint, "--only", "heatmap")
    assert code
    assert "--only='heatmap' is not known" in err


def test_caption(cli, checkpoint, image):
    code, out, _ = cli("caption", image, image, "--model", checkpoint, "--json")
    document = json.loads(out)
    captions = document["captions"]
    assert code == 0
    assert set(document["model"]) == {"id", "fingerprint"}
    assert document["decoding"]["max_new_tokens"] == 32
    assert "The image shows a" in str(document["sent"])
    assert len(captions) == 2
    assert captions[0]["caption"].startswith("The image shows a")


def test_decode_addresses_and_documents(cli, checkpoint, tmp_path):
    code, out, _ = cli("decode", "1.3", "2.7", "--model", checkpoint, "--json", "--top", 2)
    rows = json.loads(out)["neurons"]
    assert code == 0
    assert [(r["layer"], r["unit"], len(r["tokens"])) for r in rows] == [(1, 3, 2), (2, 7, 2)]
    assert [r["random"]["layer"] for r in rows] == [1, 2]
    assert "no stronger" in json.loads(out)["sentence"]
    code, _, err = cli("decode", "1-3", "--model", checkpoint)
    assert code == 1
    assert "LAYER.UNIT" in err
    code, _, err = cli("decode", "9.0", "--model", checkpoint)
    assert code == 1
    assert "layers 0 to 3" in err
    (tmp_path / "old.json").write_text('{"schema": "neuronscope.neurons/0"}')
    code, _, err = cli("decode", tmp_path / "old.json", "--model", checkpoint)
    assert code == 1
    assert "neurons/0" in err


def test_heatmap_writes_one_picture(cli, checkpoint, image, tmp_path):
    target = tmp_path / "deep" / "map.png"
    code, out, _ = cli("heatmap", image, "1.3", "--model", checkpoint, "--out", target, "--box", "1,2,10,12", "--json")
    assert code == 0
    assert np.array(json.loads(out)["grids"]).shape == (1, 4, 4)
    assert Image.open(target).size == (64, 48)
    assert "maps of random neurons" in json.loads(out)["place"]["sentence"]
    code, _, err = cli("heatmap", image, "1.3", "--model", checkpoint, "--out", target, "--draws", 0)
    assert code == 1
    assert "--draws" in err


def test_scenes_make_a_folder_that_the_reader_opens(cli, tmp_path):
    from neuronscope import CocoFolder

    code, out, _ = cli("scenes", "--out", tmp_path / "s", "--count", 6, "--seed", 3, "--json")
    assert code == 0
    assert json.loads(out)["count"] == 6
    folder = CocoFolder.open(tmp_path / "s")
    assert len(folder.concepts()) == 30
    samples = [s for concept in folder.concepts() for s in folder.samples(concept, max_area=1, min_area=0)]
    assert len(samples) >= 6
    assert all(s.load().size == (128, 128) and s.mask.any() and s.captions for s in samples)
    assert all(s.exact is not None for s in samples)


BAD = {
    "missing image": (["nope.png", "bear", "--box", "1,1,9,9"], "does not exist"),
    "no region": (["{image}", "bear"], "neither boxes nor a mask"),
    "box not numbers": (["{image}", "bear", "--box", "1,2,3"], "four finite numbers"),
    "inverted box": (["{image}", "bear", "--box", "9,9,-3,4"], "must be positive"),
    "box outside": (["{image}", "bear", "--box", "500,1,5,5"], "outside the image"),
    "whole image": (["{image}", "bear", "--box", "0,0,64,48"], "nothing would be left"),
    "empty concept": (["{image}", " ", "--box", "1,1,9,9"], "concept is empty"),
    "unknown preset": (["{image}", "bear", "--box", "1,1,9,9", "--preset", "papr"], "recommended, paper"),
    "concept without published thresholds": (["{image}", "zebra", "--box", "1,1,9,9", "--preset", "paper"], "giraffe"),
    "unknown edit": (["{image}", "bear", "--box", "1,1,9,9", "--edit", "magic"], "telea"),
    "caption does not name it": (["{image}", "bear", "--box", "1,1,9,9"], "does not name 'bear'"),
    "unknown concept, literal form": (["{image}", "quokka", "--box", "1,1,9,9"], "does not name 'quokka'"),
    "impossible q": (["{image}", "bear", "--box", "1,1,9,9", "--q", "2"], "0 < q < 1"),
    "unknown dtype": (["{image}", "bear", "--box", "1,1,9,9", "--dtype", "int3"], "float32"),
    "unknown device": (["{image}", "bear", "--box", "1,1,9,9", "--device", "tpux"], "not a device"),
    "model is no directory": (["{image}", "bear", "--box", "1,1,9,9", "--model", "{image}"], "is a file"),
}


@pytest.mark.parametrize("name", BAD)
def test_locate_refuses_bad_input_and_writes_nothing(cli, checkpoint, image, tmp_path, name):
    arguments, message = BAD[name]
    given = [str(a).format(image=image) for a in arguments]
    model = [] if "--model" in given else ["--model", checkpoint]
    out = tmp_path / "result"
    code, text, err = cli("locate", *given, *model, "--out", out, "--json")
    assert code == 1
    assert message in err
    assert message in json.loads(text)["error"]["message"]
    assert not out.exists() or not list(out.iterdir())


def test_output_that_cannot_be_written(cli, checkpoint, image, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("here first")
    code, _, err = cli("locate", image, "bear", "--box", "1,1,9,9", "--model", checkpoint, "--out", blocked)
    assert code == 1
    assert "cannot be written" in err
    assert blocked.read_text() == "here first"


@pytest.mark.parametrize("arguments", [["locate"], ["nonsense"], ["scenes", "--count", "many", "--out", "x"]])
def test_bad_usage_is_exit_code_2(cli, arguments):
    code, _, err = cli(*arguments)
    assert code == 2
    assert err.startswith("neuronscope: ")
    assert "--help lists all" in err
    assert len(err.splitlines()) == 1
    code, out, _ = cli(*arguments, "--json")
    assert (code, set(json.loads(out)["error"])) == (2, {"type", "message"})


def test_interrupt_leaves_nothing_half_written(cli, checkpoint, image, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("neuronscope.locate.validity.valid_pair", interrupted)
    code, _, _ = cli("locate", image, "bear", "--box", "1,1,9,9", "--model", checkpoint, "--out", tmp_path / "r")
    assert code == 130
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize("word", ["[/INST]", "[INST]", "[bold]", "[/]", ":bear:", "a[b]c", "[link=x]y"])
def test_a_table_prints_words_that_look_like_markup_as_they_are(word: str, capsys: pytest.CaptureFixture[str]):
    table(word, ("", ""), [("word", word)])
    assert capsys.readouterr().out.count(word) == 2


def test_long_cells_of_a_table_are_cut_on_a_narrow_terminal_and_whole_elsewhere(monkeypatch, capsys):
    """One line for each row, and the address as it can be copied."""
    rows = [("L14.U1265", "0.00125", "one two three four " * 9)]
    table("neurons", ("neuron", "score", "promotes"), rows, cut=("promotes",))
    assert rows[0][2].strip() in capsys.readouterr().out
    for name, value in {"COLUMNS": "60", "TTY_COMPATIBLE": "1", "FORCE_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    table("neurons", ("neuron", "score", "promotes"), rows, cut=("promotes",))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "one" in line]
    assert "L14.U1265" in line
    assert line.rstrip().endswith("…")
    assert "0.00125" in line

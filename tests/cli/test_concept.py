"""`neuronscope concept` on a folder of scenes: which photographs are used, what is written, what is refused."""

import json

import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.evaluate import planted

OPTIONS = ("-n", 3, "--method", "grad-x-activation", "--count", 30, "--within", 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty scenes in COCO's form."""
    out = tmp_path_factory.mktemp("scenes")
    with pytest.raises(SystemExit):
        main(["scenes", "--out", str(out), "--count", "40", "--seed", "7"])
    return out


@pytest.fixture(scope="module")
def concept(folder):
    """One that is in most of the scenes that can be used."""
    data = ns.CocoFolder.open(folder)
    return max(data.concepts(), key=lambda name: len(list(data.samples(name))))


def test_a_set_from_several_scenes(cli, folder, concept, tmp_path, demo):
    code, text, _ = cli("concept", folder, concept, *OPTIONS, "--held", 2, "--out", tmp_path / "out", "--json")
    assert code == 0
    document = json.loads(text)
    found = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"neurons.json", "layers.png", "summary.txt"}
    assert found.provenance["photographs"] == 3
    assert min(found.scores["held"]) >= 2
    assert set(planted(demo)[concept]) & set(found)
    assert document["summary"] == (tmp_path / "out" / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("used") for line in document["summary"]) == 3
    shares = [line.split()[4:] for line in document["summary"] if line.startswith("left out")]
    assert len(shares) == 3
    assert all(float(words[0]) > 0.5 > abs(float(words[-1])) for words in shares)


@pytest.mark.usefixtures("undrawn")
def test_two_edits_of_each_photograph(cli, folder, concept, tmp_path):
    edits = ("--edit", "telea", "--edit", "mean_fill")
    code, text, _ = cli(
        "concept", folder, concept, *OPTIONS, "-n", 2, *edits, "--no-test", "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    document = json.loads(text)
    assert document["provenance"]["photographs"] == 2
    assert [pair["edit"]["method"] for pair in document["provenance"]["pairs"]] == ["telea", "mean_fill"] * 2
    assert max(neuron["scores"]["held_edits"] for neuron in document["neurons"]) == 4


@pytest.mark.usefixtures("undrawn")
def test_corners_of_each_photograph(cli, folder, concept, tmp_path):
    """Of a photograph they are scored with, or said not to be; what comes out is saved with each."""
    code, text, _ = cli(
        "concept", folder, concept, *OPTIONS, "-n", 2, "--views", 1, "--no-test", "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    document = json.loads(text)
    kept = document["provenance"]
    unseen = [line for line in document["summary"] if line.startswith("unseen")]
    assert kept["photographs"] == 2
    assert [f"unseen    {line}" for line in kept["unseen"]] == unseen
    assert len(kept["pairs"]) + len(unseen) == 4
    assert sum(pair["edit"].get("view") == "top left" for pair in kept["pairs"]) == 2 - len(unseen)


@pytest.mark.usefixtures("undrawn")
def test_less_what_other_concepts_share(cli, folder, concept, tmp_path, demo):
    data = ns.CocoFolder.open(folder)
    other = max((name for name in data.concepts() if name != concept), key=lambda name: len(list(data.samples(name))))
    less = ("--against", other, "--weight", 0.5, "--no-test", "-n", 1)
    code, text, told = cli("concept", folder, concept, *OPTIONS, *less, "--out", tmp_path / "out", "--json")
    assert code == 0, told
    document = json.loads(text)
    assert f"less      0.5 times the mean of {other} (1)" in document["summary"]
    assert (document["options"]["weight"], document["options"]["against"]) == (0.5, [other])
    found = set(ns.Neurons.load(tmp_path / "out" / "neurons.json"))
    assert len(set(planted(demo)[concept]) & found) > len(set(planted(demo)[other]) & found)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--join", "product"), "join='product' is not known. Choices: mean, median, least, votes"),
        (("--scale", "effects"), "scale='effects' is not known"),
        (("--method", "nothing"), "method='nothing' is not known"),
        (("--edit", "erase"), "edit='erase' is not known"),
        (("-n", 0), "photographs=0 must be at least 1"),
        (("--reach", "wide"), "reach='wide' is not known"),
        (("--max-other-share", 2), "max_other_share=2.0 must be between 0 and 1"),
        (("--weight", "nan"), "weight"),
        (("--held", 4), "--held 4 is more than the 3 of --photographs"),
    ],
)
def test_refusals(cli, folder, concept, tmp_path, options, reason):
    code, _, told = cli("concept", folder, concept, *OPTIONS, *options, "--out", tmp_path / "out")
    assert code in (1, 2)
    assert reason in told


def test_a_concept_that_the_folder_has_not(cli, folder, tmp_path):
    code, _, told = cli("concept", folder, "walrus", "--out", tmp_path / "out")
    assert code == 1
    assert "no category 'walrus'" in told

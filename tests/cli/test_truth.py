"""`neuronscope truth`, from the command line to the saved files."""

import html
import io
import json
import re
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.evaluate.ordering import FIGURES
from neuronscope.locate import Exchange
from neuronscope.locate.scores import best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import valid_pair
from neuronscope.samples import Sample, read_image
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.studies.locate import exchanging
from neuronscope.studies.locate.judged import Judged


@pytest.fixture(scope="module")
def bear(tmp_path_factory):
    """A scene as a file, and the words that say where the bear is."""
    path, sample = tmp_path_factory.mktemp("truth") / "bear.png", scenes_of("bear", 2)[1]
    read_image(sample.image).save(path)
    return path, ",".join(f"{edge:g}" for edge in sample.boxes[0]), sample.boxes


WORDS = ["--method", "grad-x-activation", "--method", "activation-difference", "--budget", "300"]


@pytest.fixture(scope="module")
def words(bear):
    """The command but for its folder."""
    path, box, _ = bear
    return ["truth", str(path), "bear", "--box", box, *WORDS]


@pytest.fixture(scope="module", autouse=True)
def short_parts():
    """Parts of fewer neurons, so that a few more than were asked begin another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchanging, "PART", 64)
        yield


@pytest.fixture(scope="module")
def ran(words, short_parts, tmp_path_factory):
    """The folder of a command that ran to its end, and what it printed."""
    folder, text = tmp_path_factory.mktemp("done") / "out", io.StringIO()
    with pytest.raises(SystemExit) as stop, redirect_stdout(text):
        main([*words, "--out", str(folder)])
    assert not stop.value.code
    return folder, text.getvalue()


@pytest.fixture(scope="module")
def done(ran):
    """The folder of a command that ran to its end."""
    return ran[0]


def test_files_say_what_the_terminal_says(ran):
    done, text = ran
    told = json.loads((done / "truth.json").read_text())
    assert told["verdict"] in text
    assert told["verdict"] in (done / "truth.md").read_text().splitlines()[0]
    assert set(told["figures"]) == {"grad-x-activation", "activation-difference"}
    assert all(set(of) == set(FIGURES) for of in told["figures"].values())
    assert (done / "recovered.png").read_bytes()[:4] == b"\x89PNG"
    assert told["asked"] == 300
    assert told["total"] == 6144


def test_effects_are_those_of_the_library(done, bear, demo):
    """The same pair and neurons; what was asked are the best of both methods, and others."""
    held = json.loads((done / "effects.json").read_text())
    path, _, boxes = bear
    pair, validity = valid_pair(demo, Sample(read_image(path), "bear", boxes=boxes))
    layout = ns.effects(demo, pair, ns.Neurons.of([(0, 0)]), validity=validity).layout
    some = list(zip(held["flat"], held["values"], strict=True))[::25]
    exact = ns.effects(demo, pair, ns.Neurons.of([layout.split(flat) for flat, _ in some]), validity=validity)
    expected = dict(zip(exact.flat.tolist(), exact.values.tolist(), strict=True))
    assert all(value == pytest.approx(expected[flat], abs=1e-4) for flat, value in some)
    located = ns.method("grad-x-activation").locate(demo, pair, validity=validity)
    score = located.scores.arrays[located.ranked_by].values
    assert set(best_first(score)[:100].tolist()) <= set(held["flat"])
    told = json.loads((done / "truth.json").read_text())
    masks = [np.isin(np.arange(layout.total), best_first(score)[:20])]
    exchange = Exchange.of(demo, pair.original, pair.edited, concept_word(validity), ns.Decoding())
    share = exchange.effects(masks)[0] / told["edit"]
    assert told["recovered"]["grad-x-activation"]["20"] == pytest.approx(share, abs=1e-4)


def test_another_word_of_the_same_pictures_is_another_run(done, words, tmp_path, cli):
    """Somebody's own edit may take two objects away: what is asked of the second is not answered with the first's."""
    folder = tmp_path / "out"
    shutil.copytree(done / "run", folder / "run")
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["settings"]["word"]["entries"]
    record["settings"]["word"]["entries"] = [[1, 3]]
    (folder / "run" / "run.json").write_text(json.dumps(record))
    code, _, text = cli(*words, "--out", folder)
    assert code == 1
    assert "word.entries is [[1,3]] there" in text


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_goes_on(done, words, tmp_path, cli, monkeypatch):
    """A part is there already, another was damaged: only that one is asked again, and the end is the same file."""
    again = tmp_path / "again"
    shutil.copytree(done / "run", again / "run")
    parts = sorted((again / "run" / "parts" / "effects").iterdir(), key=lambda path: path.stat().st_size)
    assert len(parts) == 5  # 64 neurons four times, and 44
    parts[0].write_bytes(parts[0].read_bytes()[:-9])
    real, asked = Exchange.effects, []

    def effects(self, sets):
        asked.append(len(sets))
        return real(self, sets)

    monkeypatch.setattr(Exchange, "effects", effects)
    assert cli(*words, "--out", again)[0] == 0
    assert asked[0] == 44
    assert 64 not in asked
    assert (again / "effects.json").read_bytes() == (done / "effects.json").read_bytes()
    assert [path.name for path in (again / "run" / "damaged" / "effects").iterdir()]
    asked.clear()
    assert cli(*words, "--out", again)[0] == 0
    assert not {44, 64} & set(asked)  # and once more, where nothing is left


@pytest.mark.usefixtures("undrawn")
def test_a_larger_budget_asks_only_what_is_not_known(done, words, tmp_path, cli, monkeypatch):
    again = tmp_path / "again"
    shutil.copytree(done, again)
    real, asked = Exchange.effects, []

    def effects(self, sets):
        asked.append(len(sets))
        return real(self, sets)

    monkeypatch.setattr(Exchange, "effects", effects)
    assert cli(*words[:-1], "328", "--out", again)[0] == 0
    assert asked[:2] == [4, 24]  # of the two parts that come after the first four, what is not known
    now, before = (json.loads((folder / "effects.json").read_text()) for folder in (again, done))
    assert len(now["flat"]) == 328
    assert now["flat"] == sorted(now["flat"])
    known = dict(zip(now["flat"], now["values"], strict=True))
    assert all(known[flat] == value for flat, value in zip(before["flat"], before["values"], strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--measure", "logit"], "measure is"),
        (["--change", "zero"], "change is"),
        (["--edit", "mean_fill"], "pictures is"),
        (["--prefix", "A photo of a"], "decoding.prefix is"),
        (["damage"], "run.json is damaged"),
    ],
)
def test_effects_of_something_else_are_not_gone_on_with(done, words, tmp_path, cli, change, says):
    folder = tmp_path / "out"
    shutil.copytree(done / "run", folder / "run")
    path = folder / "run" / "run.json"
    content = path.read_text()
    path.write_text(content[:40] if change == ["damage"] else content)
    more = [] if change == ["damage"] else change
    code, _, text = cli(*words, *more, "--out", folder)
    assert code == 1
    assert says in text
    assert path.read_text() == (content[:40] if change == ["damage"] else content)
    assert not (folder / "effects.json").exists()


def second(done, folder, **changed):
    """The same result as of another picture."""
    shutil.copytree(done, folder)
    held = json.loads((folder / "truth.json").read_text())
    held["about"]["image"] = "other.png"
    for of in held["figures"].values():
        of["precision at 100"]["value"] /= 2
    (folder / "truth.json").write_text(json.dumps({**held, **changed}))
    return folder


def plain(page):
    """The first paragraph of a page."""
    return html.unescape(re.search(r'<p class="verdict">(.*?)</p>', page, re.DOTALL)[1])


def test_the_page_begins_in_plain_words_and_needs_nothing_else(done, cli, tmp_path):
    page = (done / "page.html").read_text()
    told = json.loads((done / "truth.json").read_text())
    best, worst = sorted(told["figures"], key=lambda name: -told["figures"][name]["precision at 100"]["value"])
    count = round(100 * told["figures"][best]["precision at 100"]["value"])
    assert plain(page).startswith(f"Of the 100 neurons that {best} names first, {count} are in this picture among the")
    assert f"of those that {worst} names" in plain(page)
    assert page.index('class="verdict"') < page.index("<figure>")  # then the picture
    assert page.count("data:image/jpeg") == 2
    assert told["verdict"] in html.unescape(page)
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org", "", page)
    assert "bear" in page
    code, out, _ = cli("report", done, "--out", tmp_path / "page.html", "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "truth"
    assert (tmp_path / "page.html").read_text() == page


def test_what_is_read_is_what_was_written(done, tmp_path):
    held = Judged.load(second(done, tmp_path / "second", found_by={"model": "a detector"}))
    assert held.found_by == {"model": "a detector"}
    held.save(tmp_path)
    assert Judged.load(tmp_path) == held


def test_several_pictures_pool(done, cli, tmp_path):
    other = second(done, tmp_path / "second")
    asked = ("report", done, other, "--out", tmp_path / "page.html")
    code, out, _ = cli(*asked, "--json")
    assert code == 0
    pooled = json.loads(out)["pooled"]
    told = [json.loads((folder / "truth.json").read_text()) for folder in (done, other)]
    for method in WORDS[1:4:2]:
        for figure in FIGURES:
            values = [one["figures"][method][figure]["value"] for one in told]
            mean = pooled["figures"][method][figure]
            assert mean["value"] == pytest.approx(np.mean(values))
            assert min(values) - 1e-9 <= mean["low"] <= mean["high"] <= max(values) + 1e-9
        assert pooled["recovered"][method]["20"]["value"] == pytest.approx(told[0]["recovered"][method]["20"])
    assert [one["image"] for one in pooled["pictures"]] == ["bear.png", "other.png"]
    assert "On 2 pictures, 300 of 6,144 neurons" in cli(*asked)[1]
    page = (tmp_path / "page.html").read_text()
    assert "over 2 pictures" in plain(page)
    assert page.count("data:image/jpeg") == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "truth.json").unlink(), "is no result of `truth`"),
        (lambda folder: (folder / "truth.json").write_text("{"), "is no result of `truth`"),
        (lambda folder: (folder / "truth.json").write_text("[]"), "is no result of `truth`"),
        (lambda folder: change_about(folder, model="another"), "of several models: another, demo"),
        (lambda folder: change_about(folder, figures=3), "is no result of `truth`"),
        (lambda folder: change_about(folder, figures={"pan": {"Pearson": {"value": "x"}}}), "is no result of `truth`"),
        (lambda folder: (folder / "original.png").write_bytes(b"no picture"), "is damaged"),
    ],
)
def test_what_cannot_be_pooled_is_refused(done, cli, tmp_path, damage, says):
    other = second(done, tmp_path / "second")
    damage(other)
    found, _, err = cli("report", done, other, "--out", tmp_path / "page.html")
    assert found
    assert says in err


def change_about(folder, **changed):
    """Other words in a result."""
    held = json.loads((folder / "truth.json").read_text())
    held["about"]["model"] = changed.pop("model", held["about"]["model"])
    (folder / "truth.json").write_text(json.dumps({**held, **changed}))


@pytest.mark.usefixtures("undrawn")
def test_a_method_that_one_picture_lacks_is_said_to_be_left_out(done, cli, tmp_path):
    held = json.loads((done / "truth.json").read_text())
    other = second(done, tmp_path / "second", figures={"grad-x-activation": held["figures"]["grad-x-activation"]})
    out = cli("report", done, other, "--out", tmp_path / "page.html")[1]
    assert "not judged on every picture: activation-difference" in out


def test_results_of_other_verbs_do_not_pool(done, cli, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "neurons.json").write_text("{}")
    code, _, err = cli("report", done, tmp_path / "other", "--out", tmp_path / "page.html")
    assert code
    assert "only those are pooled" in err

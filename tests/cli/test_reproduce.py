"""`neuronscope reproduce`: options, one small run, and going on with it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuronscope.cli import reproduce
from neuronscope.cli.main import app
from neuronscope.cli.reproduce import _concepts, _swept, experiment
from neuronscope.cluster.schedule import Failure
from neuronscope.cluster.units import Unit
from neuronscope.errors import InvalidOption
from neuronscope.options import Asking, Scorers, given, options_in
from neuronscope.samples import CocoFolder
from neuronscope.studies.reproduce.engine import Local
from neuronscope.studies.reproduce.job import ReproductionJob
from neuronscope.studies.reproduce.settings import METHODS, Experiment, Limits


def test_a_metric_without_its_package_is_refused_before_anything_is_done(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def lacking(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("neuronscope.evaluate.captions.sources.import_module", lacking)
    code, _, told = cli("reproduce", "--data", str(few_scenes), "--out", str(tmp_path / "run"), "--min-side", "16")
    assert code == 1
    assert "pip install 'neuronscope[metrics]'; --metrics none leaves them out" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--plan", "--tables-only"])
def test_nothing_is_logged_where_nothing_is_done(cli: Callable[..., tuple[int, str, str]], tmp_path: Path, option: str):
    code, _, told = cli("reproduce", option, "--log", tmp_path / "log")
    assert code != 0
    assert "--log follows what is done" in told
    assert not (tmp_path / "log").exists()


def page_of(cli: Callable[..., tuple[int, str, str]], run: Path) -> str:
    return json.loads(cli("report", run, "--out", run.parent / "page.html", "--json")[1])["page"]


class Points(dict[str, float]):
    """Of a TensorBoard writer: tag -> its last value."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self[tag] = scalar_value

    def close(self) -> None:
        self["closed"] = 1.0


#: With given thresholds, as it takes most of the time to choose them.
FIXED = "two-stage:activation=1,gradient=0.05"


def test_a_small_run_and_again(
    cli: Callable[..., tuple[int, str, str]],
    few_scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undraw: Callable[[pytest.MonkeyPatch], None],
):
    logged: dict[Path, Points] = {}
    monkeypatch.setattr("neuronscope.run.writers.open_writer", lambda folder: logged.setdefault(folder, Points()))
    out = tmp_path / "run"
    options = ("--data", few_scenes, "--out", out, "--concepts", "bear,bus", "--images", 1, "--min-side", 16)
    rest = ("--levels", "2", "--draws", "2", "--ablations", "none", "--methods", f"{FIXED},pan:pool=max", "--json")
    code, text, told = cli("reproduce", *options, *rest, "--log", tmp_path / "log")
    assert code == 0
    document = json.loads(text)
    points = logged[tmp_path / "log"]
    assert (points["captions"], points["closed"]) == (16, 1)
    for row in document["table_2"]["means"]:  # a concept has one group, and each as many captions
        assert points[f"J/{row['method']}/{row['scope']}"] == pytest.approx(row["j"]["value"])
    assert "16 captions left: about 0 min" in told  # 2 methods x 2 samples x 2 images x 2 draws
    assert {"tables.md", "tables.json", "figures", "parts", "run.json"} <= {path.name for path in out.iterdir()}
    assert document == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    undraw(monkeypatch)  # once is enough
    code, text, told = cli("reproduce", *options, *rest)
    assert code == 0
    assert "0 captions left" in told
    assert json.loads(text)["table_2"] == document["table_2"]
    again = (out / "again.sh").read_text(encoding="utf-8")
    assert f"<code>{again.strip()}</code>" in Path(page_of(cli, out)).read_text(encoding="utf-8")
    words = shlex.split(again.replace("DATA", str(few_scenes)).replace("RUN", str(tmp_path / "other")))
    code, text, _ = cli(*words[1:], "--json")
    assert json.loads(text)["table_2"] == document["table_2"]
    code, text, _ = cli("reproduce", *options, "--levels", "2,3", *rest[2:])
    assert code == 1
    refused = json.loads(text)["error"]
    assert refused["type"] == "RunMismatch"
    assert "levels" in refused["message"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, few_scenes: Path, tmp_path: Path) -> Callable[..., ReproductionJob]:
    """What a command asks for: the job that its engine is given."""
    taken: list[ReproductionJob] = []

    class Taken(Exception):
        pass

    def engine(job: ReproductionJob, *_: object) -> None:
        taken.append(job)
        raise Taken

    monkeypatch.setattr(reproduce, "_local", engine)

    def job(
        *options: str, data: tuple[str, ...] = ("--data", str(few_scenes), "--out", str(tmp_path / "run"))
    ) -> ReproductionJob:
        with pytest.raises(Taken):
            app(args=["reproduce", *data, *options], standalone_mode=False)
        return taken.pop()

    return job


def test_options_of_a_method_follow_its_name(asked: Callable[..., ReproductionJob]):
    given = "two-stage:site=act,patch_rule=any, pan,random"
    assert asked("--methods", given).experiment.methods == ("two-stage:site=act,patch_rule=any", "pan", "random")
    with pytest.raises(InvalidOption, match="begins with an option"):
        METHODS.read("site=act,pan")


def test_sweeps_and_numbers(asked: Callable[..., ReproductionJob]):
    assert _swept(["activation=0.8,1"]) == ["two-stage:activation=0.8", "two-stage:activation=1"]
    assert [asked(*given).experiment.levels for given in ((), ("--levels", "none"), ("--levels", "1,2.5"))] == [
        (1, 2, 4),
        (),
        (1, 2.5),
    ]
    with pytest.raises(InvalidOption, match="--levels '1,x' is not a list of finite numbers"):
        given(Experiment, {"levels": "1,x"})
    with pytest.raises(InvalidOption, match="--sweep 'activation' is not OPTION="):
        _swept(["activation"])


def test_too_few_images_are_told_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def load(*_: object) -> None:
        raise InvalidOption("the model is loaded")

    monkeypatch.setattr("neuronscope.cli.reproduce.open_model", load)
    options = ("--data", str(few_scenes), "--out", str(tmp_path / "run"), "--concepts", "bear,bus", "--images", "50")
    code, _, told = cli("reproduce", *options)
    assert code == 1
    assert "2 of 2 concepts are in fewer than 50 images: bear is in" in told
    assert not (tmp_path / "run").exists()
    assert "the model is loaded" in cli("reproduce", *options, "--allow-missing")[2]


def test_a_refused_run_is_on_record_with_its_command(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path
):
    run = tmp_path / "run"
    options = ("--concepts", "bear,bus", "--images", "1", "--min-side", "4000", "--limit", "3")
    code, _, told = cli("reproduce", "--data", few_scenes, "--out", run, *options)
    assert code == 1
    assert "2 of 2 concepts have too few samples: bear lacks 1 (3 " in told
    page = Path(page_of(cli, run)).read_text(encoding="utf-8")
    assert "bear lacks 1" in page
    assert f"<code>{(run / 'again.sh').read_text(encoding='utf-8').strip()}</code>" in page


@pytest.mark.parametrize("option", ["--bertscore", "--clip"])
def test_a_metric_without_its_model_is_refused_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]],
    few_scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
):
    def load(*_: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr("neuronscope.cli.reproduce.open_model", load)
    run = tmp_path / "run"
    code, _, told = cli(
        "reproduce", "--data", str(few_scenes), "--out", str(run), option, "package:nothing-of-this-name"
    )
    assert code == 1
    assert "nothing-of-this-name" in told
    assert not run.exists()


def test_models_of_metrics(asked: Callable[..., ReproductionJob]):
    only = asked("--metrics", "none", "--bertscore", "an/encoder").experiment.metrics
    assert only == {"bertscore": {"model": "an/encoder"}}
    assert list(asked("--metrics", "bleu-4,rouge-l").experiment.metrics) == ["bleu-4", "rouge-l"]
    assert "clipscore" not in asked("--metrics", "bleu-1").experiment.metrics


def test_what_is_not_given_is_the_presets(asked: Callable[..., ReproductionJob]):
    plan = asked("--preset", "paper").experiment
    assert plan == Experiment.paper(plan.concepts)
    assert asked("--preset", "paper", "--methods", "pan", "--draws", "3").experiment == Experiment.paper(
        plan.concepts, methods=("pan",), draws=3
    )
    assert asked("--preset", "paper", "--sweep", "activation=1").experiment.methods == (
        *plan.methods,
        "two-stage:activation=1",
    )
    assert asked("--preset", "paper", "--max-other-share", "none").experiment.max_other_share is None
    assert asked("--draws", "3").experiment == Experiment(plan.concepts)


EVERYTHING = (
    *("--concepts", "bus,bear", "--images", "2", "--methods", "two-stage:site=act,patch_rule=any,pan"),
    *("--sweep", "activation=0.8,1", "--levels", "0.1,2", "--scale", "deviation", "--draws", "4"),
    *("--sharing", "shared", "--ablations", "none", "--random-sets", "20", "--metrics", "bleu-1"),
    *("--bertscore", "an/encoder", "--clip", "a-model", "--edit", "mean_fill", "--reach", "boxes"),
    *(
        "--max-other-share",
        "0.25",
        "--min-side",
        "7.5",
        "--min-area",
        "0.1",
        "--max-area",
        "0.5",
        "--limit",
        "9",
        "--allow-missing",
    ),
    *("--site", "act", "--shared", "--match", "strict", "--question", "What is it?", "--prefix", "It is a"),
    *("--system", "Be short.", "--max-new-tokens", "9", "--chat", "never"),
    *("--seed", "3", "--split", "scenes", "--model", "some/dir", "--dtype", "4bit", "--device-map", "auto"),
)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--preset", "paper"),
        ("--preset", "paper", "--draws", "3", "--levels", "1", "--max-other-share", "none"),
        EVERYTHING,
    ],
    ids=["defaults", "paper", "paper, changed", "everything"],
)
def test_the_recipe_asks_for_the_same(
    asked: Callable[..., ReproductionJob], few_scenes: Path, tmp_path: Path, options: tuple[str, ...]
):
    job = asked(*options)
    program, verb, *rest = shlex.split(job.command().replace("DATA", str(few_scenes)).replace("RUN", str(tmp_path)))
    assert (program, verb) == ("neuronscope", "reproduce")
    assert asked(*rest, data=()) == job


def test_every_option_of_a_run_is_in_the_test_above():
    known = {
        one.names[0].split("/")[-1]
        for each in (ReproductionJob, Experiment, Asking, Scorers, Limits)
        for _, one in options_in(each)
    }
    assert known - set(EVERYTHING) == {
        "--data",
        "--preset",
        "--device",
        "--allow-outside",
        "--template",  # the chat's place
        "--attn",
        "--revision",  # of a hub id, and a directory has none
    }  # a device goes without a map


def test_concepts(few_scenes: Path):
    source = CocoFolder.open(few_scenes)
    assert _concepts(("3",), source) == ("banana", "bed", "bear")
    assert len(_concepts(None, source)) == 30
    assert experiment({"concepts": "bus, bear"}, source).concepts == ("bus", "bear")
    with pytest.raises(InvalidOption, match=r"'beer' is not in the data\. Did you mean 'bear'"):
        _concepts(("beer", "bus"), source)
    with pytest.raises(InvalidOption, match="--concepts 31: the data have 30"):
        _concepts(("31",), source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "old"), "--preset='old' is not known. Choices: recommended, paper"),
        (("--concepts", "bear"), "give at least two concepts"),
        (("--methods", "pam"), "method='pam' is not known"),
        (("--metrics", "x"), "metrics='x' is not known"),
        (("--engine", "spark"), "--engine='spark' is not known. Choices: local, ray"),
        (("--workers", "3", "--storage", "shared"), "--workers, --storage: only --engine ray has"),
        (("--engine", "ray", "--workers", "0"), "workers=0 must be at least 1"),
        (("--engine", "ray", "--storage", "disk"), "storage='disk'"),
        (("--engine", "ray", "--dtype", "int4"), "dtype='int4'"),
        (("--device", "cpu", "--device-map", "auto"), "device='cpu' and device_map='auto': give one of them"),
    ],
)
def test_bad_options_end_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path, options: tuple[str, ...], message: str
):
    code, _, told = cli("reproduce", "--data", few_scenes, "--out", tmp_path / "run", *options)
    assert code == 1
    assert message in told
    assert not (tmp_path / "run").exists()


def test_ray_has_to_be_installed(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import finds where it is not
    options = ("--engine", "ray", "--concepts", "bear,bus", "--images", 1)
    code, _, told = cli("reproduce", "--data", few_scenes, "--out", tmp_path / "run", *options)
    assert code == 1
    assert "--engine ray needs Ray: pip install 'neuronscope[ray]'" in told


def test_units_that_failed_are_listed_after_the_tables_are_written(
    cli: Callable[..., tuple[int, str, str]], few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def work(self: Local, step: Callable[[str], None]) -> list[Failure]:
        return [Failure(Unit("located", {"method": "pan", "image": str(n)}), "no luck", 3, 2) for n in range(22)]

    monkeypatch.setattr(Local, "work", work)
    options = ("--concepts", "bear,bus", "--images", "1", "--min-side", "16", "--methods", FIXED, "--json")
    code, text, _ = cli("reproduce", "--data", few_scenes, "--out", tmp_path, *options)
    error = json.loads(text)["error"]
    assert (code, error["type"]) == (1, "UnitsFailed")
    assert error["message"].startswith("22 units failed; everything that does not need them is done")
    assert "located pan 19 (sample 19) failed 3 times: no luck; 2 units that need it were left out" in error["message"]
    assert error["message"].endswith("... and 2 more")
    document = json.loads((tmp_path / "tables.json").read_text(encoding="utf-8"))
    assert [row["condition"] for row in document["unfinished"]] == [
        "noise 1",
        "noise 2",
        "noise 4",
        "zero",
        "mean",
        "patch",
    ]
    assert "table_2" not in document

"""`neuronscope reproduce`: options, one small run, and going on with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neuronscope.cli.reproduce import _concepts, _methods, _metrics, _numbers, _swept, _watched
from neuronscope.errors import InvalidOption
from neuronscope.samples import CocoFolder
from neuronscope.studies.reproduce.engine import Local
from neuronscope.studies.reproduce.schedule import Failure
from neuronscope.studies.reproduce.units import Unit


def test_a_metric_without_its_package_is_refused_before_anything_is_done(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def lacking(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("neuronscope.evaluate.captions.sources.import_module", lacking)
    code, _, told = cli("reproduce", "--data", str(scenes), "--out", str(tmp_path / "run"), "--min-side", "16")
    assert code == 1
    assert "pip install 'neuronscope[metrics]'; --metrics none leaves them out" in told
    assert not (tmp_path / "run").exists()


def test_a_small_run_and_again(cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path):
    out = tmp_path / "run"
    options = ("--data", str(scenes), "--out", str(out), "--concepts", "bear,bus", "--images", "1", "--min-side", "16")
    rest = ("--levels", "2", "--draws", "2", "--ablations", "none", "--methods", "two-stage,pan:pool=max", "--json")
    code, text, told = cli("reproduce", *options, *rest)
    assert code == 0
    document = json.loads(text)
    assert "16 captions left: about 0 min" in told  # 2 methods x 2 samples x 2 images x 2 draws
    assert {"tables.md", "tables.json", "figures", "parts", "run.json"} <= {path.name for path in out.iterdir()}
    assert document == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    code, text, told = cli("reproduce", *options, *rest)
    assert code == 0
    assert "0 captions left" in told
    assert json.loads(text)["table_2"] == document["table_2"]
    code, text, _ = cli("reproduce", *options, "--levels", "2,3", *rest[2:])
    assert code == 1
    refused = json.loads(text)["error"]
    assert refused["type"] == "RunMismatch"
    assert "levels" in refused["message"]


def test_options_of_a_method_follow_its_name():
    assert _methods("two-stage:site=act,patch_rule=any, pan,random") == [
        "two-stage:site=act,patch_rule=any",
        "pan",
        "random",
    ]
    with pytest.raises(InvalidOption, match="begins with an option"):
        _methods("site=act,pan")


def test_sweeps_and_numbers():
    assert _swept(["activation=0.8,1"]) == ["two-stage:activation=0.8", "two-stage:activation=1"]
    assert (_numbers("--levels", None), _numbers("--levels", "none"), _numbers("--levels", "1,2.5")) == (
        None,
        (),
        (1.0, 2.5),
    )
    with pytest.raises(InvalidOption, match="--levels '1,x' is not a list of numbers"):
        _numbers("--levels", "1,x")
    with pytest.raises(InvalidOption, match="--sweep 'activation' is not OPTION="):
        _swept(["activation"])


def test_too_few_images_are_told_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def load(*_: object) -> None:
        raise InvalidOption("the model is loaded")

    monkeypatch.setattr("neuronscope.cli.reproduce.open_model", load)
    options = ("--data", str(scenes), "--out", str(tmp_path / "run"), "--concepts", "bear,bus", "--images", "50")
    code, _, told = cli("reproduce", *options)
    assert code == 1
    assert "2 of 2 concepts are in fewer than 50 images: bear is in" in told
    assert not (tmp_path / "run").exists()
    assert "the model is loaded" in cli("reproduce", *options, "--allow-missing")[2]


@pytest.mark.parametrize("option", ["--bertscore", "--clip"])
def test_a_metric_without_its_model_is_refused_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
):
    def load(*_: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr("neuronscope.cli.reproduce.open_model", load)
    run = tmp_path / "run"
    code, _, told = cli("reproduce", "--data", str(scenes), "--out", str(run), option, "package:nothing-of-this-name")
    assert code == 1
    assert "nothing-of-this-name" in told
    assert not run.exists()


def test_models_of_metrics():
    assert _metrics("none", "an/encoder", None) == {"bertscore": {"model": "an/encoder"}}
    assert list(_metrics("bleu-4,rouge-l", None, None)) == ["bleu-4", "rouge-l"]
    with pytest.raises(InvalidOption, match=r"--metrics x: metric.*'x'"):
        _metrics("x", None, None)
    assert "clipscore" not in _metrics("bleu-1", None, None)


def test_concepts(scenes: Path):
    source = CocoFolder.open(scenes)
    assert _concepts("3", source) == ("banana", "bed", "bear")
    assert len(_concepts(None, source)) == 30
    assert _concepts("bus, bear", source) == ("bus", "bear")
    with pytest.raises(InvalidOption, match=r"'beer' is not in the data\. Did you mean 'bear'"):
        _concepts("beer,bus", source)
    with pytest.raises(InvalidOption, match="--concepts 31: the data have 30"):
        _concepts("31", source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "old"), "--preset 'old' is not one of recommended, paper"),
        (("--concepts", "bear"), "give at least two concepts"),
        (("--methods", "pam"), "method='pam' is not known"),
        (("--engine", "spark"), "--engine 'spark' is not one of local, ray"),
        (("--workers", "3", "--storage", "shared"), "--workers, --storage: only --engine ray has"),
        (("--engine", "ray", "--workers", "0"), "workers=0 must be at least 1"),
        (("--engine", "ray", "--storage", "disk"), "storage='disk'"),
        (("--engine", "ray", "--dtype", "int4"), "dtype='int4'"),
        (("--device", "cpu", "--device-map", "auto"), "device='cpu' and device_map='auto': give one of them"),
    ],
)
def test_bad_options_end_before_the_model_is_loaded(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, options: tuple[str, ...], message: str
):
    code, _, told = cli("reproduce", "--data", scenes, "--out", tmp_path / "run", *options)
    assert code == 1
    assert message in told
    assert not (tmp_path / "run").exists()


def test_ray_has_to_be_installed(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import finds where it is not
    code, _, told = cli("reproduce", "--data", scenes, "--out", tmp_path / "run", "--engine", "ray")
    assert code == 1
    assert "--engine ray needs Ray: pip install 'neuronscope[ray]'" in told


def test_units_that_failed_are_listed_after_the_tables_are_written(
    cli: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def work(self: Local, step: Callable[[str], None]) -> list[Failure]:
        return [Failure(Unit("located", {"method": "pan", "image": str(n)}), "no luck", 3, 2) for n in range(22)]

    monkeypatch.setattr(Local, "work", work)
    options = ("--concepts", "bear,bus", "--images", "1", "--min-side", "16", "--methods", "two-stage", "--json")
    code, text, _ = cli("reproduce", "--data", scenes, "--out", tmp_path, *options)
    error = json.loads(text)["error"]
    assert (code, error["type"]) == (1, "UnitsFailed")
    assert error["message"].startswith("22 units failed; everything that does not need them is done")
    assert "located pan 19 (sample 19) failed 3 times: no luck; 2 units that need it were left out" in error["message"]
    assert error["message"].endswith("... and 2 more")
    document = json.loads((tmp_path / "tables.json").read_text(encoding="utf-8"))
    assert [row["condition"] for row in document["unfinished"]] == ["noise 1", "noise 2", "noise 4", "zero", "mean"]
    assert "table_2" not in document


def test_a_log_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = iter([0.0, 59.0, 60.0, 60.0, 61.0])
    monkeypatch.setattr("neuronscope.cli.reproduce.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with _watched("ray", 3, "first") as step:
        for text in ("one", "two", "three"):
            step(text)
    assert capsys.readouterr().err == "two\n"

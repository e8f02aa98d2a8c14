"""The files that forges, package indexes and containers read say what the project is."""

import runpy
from importlib.metadata import files, metadata
from pathlib import Path

import pytest
import yaml

import neuronscope as ns
from neuronscope.version import RELEASE

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_release():
    cited = read("CITATION.cff")
    assert (cited["title"].partition(":")[0], cited["version"]) == ("neuronscope", RELEASE)
    assert cited["license"] == metadata("neuronscope")["License-Expression"]
    assert [one["authors"][0]["family-names"] for one in cited["references"]] == ["Sato", "Pan"]


def test_types_are_handed_on():
    assert (Path(ns.__file__).parent / "py.typed").is_file()
    assert files("neuronscope")


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_the_check(form):
    asked = {field["id"]: field["attributes"]["label"] for field in yaml.safe_load(form.read_text())["body"]}
    assert "neuronscope check" in asked["check"]


def test_workflows_and_hooks_run_what_ci_runs():
    steps = read(".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    oldest = metadata("neuronscope")["Requires-Python"].removeprefix(">=")
    assert oldest in read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    hooks = {hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert {"ruff check --fix", "ruff format", "pyright"} <= hooks


@pytest.mark.parametrize(
    ("written", "expected"), [("0.1.dev9+gabcdef1\n", "0.1.dev9+gabcdef1"), (None, f"{RELEASE}.dev0")]
)
def test_the_version_is_what_the_build_wrote(tmp_path, written, expected):
    source = Path(ns.__file__).with_name("version.py")
    (tmp_path / "version.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    if written is not None:
        (tmp_path / "version.txt").write_text(written, encoding="utf-8")
    assert runpy.run_path(str(tmp_path / "version.py"))["__version__"] == expected


def test_an_archive_says_its_tag():
    assert "describe-name: $Format:" in (ROOT / ".git_archival.txt").read_text(encoding="utf-8")
    assert ".git_archival.txt export-subst" in (ROOT / ".gitattributes").read_text(encoding="utf-8")

"""The files that forges, package indexes and containers read say what the project is."""

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

"""The command and the Python on the pages of edits, repairs and discoveries ask for what was asked for."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.errors import InvalidOption
from neuronscope.locate import Discovery
from neuronscope.options import Asking, Loading, options_in
from neuronscope.studies.discover.settings import Discover, DiscoveryJob, DiscoveryPlan
from neuronscope.studies.edit.settings import Rewrite
from neuronscope.studies.repair.settings import Repair, RepairJob

LOADING = {"model": "natural", "device": "meta", "dtype": "bfloat16", "attn": "eager", "revision": "abc"}
ASKING = {
    "question": "What is it?",
    "prefix": "It is a",
    "system": "Be brief.",
    "template": "{image}{prefix}",
    "chat": "never",
    "max_new_tokens": 7,
}
READING = {"split": "val", "allow_outside": True}
#: Every option -> another value.
EDIT = {
    **LOADING,
    **ASKING,
    **READING,
    "images": ("a.png", "my pictures"),
    "source": "dog",
    "suppress": Path("words.txt"),
    "target": "horse",
    "editor": "graft",
    "settings": (("lambda2", 6.5), ("start", "swap"), ("steps", (3, 4))),
    "neurons": Path("bear.json"),
    "donors": Path("horse.json"),
    "any_model": True,
    "focused": True,
    "count": 5,
    "position": "image",
    "made_with": 3,
    "texts": Path("texts.txt"),
    "prompts": ("There is a", "I see a"),
    "controls": 2,
    "bertscore": "DIR",
    "seed": 7,
}
REPAIR = {**LOADING, **READING, "synonyms": Path("lists.txt"), "images": "my data", "source": "dog"}
HOW = {
    "by": "swap",
    "toward": "shown",
    "position": "image",
    "right": 3,
    "against": True,
    "counts": (1, 2, 3),
    "seed": 4,
}
DISCOVER = {
    **LOADING,
    **ASKING,
    **READING,
    "sources": ("a.csv", "b"),
    "images": Path("pictures"),
    "preset": "published",
    "top": 60,
    "nouns": "lexicon",
    "exclude": ("left", "right"),
    "norm": "gain",
    "site": "act",
}
PLAN = {"ks": (1, 7), "shuffles": 0, "group": 3, "seed": 5, "metrics": {"bertscore": {"model": "DIR"}}}


class Asked(InvalidOption):
    """What a verb is about to do."""

    def __init__(self, job: Any, model: Any = None) -> None:
        super().__init__("asked")
        self.job, self.model = job, model


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch):
    """Gives what a command and a piece of Python ask for, up to the model and the pictures."""
    kept: list[Asked] = []

    def keep(job: Any, model: Any = None) -> None:
        kept.append(Asked(job, model))
        raise kept[-1]

    def into(folder: Any, model: Any, job: Any, **_: Any) -> None:
        keep(job, model)

    def load(*given: Any, **options: Any) -> SimpleNamespace:
        said = {"attn": "attn_implementation"}
        names = [one.name for one, _ in options_in(Loading)]
        return SimpleNamespace(**{name: options.get(said.get(name, name)) for name in names} | {"model": given[0]})

    edit, repair, discover = (f"neuronscope.studies.{name}" for name in ("edit", "repair", "discover"))
    monkeypatch.setattr(f"{edit}.study.EditJob.of", lambda asked, found=None: keep(asked, asked))
    monkeypatch.setattr(f"{edit}.words.WordsJob.of", lambda asked: keep(asked, asked))
    monkeypatch.setattr(f"{edit}.study.rewrite", lambda model, asked: keep(asked, model))
    monkeypatch.setattr(f"{edit}.words.suppress", lambda model, asked: keep(asked, model))
    monkeypatch.setattr(f"{repair}.settings.RepairJob.data", lambda _: None)
    monkeypatch.setattr(f"{repair}.study.repair_into", into)
    monkeypatch.setattr(f"{discover}.settings.Discover.gather", lambda _: None)
    monkeypatch.setattr(f"{discover}.study.discover_into", into)
    monkeypatch.setattr("neuronscope.evaluate.captions.require_here", lambda *_, **__: None)
    for verb in ("repair", "discover"):
        monkeypatch.setattr(f"neuronscope.cli.{verb}.open_model", lambda asked: asked)

    def command(text: str) -> Asked:
        with pytest.raises(SystemExit):
            main(shlex.split(text)[1:])
        return kept.pop()

    def python(text: str) -> Asked:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(ns, "load", load)
            with pytest.raises(Asked):
                exec(text, {})
        return kept.pop()

    return command, python


def require_same(asked: Any, job: Any, plain: Any) -> None:
    command, python = asked
    recipe, usual = job.recipe(), plain.recipe()
    assert recipe != usual
    found = command(recipe["command"])
    assert found.job.recipe() == recipe
    ours = job.asked if isinstance(job, DiscoveryJob) else job
    for known in (found, python(recipe["python"])):
        model = {one.name: getattr(known.model, one.name) for one, _ in options_in(Loading)}
        assert {**model, "dtype": model["dtype"] or "auto"} == {
            one.name: getattr(ours, one.name) for one, _ in options_in(Loading)
        }
    again = python(recipe["python"]).job
    model = {one.name: getattr(ours, one.name) for one, _ in options_in(Loading)}
    if isinstance(again, DiscoveryJob):
        again = dataclasses.replace(again, asked=dataclasses.replace(again.asked, **model))
    else:
        again = dataclasses.replace(again, **model)
    assert again.recipe() == recipe


@pytest.mark.parametrize("name", EDIT)
def test_edits(asked, name: str):
    plain = Rewrite(images=("pictures",), source="bear")
    beside = {"suppress": {"source": ""}, "template": {"prefix": "It is a"}}.get(name, {})
    require_same(asked, dataclasses.replace(plain, **{name: EDIT[name]}, **beside), plain)


def test_an_adapter_is_in_both_recipes(tmp_path):
    plain = Rewrite(images=("pictures",), source="bear")
    recipe = plain.recipe(adapter=True)
    assert shlex.split(recipe["command"])[-1] == "--adapter"
    assert recipe["python"].endswith('.save("neuronscope-edit", adapter=True)')


@pytest.mark.parametrize("name", REPAIR)
def test_repairs(asked, name: str):
    plain = RepairJob(images="data")
    require_same(asked, dataclasses.replace(plain, **{name: REPAIR[name]}), plain)


@pytest.mark.parametrize("name", [*HOW, *ASKING])
def test_how_it_is_repaired(asked, name: str):
    plain = RepairJob(images="data")
    beside = {"prefix": "It is a"} if name == "template" else {}
    given = {name: HOW[name]} if name in HOW else {"decoding": ns.Decoding(**{name: ASKING[name]}, **beside)}
    require_same(asked, dataclasses.replace(plain, how=Repair(**given)), plain)


@pytest.mark.parametrize("how", [{"counts": (1, 9)}, {"decoding": ns.Decoding(use_cache=False)}])
def test_a_repair_that_the_command_line_cannot_ask_for_has_no_command(asked, how):
    _, python = asked
    made = RepairJob(images="data", how=Repair(**how))
    recipe = made.recipe()
    assert recipe["command"] == ""
    assert python(recipe["python"]).job.how == made.how


def job(asked: dict[str, Any], plan: dict[str, Any]) -> DiscoveryJob:
    found = Discover(sources=("pictures",), **asked) if "sources" not in asked else Discover(**asked)
    return DiscoveryJob(asked=found, plan=DiscoveryPlan(discovery=found.discovery(), **plan))


@pytest.mark.parametrize("name", DISCOVER)
def test_discoveries(asked, name: str):
    beside = {"prefix": "It is a"} if name == "template" else {}
    require_same(asked, job({name: DISCOVER[name], **beside}, {}), job({}, {}))


@pytest.mark.parametrize("name", PLAN)
def test_what_a_discovery_measures(asked, name: str):
    require_same(asked, job({}, {name: PLAN[name]}), job({}, {}))


def test_a_plan_that_the_command_line_cannot_ask_for_has_no_command(asked):
    _, python = asked
    made = job({}, {"draws": 3, "described": (2, 4)})
    recipe = made.recipe()
    assert recipe["command"] == ""
    assert python(recipe["python"]).job.plan == made.plan
    with pytest.raises(InvalidOption, match="is not what asked="):
        DiscoveryJob(asked=Discover(sources=("a",)), plan=DiscoveryPlan(discovery=Discovery(top=3)))


def test_every_option_is_in_a_table():
    assert set(EDIT) == {one.name for one, _ in options_in(Rewrite)}
    assert set(REPAIR) == {one.name for one, _ in options_in(RepairJob)}
    assert {*HOW, "decoding"} == {one.name for one in dataclasses.fields(Repair)}
    assert set(DISCOVER) == {one.name for one, _ in options_in(Discover)}
    assert set(PLAN) == {one.name for one, _ in options_in(DiscoveryPlan)} | {"metrics"}
    assert set(ASKING) == {one.name for one, _ in options_in(Asking)}

"""Settings have one spelling, and run.json says what a run is a run of."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.run.settings import Record, canonical, differences, environment, json_value


def test_the_canonical_spelling() -> None:
    value = {"b": (1, 2.0, 0.5, -0.0), "a": {"ü": None, "t": True}, "big": 1e300}
    assert canonical(value, "x") == r'{"a":{"t":true,"\u00fc":null},"b":[1,2,0.5,0],"big":1e+300}'
    assert canonical(True, "x") != canonical(1, "x") != canonical("1", "x")


@pytest.mark.parametrize("value", [float("inf"), {"a": object()}, {1: 2}, b"x"])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidOption, match="settings"):
        json_value(value, "settings")


@pytest.mark.parametrize(
    ("saved", "asked", "text"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),
        ({"a": True}, {"a": 1}, ["a is true there and 1 now"]),
        ({"a": "absent"}, {}, ['a is "absent" there and absent now']),
        ({"n": {"level": 8, "draws": 3}}, {"n": {"level": 80, "draws": 3}}, ["n.level is 8 there and 80 now"]),
        ({"n": {}}, {}, ["n is {} there and absent now"]),
        ({"n": {}}, {"n": {"x": 1}}, ["n is {} there and absent now", "n.x is absent there and 1 now"]),
        ({"a.b": 1}, {"a": {"b": 1}}, ["a.b is absent there and 1 now", "a.b is 1 there and absent now"]),
        ({"z": [1], "a": 0}, {"z": [2], "a": None}, ["a is 0 there and null now", "z is [1] there and [2] now"]),
        ({}, {}, []),
    ],
)
def test_differences_name_every_setting_with_both_values(saved: Any, asked: Any, text: list[str]) -> None:
    assert differences(saved, asked) == text
    same = Record(json_value(saved, ""), ()).digest == Record(json_value(asked, ""), ()).digest  # pyright: ignore
    assert same == (not text)


def test_the_environment_holds_versions_and_no_names() -> None:
    found = environment()
    text = json.dumps(found)
    assert set(found["versions"]) == {"python", "neuronscope", "torch", "transformers", "numpy", "pyarrow"}
    assert found["versions"]["python"] == platform.python_version()
    assert found["machine"]["cores"] >= 1
    hidden = [platform.node(), str(Path.home())]
    assert [name for name in hidden if len(name) > 2 and f'"{name}"' in text] == []
    assert f'"{getpass.getuser()}"' not in text


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    record = Record({"level": 8, "of": {"x": [1, None]}}, ({"versions": {"python": "3"}},))
    (tmp_path / "run.json").write_bytes(record.to_bytes())
    assert Record.load(tmp_path / "run.json") == record
    assert record.seen({"versions": {"python": "3"}})
    assert not record.seen({"versions": {"python": "4"}})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "run.json is damaged: Expecting value"),
        (b'{"schema": "neuronscope.run/1", "sett', "run.json is damaged: .*Restore it"),
        (b"\xff\xfe", "run.json is damaged: 'utf-8'"),
        (b"[]", "run.json is damaged: it holds no JSON object"),
        (b"{}", "run.json has schema None; this version reads 'neuronscope.run/1'"),
        (
            b'{"schema": "neuronscope.run/2"}',
            "run.json has schema 'neuronscope.run/2'; this version reads",
        ),
        (b'{"schema": "neuronscope.run/1", "settings": 3}', "damaged: settings is 3, not an object"),
        (
            b'{"schema": "neuronscope.run/1", "settings": {}, "environments": [1]}',
            r"damaged: environments is \[1\]",
        ),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunMismatch, match=text):
        Record.load(tmp_path / "run.json")


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunMismatch, match=f"{tmp_path.name} is no run: it has no run.json"):
        Record.load(tmp_path / "run.json")

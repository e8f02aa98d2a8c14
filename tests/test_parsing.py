"""What files and people write is read, or is a ValueError or None; no other error comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronscope.errors import NeuronscopeError
from neuronscope.parsing import DEEPEST, digits, parse_json, read_json


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 500 + "]" * 500,
        '{"a":' * 400 + "1" + "}" * 400,
        '[{"a":' * 101 + "}]" * 101,
    ],
)
def test_a_document_that_is_nested_too_deeply_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper than 100 levels|Expecting|delimiter"):
        parse_json(text)


def test_what_is_not_too_deep_is_read() -> None:
    text = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert parse_json(text) == json.loads(text)
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"9" * 5000, b"{", b"\x00" * 10, b'{"a": 1} x'])
def test_whatever_a_file_holds_is_a_value_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["²", "٣", "\uff11\uff12", "+1", "-1", "1_0", " 1", "", "1.0", "9" * 19, "9" * 5000, "①", "0x1"]
)
def test_what_looks_like_a_number_is_none(text: str) -> None:
    assert digits(text) is None


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_digits_are_a_number(text: str, value: int) -> None:
    assert digits(text) == value


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400", "1" + "0" * 400 + ".0"])
@pytest.mark.parametrize(
    ("text", "where"),
    [("@", "the document"), ("[1, @]", "[1]"), ('{"a": {"b c": [0.5, 2e3, [@]]}, "d": @}', "a.b c[2][0]")],
)
def test_what_is_no_finite_number_is_refused_by_its_place(word: str, text: str, where: str) -> None:
    with pytest.raises(ValueError, match="not a finite number") as caught:
        parse_json(text.replace("@", word))
    assert str(caught.value).startswith(f"{where} is {word}")
    parse_json(text.replace("@", word), finite=False)
    parse_json(text.replace("@", f'"{word}"'))


def readers(path: Path) -> list[Any]:
    import neuronscope as ns
    from neuronscope.report import Evidence
    from neuronscope.run.directory import Run
    from neuronscope.studies.demo.page import write_page
    from neuronscope.studies.reproduce.page import run_page

    def located() -> None:
        ns.Neurons.of([(0, 1)]).save(path / "neurons.json")
        Evidence.load(path)

    return [
        lambda: ns.Neurons.load(path / "neurons.json"),
        lambda: ns.load(path),
        lambda: Run.existing(path),
        lambda: run_page(path),
        lambda: write_page(path, path / "page.html"),
        located,
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    "content",
    [
        *("[" * 100_000, "[" * 300 + "]" * 300, "9" * 5000, "\x00", '"text"', "[]", "null", "NaN"),
        *('{"a": NaN}', '{"a": [1, {"b": -Infinity}]}', '{"a": 1e999}', '{"schema": [[-1e400]]}', "[Infinity]"),
    ],
)
def test_every_reader_refuses_such_a_document_in_one_line(tmp_path: Path, number: int, content: str) -> None:
    (tmp_path / "evidence").mkdir()
    for name in ("neurons.json", "config.json", "run.json", "tables.json", "study.json", "evidence/evidence.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(NeuronscopeError) as caught:
        readers(tmp_path)[number]()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)

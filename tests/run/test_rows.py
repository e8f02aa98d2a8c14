"""Rows become tables of fixed columns, or are refused by the name of the column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.run.rows import same_columns, tabulate

KEY = {"concept": "bear", "j": 3}
LAYOUT = pa.schema(
    [
        pa.field("layer", pa.int16()),
        pa.field("score", pa.float64()),
        pa.field("hit", pa.bool_(), nullable=False),
        pa.field("tokens", pa.list_(pa.string())),
    ]
)
ROW = {"layer": 1, "score": 0.5, "hit": True, "tokens": ["a"]}


def test_the_fields_of_the_key_stand_in_front_of_every_row() -> None:
    table = tabulate("located", {"j": 3, "concept": "bear"}, [ROW, {**ROW, "score": None, "tokens": []}], LAYOUT)
    assert table.to_pylist() == [{**KEY, **ROW}, {**KEY, **ROW, "score": None, "tokens": []}]
    assert table.schema == pa.schema([("concept", pa.string()), ("j", pa.int64()), *LAYOUT])
    assert list(table.schema.names) == ["concept", "j", *LAYOUT.names]


def test_a_layout_may_give_the_fields_of_the_key_a_type_and_a_place() -> None:
    layout = pa.schema([*LAYOUT, ("j", pa.float32())])
    table = tabulate("located", {"j": 3}, [ROW], layout)
    assert table.schema == layout
    assert table["j"].to_pylist() == [3.0]


def test_whole_floats_are_whole_numbers_and_numpy_is_understood() -> None:
    row = {"layer": 7.0, "score": np.float32(0.5), "hit": np.bool_(True), "tokens": ("a", "b")}
    table = tabulate("located", KEY, [row], LAYOUT)
    assert table.to_pylist() == [{**KEY, "layer": 7, "score": 0.5, "hit": True, "tokens": ["a", "b"]}]
    half = tabulate("map", {}, [{"x": [0.1, 2]}], pa.schema([("x", pa.list_(pa.float32()))]))
    assert half["x"].to_pylist() == [[pytest.approx(0.1), 2.0]]


@pytest.mark.parametrize("rows", [[], pa.table({name: [] for name in LAYOUT.names})])
def test_no_rows_are_a_table_of_the_same_columns(rows: Any) -> None:
    table = tabulate("located", KEY, rows, LAYOUT)
    assert table.num_rows == 0
    assert table.schema == tabulate("located", KEY, [ROW], LAYOUT).schema


def test_a_table_is_taken_like_rows() -> None:
    given = pa.table({"hit": [True], "tokens": [["a"]], "layer": [1], "score": np.array([0.5], np.float32)})
    assert tabulate("located", KEY, given, LAYOUT) == tabulate("located", KEY, [ROW], LAYOUT)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InvalidOption, match=r"two columns of one name: \['a'\]"):
        tabulate("located", KEY, twice, None)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"layer": 1.5}, "column 'layer' of kind 'located' is not of the type int16: .*1.5"),
        ({"layer": 40_000}, "column 'layer' .* int16: .*40000"),
        ({"layer": "one"}, "column 'layer' .* int16"),
        ({"layer": True}, "column 'layer' .* int16: its values are bool"),
        ({"score": 2**53 + 1}, "column 'score' .* double"),
        ({"tokens": "a"}, "column 'tokens' .* list<.*string>: its values are string"),
        ({"tokens": [1]}, "column 'tokens' .* list<.*string>: its values are list<.*int64>"),
        ({"score": "high"}, "column 'score' .* double"),
        ({"hit": 1}, "column 'hit' .* bool"),
        ({"hit": None}, "column 'hit' of kind 'located' has no value in 1 rows"),
        ({"tokens": ["\ud800"]}, "column 'tokens' .* list"),
        ({"extra": 1}, r"lack the columns \[\] and have \['extra'\] besides"),
        ({"j": 9}, r"have the columns \['j'\], which are fields of the key"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_column(row: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        tabulate("located", KEY, [{**ROW, **row}], LAYOUT)


def test_a_missing_column_is_refused_even_in_one_row() -> None:
    without = {name: value for name, value in ROW.items() if name != "score"}
    with pytest.raises(InvalidOption, match=r"the rows of kind 'located' lack the columns \['score'\]"):
        tabulate("located", KEY, [without], LAYOUT)
    with pytest.raises(InvalidOption, match=r"row 1 of kind 'located' lack the columns \['score'\]"):
        tabulate("located", KEY, [ROW, without], LAYOUT)


def test_columns_are_inferred_where_rows_tell_them() -> None:
    table = tabulate("located", {"level": 0.5}, [{"n": 1, "x": 2}, {"n": None, "x": 2.5}], None)
    assert table.schema == pa.schema([("level", pa.float64()), ("n", pa.int64()), ("x", pa.float64())])


@pytest.mark.parametrize(
    ("key", "rows", "text"),
    [
        (KEY, [], "no row to tell the columns of kind 'located' from: give schemas"),
        (KEY, [{"a": None}], "column 'a' of kind 'located' has the type null"),
        (KEY, [{"a": []}], "column 'a' of kind 'located' has the type list<.*null>"),
        (KEY, [{"a": {"b": 1}}], "column 'a' of kind 'located' has the type struct"),
        (KEY, [{"a": 1}, {"a": "b"}], "column 'a' of kind 'located' is not of one type"),
        ({"method": None}, [{"a": 1}], "column 'method' of kind 'located' has the type null"),
    ],
)
def test_columns_that_rows_do_not_tell_have_to_be_given(key: Any, rows: Any, text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        tabulate("located", key, rows, None)


def test_a_field_of_the_key_without_a_type_is_refused_beside_a_layout() -> None:
    with pytest.raises(InvalidOption, match="column 'method' of kind 'located' has the type null"):
        tabulate("located", {"method": None}, [ROW], LAYOUT)
    assert tabulate("located", {"method": None}, [ROW], pa.schema([("method", pa.string()), *LAYOUT])).num_rows == 1


def test_columns_are_compared_by_name_and_type() -> None:
    same_columns("here", pa.schema([("b", pa.int64()), ("a", pa.int8())]), pa.schema([("a", pa.int8())]))
    with pytest.raises(RunMismatch, match="here has other columns: a is int64, not int8; c is absent, not string"):
        same_columns("here", pa.schema([("a", pa.int64())]), pa.schema([("a", pa.int8()), ("c", pa.string())]))

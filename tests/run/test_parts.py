"""A part proves by itself that it is whole, and whose it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuronscope.errors import InvalidOption
from neuronscope.run.parts import DamagedPart, Stamp, decode, encode, is_part_name, verify

KEY = {"concept": "bear", "j": 3}
STAMP = Stamp.of("located", KEY, "0123456789abcdef")
TABLE = pa.table(
    {
        "concept": ["bear"] * 3,
        "layer": [0, 5, 11],
        "score": [0.1, float("nan"), -0.0],
        "tokens": [["a", "b"], [], ["ü"]],
        "hit": [True, None, False],
    }
)


def test_the_name_is_the_hash_of_kind_and_canonical_key() -> None:
    assert STAMP.id == hashlib.sha256(b'located{"concept":"bear","j":3}').hexdigest()[:24]
    assert STAMP.name == f"{STAMP.id}.parquet"
    assert is_part_name(STAMP.name)
    assert Stamp.of("located", {"j": 3.0, "concept": "bear"}, "").id == STAMP.id  # neither order nor spelling matter
    others = [("captions", KEY), ("located", {**KEY, "j": 4}), ("located", {**KEY, "j": "3"}), ("located", {})]
    assert len({STAMP.id, *(Stamp.of(kind, key, "").id for kind, key in others)}) == 5


@pytest.mark.parametrize("kind", ["", "Located", "a/b", "..", "-a", "a b", "x" * 65])
def test_a_kind_that_is_no_file_name_is_refused(kind: str) -> None:
    with pytest.raises(InvalidOption, match=f"kind='{kind}' has to be"):
        Stamp.of(kind, KEY, "")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ({"level": float("nan")}, "key.level is nan, not a finite number"),
        ({"at": {"x": [1, {2}]}}, r"key.at.x\[1\] is \{2\} of type set"),
        ({3: 1}, "key has the name 3 of type int"),
    ],
)
def test_a_key_that_is_not_json_is_refused_by_its_field(key: Any, text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        Stamp.of("located", key, "")


def test_rows_come_back_as_they_went_and_the_bytes_are_always_the_same() -> None:
    data = encode(TABLE, STAMP)
    assert data == encode(TABLE.replace_schema_metadata({"made": "otherwise"}), STAMP)
    stamp, rows = decode(data, STAMP.name, STAMP.settings)
    assert stamp == STAMP
    assert (rows.schema, rows.schema.metadata) == (TABLE.schema, None)
    assert repr(rows.to_pydict()) == repr(TABLE.to_pydict())  # as text, since NaN is not equal to itself


def test_a_part_without_rows_is_one() -> None:
    data = encode(TABLE.slice(0, 0), STAMP)
    assert decode(data, STAMP.name, STAMP.settings)[1].schema == TABLE.schema


def test_a_part_is_plain_parquet_with_its_origin_in_the_footer(tmp_path: Path) -> None:
    path = tmp_path / STAMP.name
    path.write_bytes(encode(TABLE, STAMP))
    assert pd.read_parquet(path)["layer"].tolist() == [0, 5, 11]
    said = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items()}
    assert said["neuronscope.kind"] == "located"
    assert said["neuronscope.key"] == '{"concept":"bear","j":3}'
    assert said["neuronscope.rows"] == "3"
    assert len(said["neuronscope.sha256"]) == 64


def test_text_that_looks_like_the_hash_does_no_harm() -> None:
    digest = pq.read_metadata(pa.BufferReader(encode(TABLE, STAMP))).metadata[b"neuronscope.sha256"].decode()
    place = hashlib.sha256(b"neuronscope.part/1").hexdigest()
    rows = pa.table({"text": [digest, place, "0" * 64]})
    assert decode(encode(rows, STAMP), STAMP.name, STAMP.settings)[1] == rows


def test_a_flip_of_any_byte_is_found() -> None:
    data = encode(TABLE, STAMP)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1
        with pytest.raises(DamagedPart):
            verify(bytes(flipped), STAMP.name, STAMP.settings)
    assert verify(data, STAMP.name, STAMP.settings) == STAMP


def test_a_cut_at_any_place_is_found() -> None:
    data = encode(TABLE, STAMP)
    for length in range(len(data)):
        with pytest.raises(DamagedPart):
            verify(data[:length], STAMP.name, STAMP.settings)


def unsigned() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no whole Parquet file"),
        (b"garbage " * 500, "no whole Parquet file"),
        (b"PAR1" + bytes(500) + b"PAR1", "no whole Parquet file"),
        (unsigned(), "its schema is None, not 'neuronscope.part/1'"),
        (encode(TABLE, Stamp.of("located", {**KEY, "j": 4}, STAMP.settings)), 'it holds located .*"j":4'),
        (encode(TABLE, Stamp.of("captions", KEY, STAMP.settings)), "it holds captions "),
        (encode(TABLE, Stamp.of("located", KEY, "f" * 16)), "other settings .digest f{16}, here 0123456789abcdef"),
    ],
)
def test_what_is_not_the_part_that_the_name_promises_is_told_apart(data: bytes, reason: str) -> None:
    with pytest.raises(DamagedPart, match=reason):
        verify(data, STAMP.name, STAMP.settings)

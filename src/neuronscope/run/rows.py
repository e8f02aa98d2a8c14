"""Rows of results as a table with fixed columns: what does not fit is refused by the name of its column.

The fields of the key stand in front of the rows' own columns, so that a part means something without its name.
"""

# pyright: reportUnknownParameterType=false
# pyarrow comes without types.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pyarrow as pa

from ..errors import InvalidOption, RunMismatch

Row = Mapping[str, Any]


def tabulate(kind: str, key: Row, rows: Sequence[Row] | pa.Table, layout: pa.Schema | None) -> pa.Table:
    """The rows of one unit of work with its key repeated in every one.

    Args:
        kind: the kind of unit, for messages.
        key: what tells the unit from others of its kind; its fields become the first columns, unless `layout` has them.
        rows: one mapping per row, all with the same names, or a table.
        layout: names and types of the columns. Without it they are inferred, which needs rows.

    Raises InvalidOption naming the column when rows and layout do not agree, a column is also a field of the key, or
    the layout is missing and cannot be inferred.
    """
    count, columns = _columns(kind, rows)
    if columns is None:
        columns = {name: [] for name in _own(key, layout)} if layout is not None else {}
    both = sorted(key.keys() & columns.keys())
    if both:
        raise InvalidOption(f"rows of kind {kind!r} have the columns {both}, which are fields of the key")
    values = {**{name: [value] * count for name, value in sorted(key.items())}, **columns}
    if layout is None:
        return _inferred(kind, values, columns.keys())
    _same_names(kind, set(_own(key, layout)), set(columns))
    fields = [field for name in sorted(key) if (field := _key_field(kind, name, key[name], layout)) is not None]
    schema = pa.schema([*fields, *layout])
    return pa.table([_column(kind, field, values[field.name]) for field in schema], schema=schema)


def same_columns(where: str, found: pa.Schema, wanted: pa.Schema) -> None:
    """Raise RunMismatch, naming columns, when `found` lacks one of the wanted columns or has it with another type."""
    unlike = [
        f"{field.name} is {found.field(field.name).type if field.name in found.names else 'absent'}, not {field.type}"
        for field in wanted
        if field.name not in found.names or not found.field(field.name).equals(field)
    ]
    if unlike:
        raise RunMismatch(f"{where} has other columns: {'; '.join(unlike)}")


def _own(key: Row, layout: pa.Schema) -> list[str]:
    return [name for name in layout.names if name not in key]


def _columns(kind: str, rows: Sequence[Row] | pa.Table) -> tuple[int, dict[str, list[Any]] | None]:
    """Number of rows, and name -> values; None for the names that no row tells."""
    if isinstance(rows, pa.Table):
        table = cast("Any", rows)
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        if twice:
            raise InvalidOption(f"rows of kind {kind!r} have two columns of one name: {twice}")
        return table.num_rows, table.to_pydict()
    rows = cast("Sequence[Row]", rows)
    if not rows:
        return 0, None
    names = rows[0].keys()
    for number, row in enumerate(rows):
        _same_names(kind, set(names), set(row), f"row {number}")
    return len(rows), {name: [row[name] for row in rows] for name in names}


def _same_names(kind: str, wanted: set[str], found: set[str], who: str = "the rows") -> None:
    if wanted != found:
        lacking, foreign = sorted(wanted - found), sorted(found - wanted, key=str)
        raise InvalidOption(f"{who} of kind {kind!r} lack the columns {lacking} and have {foreign} besides")


def _inferred(kind: str, values: Mapping[str, list[Any]], own: Any) -> pa.Table:
    if not own or not all(values[name] for name in own):
        raise InvalidOption(f"there is no row to tell the columns of kind {kind!r} from: give schemas[{kind!r}]")
    table = pa.table({name: _convert(kind, name, column, None) for name, column in values.items()})
    for field in table.schema:
        _refuse_unknown(kind, field)
    return table


def _key_field(kind: str, name: str, value: Any, layout: pa.Schema) -> pa.Field | None:
    if name in layout.names:
        return None
    field = pa.field(name, _convert(kind, name, [value], None).type)
    _refuse_unknown(kind, field)
    return field


def _refuse_unknown(kind: str, field: pa.Field) -> None:
    if "null" in str(field.type) or pa.types.is_struct(field.type):
        raise InvalidOption(
            f"column {field.name!r} of kind {kind!r} has the type {field.type}, which other parts may not share: "
            f"give schemas[{kind!r}]"
        )


def _column(kind: str, field: pa.Field, values: list[Any]) -> pa.Array:
    column = _convert(kind, field.name, values, field.type)
    if not field.nullable and column.null_count:
        raise InvalidOption(f"column {field.name!r} of kind {kind!r} has no value in {column.null_count} rows")
    return column


def _convert(kind: str, name: str, values: list[Any], wanted: pa.DataType | None) -> pa.Array:
    """An array of the values, never bent to fit: told a type, pyarrow makes 1 of 1.5 and a list of a text."""
    try:
        found = pa.array(values)
        if wanted is None or found.type.equals(wanted):
            return found
        if _fits(found.type, wanted):
            return found.cast(wanted)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        type_ = "one type" if wanted is None else f"the type {wanted}"
        raise InvalidOption(f"column {name!r} of kind {kind!r} is not of {type_}: {error}") from error
    raise InvalidOption(f"column {name!r} of kind {kind!r} is not of the type {wanted}: its values are {found.type}")


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether the cast, which refuses what it would have to round, keeps what the values are."""
    if pa.types.is_null(found) or found.equals(wanted):
        return True
    if _is_list(found) and _is_list(wanted):
        return _fits(found.value_type, wanted.value_type)
    return any(family(found) and family(wanted) for family in (_is_number, _is_text))


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_)


def _is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_dictionary(type_)

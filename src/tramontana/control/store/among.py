"""Conditions on many values at once, whose SQL is the same for any number of them, so that a database prepares it once."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, any_, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection


def among(
    connection: AsyncConnection, column: ColumnElement[Any], values: Collection[str] | Collection[int] | Collection[bytes]
) -> ColumnElement[bool]:
    """The column is one of these."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))
    if column.type.python_type is bytes:  # JSON has no octets
        return column.in_(values)
    return column.in_(select(func.json_each(json.dumps(list(values))).table_valued("value").c.value))


def pair_among(
    connection: AsyncConnection, columns: tuple[ColumnElement[Any], ColumnElement[Any]], pairs: Collection[tuple[str, str]]
) -> ColumnElement[bool]:
    """The two columns are one of these pairs."""
    listed: Sequence[tuple[str, str]] = list(pairs)
    if connection.dialect.name == "postgresql":
        arrays = (literal([pair[side] for pair in listed], ARRAY(columns[side].type)) for side in (0, 1))
        rows = func.unnest(*arrays).table_valued("first", "second").render_derived()
        return tuple_(*columns).in_(select(rows.c.first, rows.c.second))
    each = func.json_each(json.dumps(listed)).table_valued("value").c.value
    return tuple_(*columns).in_(select(func.json_extract(each, "$[0]"), func.json_extract(each, "$[1]")))

"""Bulk writes into the ledger: the driver gets all rows at once, converted a column at a time.

SQLAlchemy prepares every row anew, and PostgreSQL's driver sends a message for each, which costs several times what the
row itself costs.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from tasks.ledgers.tables import Words, storable_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    Column = Sequence[Any]
    Convert = Callable[[Column], Iterable[Any]]

_SQLITE, _POSTGRESQL = sqlite.dialect(), psycopg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def write(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Sequence[Any]]) -> None:
    """Execute an insert or upsert for many rows, which have a value for each column of its table, in their order."""
    if rows:
        (_write_values if connection.dialect.name == "sqlite" else _write_array)(connection, statement, rows)


def _write_values(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Sequence[Any]]) -> None:
    text, converts = _prepared(statement)
    columns = [convert(column) for convert, column in zip(converts, zip(*rows, strict=True), strict=True)]
    connection.exec_driver_sql(text, list(zip(*columns, strict=True)))


def _write_array(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Sequence[Any]]) -> None:
    if len({row[0] for row in rows}) < len(rows):  # one statement cannot write a row twice
        for row in rows:
            write(connection, statement, [row])
        return
    text, names, words = _prepared_array(statement)
    columns = [
        storable_all(column) if word else column for word, column in zip(words, zip(*rows, strict=True), strict=True)
    ]
    objects = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    connection.exec_driver_sql(text, {"listed": orjson.dumps(objects).decode()})


@cache
def _prepared(statement: sa.Insert) -> tuple[str, list[Convert]]:
    """The statement's text, and what converts each column."""
    return str(statement.compile(dialect=_SQLITE)), [_convert(column) for column in statement.table.c]


@cache
def _prepared_array(statement: sa.Insert) -> tuple[str, list[str], list[bool]]:
    """The statement's text, the columns' names, and which of them hold words."""
    columns = list(statement.table.c)
    names = [f"{column.name}" for column in columns]  # SQLAlchemy's own are no plain texts
    return str(statement.compile(dialect=_POSTGRESQL)), names, [isinstance(column.type, Words) for column in columns]


def _convert(column: sa.ColumnElement[Any]) -> Convert:
    if isinstance(column.type, Words):
        return storable_all
    one = column.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
    if one is None:
        return tuple
    remembered = lru_cache(maxsize=64)(one)  # most rows repeat the one before
    return lambda values: map(remembered, values)

"""Bulk writes into the ledger: on SQLite the driver gets the rows at once, converted a column at a time.

SQLAlchemy prepares every row anew, which there costs several times what the row itself costs.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite

from tasks.ledgers.tables import Words, storable_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    Column = Sequence[Any]
    Convert = Callable[[Column], Iterable[Any]]

_SQLITE = sqlite.dialect()


def write(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Sequence[Any]]) -> None:
    """Execute an insert or upsert for many rows, which have a value for each column of its table, in their order."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        text, converts = _prepared(statement)
        columns = zip(*rows, strict=True)
        converted = [convert(column) for convert, column in zip(converts, columns, strict=True)]
        connection.exec_driver_sql(text, list(zip(*converted, strict=True)))
    else:
        names = statement.table.c.keys()
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])


@cache
def _prepared(statement: sa.Insert) -> tuple[str, list[Convert]]:
    """The statement's text, and what converts each column."""
    return str(statement.compile(dialect=_SQLITE)), [_convert(column) for column in statement.table.c]


def _convert(column: sa.ColumnElement[Any]) -> Convert:
    if isinstance(column.type, Words):
        return storable_all
    one = column.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
    if one is None:
        return tuple
    remembered = lru_cache(maxsize=64)(one)  # most rows repeat the one before
    return lambda values: map(remembered, values)

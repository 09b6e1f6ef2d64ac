"""Bulk writes into the ledger: on SQLite the driver gets the rows at once.

SQLAlchemy prepares every row anew, which there costs twice what the row itself costs.
"""

from __future__ import annotations

from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    Convert = Callable[[Any], Any]

_SQLITE = sqlite.dialect()


def write(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute an insert or upsert for many rows, which all have the same names."""
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(statement, rows)
        return
    text, columns = _prepared(statement, tuple(rows[0]))
    values = [tuple([convert(row[name]) if convert else row[name] for name, convert in columns]) for row in rows]
    connection.exec_driver_sql(text, values)


@cache
def _prepared(statement: sa.Insert, names: tuple[str, ...]) -> tuple[str, list[tuple[str, Convert | None]]]:
    """The statement's text, and what stands for its parameters in order: a name, and what converts its values."""
    compiled = statement.compile(dialect=_SQLITE, column_keys=list(names))
    columns: list[tuple[str, Convert | None]] = []
    for name in compiled.positiontup or ():
        if name in names:
            convert = statement.table.c[name].type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
            columns.append((name, convert and lru_cache(maxsize=64)(convert)))  # most rows repeat the one before
        else:
            columns.append((names[0], partial(_constant, compiled.params[name])))
    return str(compiled), columns


def _constant(value: object, _: object) -> object:
    return value

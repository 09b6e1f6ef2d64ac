"""The entries of a plan in the making, in a nameless database: in memory while they are few, on disk beyond.

SQLite sorts what does not fit into memory, so a plan of any size takes the same.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tasks.clients.verdicts import ledger_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SETUP = """
PRAGMA journal_mode = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -2048;
"""
_ENTRIES = "CREATE TABLE entries (key BLOB, path TEXT, standing INT, size INT, route INT, offset INT, length INT)"


class Entry(NamedTuple):
    """One dataset that is wanted: all but its line, which lies in a spool.

    Attributes:
        key: What the entries are sorted by, and compared.
        path: Where it goes.
        standing: The number of its `Standing`.
        size: Bytes, or None where nobody knows.
        route: The number of its first source's protocol and repository.
        offset: Where its line begins.
        length: How long its line is.
    """

    key: bytes
    path: str
    standing: int
    size: int | None
    route: int
    offset: int
    length: int


class Entries:
    """Entries of any number.

    Every method raises DownloadError: `disk-full` and the like, for the folder of temporary files.
    """

    def __init__(self) -> None:
        self._database = nameless_database(_ENTRIES)

    def add(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        insert(self._database, "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", entries)

    def sorted(self) -> Iterator[Entry]:
        """Yield all by their keys; the order of those with the same key is any."""
        with told():
            yield from map(Entry._make, self._database.execute("SELECT * FROM entries ORDER BY key"))


def nameless_database(table: str) -> sqlite3.Connection:
    """Make a database with one table; it is gone with the connection."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.executescript(_SETUP)
    database.execute(table)
    database.execute("BEGIN")  # nobody else will ever see it, so it never ends
    return database


def insert(database: sqlite3.Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Insert rows.

    Raises:
        DownloadError: `disk-full` and the like, for the folder of temporary files.
    """
    with told():
        database.executemany(statement, rows)


@contextmanager
def told() -> Iterator[None]:
    """Turn what SQLite raises into a DownloadError."""
    try:
        yield
    except sqlite3.Error as failure:
        raise ledger_error(failure, tempfile.gettempdir()) from failure

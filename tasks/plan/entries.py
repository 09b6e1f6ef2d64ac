"""The entries of a plan in the making, in a nameless database: in memory while they are few, on disk beyond.

SQLite sorts what does not fit into memory, so a plan of any size takes the same.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import contextmanager
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from tasks.clients.verdicts import ledger_error
from tasks.plan.claims import name_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SETUP = """
PRAGMA journal_mode = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -2048;
"""
_ENTRIES = "CREATE TABLE entries (key BLOB, path TEXT, standing INT, size INT, route INT, offset INT, length INT)"
_PRESENT = "CREATE TABLE present (dataset BLOB, path TEXT, size INT)"
_FIRST = """
SELECT name_key(path), dataset FROM present
WHERE name_key(path) >= ? AND name_key(path) < ? ORDER BY name_key(path), dataset LIMIT 1
"""
#: Identifiers may hold halves of characters, which are no text: those that are not ASCII are kept as bytes.
_BYTES = ("utf-8", "surrogatepass")


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
        self._database = _database(_ENTRIES)

    def add(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        _insert(self._database, "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", entries)

    def sorted(self) -> Iterator[Entry]:
        """Yield all by their keys; the order of those with the same key is any."""
        with _told():
            yield from map(Entry._make, self._database.execute("SELECT * FROM entries ORDER BY key"))


class Present:
    """Files that are proven on disk, of any number; the same file of the same dataset is held once.

    Every method raises DownloadError: `disk-full` and the like, for the folder of temporary files.
    """

    def __init__(self) -> None:
        self._database = _database(_PRESENT)
        self._has_odd = False

    def add(self, files: Sequence[tuple[str, str, int]]) -> None:
        """Append files: dataset, path and size of each."""
        rows: Iterable[tuple[str | bytes, str, int]] = files
        if not all(map(str.isascii, map(itemgetter(0), files))):
            self._has_odd = True
            rows = [(_stored(dataset), path, size) for dataset, path, size in files]
        _insert(self._database, "INSERT INTO present VALUES (?, ?, ?)", rows)

    def sorted(self, count: int) -> Iterator[list[tuple[str, str, int]]]:
        """Yield dataset, path and size of each, by path and dataset; so many at a time."""
        query = "SELECT dataset, path, size FROM present GROUP BY path, dataset ORDER BY path, dataset"
        with _told():
            found = self._database.execute(query)
            while rows := found.fetchmany(count):
                yield [(_text(dataset), path, size) for dataset, path, size in rows] if self._has_odd else rows

    def first(self, low: bytes, high: bytes) -> tuple[bytes, str] | None:
        """Return key and dataset of the first file from the one key on and below the other."""
        with _told():
            row = self._by_key.execute(_FIRST, (low, high)).fetchone()
        return (row[0], _text(row[1])) if row else None

    @cached_property
    def _by_key(self) -> sqlite3.Connection:
        """The database with its index, which nobody needs where nothing is wanted."""
        self._database.create_function("name_key", 1, name_key, deterministic=True)
        self._database.execute("CREATE INDEX by_key ON present (name_key(path), dataset)")
        return self._database


def _stored(dataset: str) -> str | bytes:
    return dataset if dataset.isascii() else dataset.encode(*_BYTES)


def _text(dataset: str | bytes) -> str:
    return dataset.decode(*_BYTES) if isinstance(dataset, bytes) else dataset


def _database(table: str) -> sqlite3.Connection:
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.executescript(_SETUP)
    database.execute(table)
    return database


def _insert(database: sqlite3.Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
    with _told():
        database.execute("BEGIN")
        database.executemany(statement, rows)
        database.execute("COMMIT")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failure:
        raise ledger_error(failure, tempfile.gettempdir()) from failure

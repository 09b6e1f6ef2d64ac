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
PRAGMA cache_size = -4096;
CREATE TABLE entries (key BLOB, path TEXT, standing INT, size INT, route INT, offset INT, length INT);
"""


class Entry(NamedTuple):
    """One dataset of a plan: all but its line, which lies in a spool.

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
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_SETUP)

    def add(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        with _told():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", entries)
            self._database.execute("COMMIT")

    def sorted(self) -> Iterator[Entry]:
        """Yield all by their keys; the order of those with the same key is any."""
        return self._found("SELECT * FROM entries ORDER BY key")

    def of(self, *standings: int) -> Iterator[Entry]:
        """Yield those that stand so, as they were added."""
        marks = ", ".join("?" * len(standings))
        return self._found(f"SELECT * FROM entries WHERE standing IN ({marks}) ORDER BY rowid", standings)  # noqa: S608

    def _found(self, query: str, values: tuple[int, ...] = ()) -> Iterator[Entry]:
        with _told():
            yield from map(Entry._make, self._database.execute(query, values))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failure:
        raise ledger_error(failure, tempfile.gettempdir()) from failure

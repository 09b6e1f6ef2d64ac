"""The files that a plan in the making found proven on disk: what a run with nothing to do has most of.

They are kept a folder at a time, since a row for each of them would cost as much as the look at the disk.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain, groupby
from operator import eq, itemgetter
from typing import TYPE_CHECKING, NamedTuple

from tasks.plan.claims import name_key
from tasks.plan.entries import insert, nameless_database, told
from tasks.plan.spool import line, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    #: Name, dataset and size of one file of a folder.
    Named = tuple[str, str, int]

_TABLE = "CREATE TABLE present (folder TEXT, files INT, size INT, line BLOB)"
_INDEX = "CREATE INDEX by_key ON present (name_key(folder))"
_IN = "SELECT line FROM present WHERE name_key(folder) = ?"
_BELOW = "SELECT 1 FROM present WHERE name_key(folder) >= ? AND name_key(folder) < ? LIMIT 1"
_SORTED = "SELECT folder, files, size, line FROM present ORDER BY folder"


class Folder(NamedTuple):
    """What is present in one folder.

    Attributes:
        path: The folder, "" for the root.
        files: How many files.
        size: Their bytes.
        line: The folder and its files, by name, as :func:`members` reads them.
    """

    path: str
    files: int
    size: int
    line: bytes


def members(row: tuple[str, Iterable[Named]]) -> Iterator[tuple[str, str]]:
    """Yield dataset and path of each file in a folder's line."""
    folder, files = row
    start = f"{folder}/" if folder else ""
    return ((dataset, start + name) for name, dataset, _ in files)


def gathered(folders: Iterable[Folder], files: int) -> Iterator[list[Folder]]:
    """Gather folders until they hold so many files."""
    some, held = [], 0
    for folder in folders:
        some.append(folder)
        held += folder.files
        if held >= files:
            yield some
            some, held = [], 0
    if some:
        yield some


class Present:
    """Files that are proven on disk, of any number; the same file of the same dataset is held once.

    One folder's are held in memory at a time. Every method raises DownloadError: `disk-full` and the like, for the
    folder of temporary files.
    """

    def __init__(self) -> None:
        self._database = nameless_database(_TABLE)
        self._is_empty = True
        self._looked_in: tuple[bytes | None, dict[bytes, str]] = (None, {})

    def add(self, folder: str, files: Sequence[Named]) -> None:
        """Add files of a folder, which may have been added to before."""
        if files:
            self._is_empty = False
            insert(self._database, "INSERT INTO present VALUES (?, ?, ?, ?)", [_folder(folder, files)])

    def sorted(self) -> Iterator[Folder]:
        """Yield each folder once, by path."""
        with told():
            for path, rows in groupby(self._database.execute(_SORTED), key=itemgetter(0)):
                first, *others = map(Folder._make, rows)
                yield _folder(path, chain.from_iterable(map(_files, (first, *others)))) if others else first

    def owner(self, key: bytes) -> str | None:
        """Return the dataset whose file has a name (see :func:`name_key`), if there is one."""
        if self._is_empty:
            return None
        folder = key.rpartition(b"\0")[0]
        if self._looked_in[0] != folder:  # claims come sorted, so those of one folder follow each other
            self._looked_in = (folder, dict(self._names(folder)))
        return self._looked_in[1].get(key)

    def has_folder(self, low: bytes, high: bytes) -> bool:
        """Whether there is a file in a folder whose key is at least the one, and less than the other."""
        with told():
            return not self._is_empty and self._by_key.execute(_BELOW, (low, high)).fetchone() is not None

    def _names(self, folder: bytes) -> Iterator[tuple[bytes, str]]:
        """The files of a folder, by key; where several have one, the dataset that sorts first comes last."""
        with told():
            rows = self._by_key.execute(_IN, (folder,)).fetchall()
        found = [pair for (row,) in rows for pair in members(parsed(row))]
        return ((name_key(path), dataset) for dataset, path in sorted(found, reverse=True))

    @cached_property
    def _by_key(self) -> sqlite3.Connection:
        """The database with its index, which nobody needs where nothing is wanted."""
        self._database.create_function("name_key", 1, name_key, deterministic=True)
        self._database.execute(_INDEX)
        return self._database


def _folder(path: str, files: Iterable[Named]) -> Folder:
    ordered = sorted(files)
    if any(map(eq, ordered, ordered[1:])):
        ordered = list(dict.fromkeys(ordered))
    return Folder(path, len(ordered), sum(map(itemgetter(2), ordered)), line((path, ordered)))


def _files(folder: Folder) -> Iterator[Named]:
    """What `_folder` wrote down."""
    _, files = parsed(folder.line)
    return map(tuple, files)

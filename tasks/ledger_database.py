"""Opens the ledger's database: a SQLite file under the root, or whatever a URL names."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from tasks import ledger_tables as tables
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import error, ledger_error, os_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: No WAL: its mode lies in the file, the same for all who open it, and a tree is often local to one machine and NFS to
#: the next, where WAL's shared memory does not work. The rollback journal is right on both, and fast enough with one
#: commit a batch. TRUNCATE with FULL makes a commit survive a power cut with the fewest syncs.
_WRITING = ("PRAGMA journal_mode = TRUNCATE", "PRAGMA synchronous = FULL")
#: Opened for writing all the same (see `_connect`), so that what a killed writer left half done is rolled back.
_READING = ("PRAGMA query_only = ON",)


def ledger_file(root: Path) -> Path:
    """Return where a root's own ledger lies."""
    return root / OURS / "ledger.db"


class Database:
    """The ledger's tables, ready to be read or written; every error of the database comes out as a DownloadError."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self.name = name

    @classmethod
    def open(cls, place: Path | str, patience: float) -> Self:
        """Open for reading and writing; what is not there is made."""
        if isinstance(place, Path):
            _make_private(place)
        database = cls(_engine(place, patience, _WRITING), _name(place))
        if database.version() is None:
            with database.writing() as connection:
                _create(connection)
        return database

    @classmethod
    def read_only(cls, place: Path | str, patience: float) -> Self:
        """Open for reading and make nothing; an empty database in memory stands in for one that is not there."""
        if not isinstance(place, Path) or _is_there(ledger_file(place)):
            database = cls(_engine(place, patience, _READING), _name(place))
            if database.version() is not None:
                return database
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with engine.begin() as connection:
            _create(connection)
            connection.exec_driver_sql(*_READING)
        return cls(engine, _name(place))

    def version(self) -> int | None:
        """Return the version of the tables, None where there are none.

        Raises:
            DownloadError: `ledger-newer` for one that this release does not know.
        """
        with self.reading() as connection:
            if not sa.inspect(connection).has_table(tables.version.name):
                return None
            found = connection.scalar(sa.select(tables.version.c.version))
        if found and found > tables.SCHEMA:
            raise error("ledger-newer", f"{self.name}: its tables are version {found}, known here is {tables.SCHEMA}.")
        return found

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Connect; each query sees what was committed before it."""
        with self._told(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Begin a transaction; on SQLite with the write lock, since one that asks for it later may deadlock."""
        with self._told(), self.engine.begin() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as failure:
            raise ledger_error(failure.orig or failure, self.name) from failure


def _create(connection: sa.Connection) -> None:
    tables.metadata.create_all(connection)
    if connection.scalar(sa.select(tables.version)) is None:  # another process may have been first
        connection.execute(sa.insert(tables.version).values(version=tables.SCHEMA))


def _make_private(root: Path) -> None:
    Tree(root).prepare()
    try:
        os.close(os.open(ledger_file(root), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as failure:
        raise os_error(failure, ledger_file(root)) from failure


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as failure:  # it may be there, out of this user's sight
        raise os_error(failure, file) from failure


def _name(place: Path | str) -> str:
    """Name a ledger, for people, without its password."""
    return str(ledger_file(place)) if isinstance(place, Path) else str(sa.make_url(place))


def _engine(place: Path | str, patience: float, pragmas: Sequence[str]) -> sa.Engine:
    if isinstance(place, Path):
        connect = partial(_connect, ledger_file(place).absolute(), patience, pragmas)
        return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)
    try:
        return sa.create_engine(place, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as failure:
        raise error("ledger", f"{failure}.") from failure


def _connect(file: Path, patience: float, pragmas: Sequence[str]) -> sqlite3.Connection:
    """Connect to a file that is there (`mode=rw` makes none); transactions begin where the code says so."""
    connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=patience, isolation_level=None)
    for pragma in pragmas:
        with closing(connection.execute(pragma)) as cursor:
            cursor.fetchall()
    return connection

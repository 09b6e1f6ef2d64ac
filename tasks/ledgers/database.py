"""Opens the ledger's database: a SQLite file under the root, or whatever a URL names."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tasks.clients.tree import Tree
from tasks.clients.verdicts import error, ledger_error, os_error
from tasks.ledgers import tables
from tasks.ledgers.engines import ledger_file, name_of, reader, writer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Taken by whoever makes or upgrades tables on PostgreSQL, so that nobody else does meanwhile ("alyx" in ASCII).
_ADVISORY_LOCK = 0x616C7978


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
        database = cls(writer(place, patience), name_of(place))
        if database.version() != tables.VERSIONS[-1]:
            database._make()
        return database

    @classmethod
    def read_only(cls, place: Path | str, patience: float) -> Self:
        """Open for reading and make nothing; an empty database in memory stands in for one that is not there."""
        if not isinstance(place, Path) or is_there(ledger_file(place)):
            database = cls(reader(place, patience), name_of(place))
            if database.version() is not None:
                return database
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with engine.begin() as connection:
            _create(connection)
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return cls(engine, name_of(place))

    def version(self) -> str | None:
        """Return the version of the tables, None where there are none.

        Raises:
            DownloadError: `ledger-newer` for one that this release does not know.
        """
        with self.reading() as connection:
            found = _version(connection)
        if found not in (None, *tables.VERSIONS):
            raise error("ledger-newer", f"{self.name}: its tables are version {found}, known is {tables.VERSIONS[-1]}.")
        return found

    def _make(self) -> None:
        """Make the tables, or bring older ones up to date: all of it or, should it fail or be killed, nothing."""
        with self.writing() as connection:
            if self.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            found = _version(connection)  # another process may have been first
            if found is None:
                _create(connection)
            elif found != tables.VERSIONS[-1]:
                from tasks.ledgers.migrations import upgrade  # noqa: PLC0415  (a second of imports, once in a ledger's life)

                upgrade(connection, found)

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


def _version(connection: sa.Connection) -> str | None:
    inspector = sa.inspect(connection)
    if inspector.has_table(tables.version.name):
        return connection.scalar(sa.select(tables.version.c.version_num))
    if inspector.has_table(tables.first_version.name):
        return f"{connection.scalar(sa.select(tables.first_version.c.version)) or 1:04}"
    return None


def _create(connection: sa.Connection) -> None:
    """Make all tables, and for PostgreSQL the schema that is to hold them."""
    if connection.dialect.name == "postgresql":
        schema = connection.scalar(sa.text("SELECT current_setting('search_path')"))
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    tables.metadata.create_all(connection)
    tables.version.create(connection, checkfirst=True)
    connection.execute(sa.insert(tables.version).values(version_num=tables.VERSIONS[-1]))
    connection.execute(sa.insert(tables.first_version).values(version=len(tables.VERSIONS)))


def _make_private(root: Path) -> None:
    Tree(root).prepare()
    try:
        os.close(os.open(ledger_file(root), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as failure:
        raise os_error(failure, ledger_file(root)) from failure


def is_there(file: Path) -> bool:
    """Whether a file is there.

    Raises:
        DownloadError: where this user may not know.
    """
    try:
        return file.exists()
    except OSError as failure:  # it may be there, out of this user's sight
        raise os_error(failure, file) from failure

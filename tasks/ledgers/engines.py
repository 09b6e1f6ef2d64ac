"""Connects to a ledger's database: a SQLite file under the root, or the PostgreSQL that a fleet shares."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from tasks.clients.tree import OURS
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Sequence

#: No WAL: its mode lies in the file, the same for all who open it, and a tree is often local to one machine and NFS to
#: the next, where WAL's shared memory does not work. The rollback journal is right on both, and fast enough with one
#: commit a batch. TRUNCATE with FULL makes a commit survive a power cut with the fewest syncs.
_WRITING = ("PRAGMA journal_mode = TRUNCATE", "PRAGMA synchronous = FULL")
#: Opened for writing all the same (see `_connect`), so that what a killed writer left half done is rolled back.
_READING = ("PRAGMA query_only = ON",)

#: What a ledger's URL has to be.
_SETTING = "PREFECT_INTEGRATIONS_ALYX_LEDGER"
_FORM = "a ledger lies in PostgreSQL (postgresql://user:password@host/database) or, without that setting, with the root"

#: A URL says which schema a ledger lies in; by default the database's usual one.
_SCHEMA = "schema"
#: Connections of one process: its threads record for moments, and a server has a hundred for the whole fleet.
_CONNECTIONS = 2
#: How long a database that has answered before is waited for: it may be restarting.
_AWAY_SECONDS = 60.0
_KNOCK_SECONDS = 0.5


def ledger_file(root: Path) -> Path:
    """Return where a root's own ledger lies."""
    return root / OURS / "ledger.db"


def schema_of(root: Path, url: str) -> str:
    """Add the schema of a root's ledger to a database's URL, unless the URL names one."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "postgresql" or _SCHEMA in parsed.query:
        return url
    schema = f"alyx_{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:12]}"
    return parsed.update_query_dict({_SCHEMA: schema}).render_as_string(hide_password=False)


def name_of(place: Path | str) -> str:
    """Name a ledger, for people: of a URL neither the password nor what else may be secret in its options."""
    if isinstance(place, Path):
        return str(ledger_file(place))
    url = _parsed(place)
    schema = url.query.get(_SCHEMA)
    return str(url.set(query={_SCHEMA: schema} if schema else {}))


def writer(place: Path | str, patience: float) -> sa.Engine:
    """Make the engine that reads and writes a ledger.

    Raises:
        DownloadError: `ledger`, for a URL that cannot be used.
    """
    return _sqlite(place, patience, _WRITING) if isinstance(place, Path) else _server(place, patience)


def reader(place: Path | str, patience: float) -> sa.Engine:
    """Make the engine that only reads a ledger.

    Raises:
        DownloadError: `ledger`, for a URL that cannot be used.
    """
    if isinstance(place, Path):
        return _sqlite(place, patience, _READING)
    return _server(place, patience).execution_options(postgresql_readonly=True)


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise error("ledger", f"{_SETTING} is no URL: {_FORM}.") from None


def _sqlite(root: Path, patience: float, pragmas: Sequence[str]) -> sa.Engine:
    connect = partial(_connect, ledger_file(root).absolute(), patience, pragmas)
    return sa.create_engine("sqlite://", creator=connect, poolclass=QueuePool, max_overflow=-1)


def _connect(file: Path, patience: float, pragmas: Sequence[str]) -> sqlite3.Connection:
    """Connect to a file that is there (`mode=rw` makes none); transactions begin where the code says so."""
    address = f"{file.as_uri()}?mode=rw"
    connection = sqlite3.connect(address, timeout=patience, isolation_level=None, check_same_thread=False, uri=True)
    for pragma in pragmas:
        with closing(connection.execute(pragma)) as cursor:
            cursor.fetchall()
    return connection


def _server(place: str, patience: float) -> sa.Engine:
    url = _parsed(place)
    try:
        if url.get_backend_name() != "postgresql":
            return sa.create_engine(url, pool_pre_ping=True)
        made = sa.create_engine(
            url.difference_update_query([_SCHEMA]).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            connect_args=_postgresql_options(str(url.query.get(_SCHEMA, "public")), patience),
        )
    except ModuleNotFoundError as failure:
        if url.get_backend_name() != "postgresql":
            raise error("ledger", f"{_SETTING} names {url.get_backend_name()}: {_FORM}.") from failure
        raise error("ledger", f'{failure}. `pip install "prefect-alyx[postgresql]"` brings it.') from failure
    except sa.exc.ArgumentError as failure:
        raise error("ledger", f"{failure}.") from failure
    sa.event.listen(made, "do_connect", _Patience())
    return made


def _postgresql_options(schema: str, patience: float) -> dict[str, Any]:
    """Wait for locks as long as for SQLite's, and notice within a minute that a machine is gone."""
    settings = {"search_path": f'"{schema}"', "lock_timeout": f"{int(patience * 1000)}"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {"options": options, "connect_timeout": 10, "tcp_user_timeout": 60_000}


class _Patience:
    """Connects to a server that is restarting as soon as it is back; one that never answered is not waited for."""

    def __init__(self) -> None:
        self.answered = False

    def __call__(self, dialect: sa.Dialect, _record: object, arguments: Any, options: Any) -> Any:
        until = time.monotonic() + (_AWAY_SECONDS if self.answered else 0)
        while True:
            try:
                connection = dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_KNOCK_SECONDS)
            else:
                self.answered = True
                return connection

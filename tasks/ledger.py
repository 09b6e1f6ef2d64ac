"""The ledger: what is proven on disk, and what became of every transfer. It is the truth, not Prefect's run state."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from tasks import ledger_tables as tables
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import Verdict, error, ledger_error, os_error
from tasks.ledger_tables import proofs, runs, transfers
from tasks.model import Failure, Outcome, Proof, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasks.model import Json, Summary

#: Failures that another try does not mend while Alyx registers the same bytes; and each try costs the whole file.
MISMATCHES = ("size-mismatch", "digest-mismatch", "not-data")

#: No WAL: its mode lies in the file, the same for all who open it, and a tree is often local to one machine and NFS to
#: the next, where WAL's shared memory does not work. The rollback journal is right on both, and fast enough with one
#: commit a batch. TRUNCATE with FULL makes a commit survive a power cut with the fewest syncs.
_WRITING = ("PRAGMA journal_mode = TRUNCATE", "PRAGMA synchronous = FULL")
#: Opened for writing all the same (see `_connect`), so that what a killed writer left half done is rolled back.
_READING = ("PRAGMA query_only = ON",)


class Run(NamedTuple):
    """One run: what it was asked for, and the summary that it ended with."""

    id: str
    started_at: datetime
    ended_at: datetime | None
    selection: Json
    summary: Json | None


class Proven(NamedTuple):
    """A file that the ledger knows to be proven, with what it was when it was."""

    path: str
    dataset: str
    size: int
    digest: str
    mtime_ns: int


def ledger_file(root: Path) -> Path:
    """Return where a root's own ledger lies."""
    return root / OURS / "ledger.db"


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The ledger of one root. Any number of threads and processes may use it at once.

    Every method raises DownloadError (`ledger-locked`, `ledger-corrupt`, `disk-full`, `read-only`, `local-io`,
    `ledger`); what was recorded before then stands, and of the call that failed nothing is recorded.
    """

    def __init__(self, engine: sa.Engine, name: str, now: Callable[[], datetime] = _now) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name
        self._name = name
        self._now = now

    @classmethod
    def open(cls, place: Path | str, *, patience: float = 8.0, now: Callable[[], datetime] = _now) -> Self:
        """Open a ledger for reading and writing; it is made where there is none.

        Args:
            place: The root whose ledger it is, or the URL of a database.
            patience: Seconds to wait while another process writes.
            now: Clock, in UTC.

        Raises:
            DownloadError: also `ledger-newer`.
        """
        if isinstance(place, Path):
            _make_private(place)
        ledger = cls(_engine(place, patience, _WRITING), _place(place), now)
        if ledger._version() is None:
            with ledger._writing() as connection:
                _create(connection)
        return ledger

    @classmethod
    def read_only(cls, place: Path | str, *, patience: float = 8.0) -> Self:
        """Open a ledger for reading. Nothing is made; where there is none, an empty one answers.

        Raises:
            DownloadError: also `ledger-newer`.
        """
        if not isinstance(place, Path) or ledger_file(place).exists():
            ledger = cls(_engine(place, patience, _READING), _place(place))
            if ledger._version() is not None:
                return ledger
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with engine.begin() as connection:
            _create(connection)
            connection.exec_driver_sql(*_READING)
        return cls(engine, _place(place))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def known(self, paths: Sequence[str] | None = None) -> dict[str, Proof]:
        """Return what is proven, of these paths or of all."""
        query = sa.select(proofs.c.path, proofs.c.size, proofs.c.digest, proofs.c.mtime_ns)
        if paths is not None:
            query = query.where(proofs.c.path.in_(tables.listed(self._dialect)))
        with self._reading() as connection:
            rows = connection.execute(query, {} if paths is None else {"listed": json.dumps(paths)})
            return {path: Proof(size, digest, mtime_ns) for path, size, digest, mtime_ns in rows}

    def record(self, outcomes: Iterable[Outcome], *, run: str = "") -> None:
        """Record what became of transfers: all of them or, should it fail, none.

        A file on disk whose outcome carries its size and mtime is thereby proven. A failure is recorded beside the
        proof that a path may have: the next plan sees from both whether the registered bytes are there.
        """
        now = self._now()
        known = list(outcomes)
        proven = [_proof_row(outcome, run, now) for outcome in known if _is_proof(outcome)]
        rows = [_transfer_row(outcome, run, now) for outcome in known]
        with self._writing() as connection:
            if proven:
                connection.execute(tables.upsert_proofs(self._dialect), proven)
            if rows:
                connection.execute(tables.upsert_transfers(self._dialect), rows)

    def confirm(self, present: Mapping[str, str], *, run: str = "") -> None:
        """Note that files which a plan found present are there, where the last outcome says otherwise.

        Args:
            present: Their paths, by dataset (`Plan.present_files`).
            run: The run that planned.
        """
        query = sa.select(transfers.c.path).where(transfers.c.state.in_((State.FAILED, State.SKIPPED)))
        with self._reading() as connection:
            open_paths = set(connection.scalars(query))
        healed = [Outcome(dataset, path, State.PRESENT) for dataset, path in present.items() if path in open_paths]
        if healed:
            self.record(healed, run=run)

    def disprove(self, paths: Sequence[str]) -> None:
        """Take back the proofs of files that turned out to be damaged or gone."""
        statement = sa.delete(proofs).where(proofs.c.path.in_(tables.listed(self._dialect)))
        with self._writing() as connection:
            connection.execute(statement, {"listed": json.dumps(paths)})

    def oldest(self, share: float) -> list[Proven]:
        """Return the files whose proof is oldest, until they are that share of all bytes; at least one, if there is."""
        names = ("path", "dataset", "size", "digest", "mtime_ns")
        query = sa.select(*(proofs.c[name] for name in names)).order_by(proofs.c.proven_at, proofs.c.path)
        found: list[Proven] = []
        with self._reading() as connection:
            left = share * (connection.scalar(sa.select(sa.func.sum(proofs.c.size))) or 0)
            for row in connection.execute(query):
                found.append(Proven(*row))
                left -= row.size
                if left <= 0:
                    break
        return found

    def failed(self) -> list[Failure]:
        """Return the transfers whose last outcome was a failure, by path."""
        return self._failures(transfers.c.state == State.FAILED)

    def resting(self, since: datetime) -> dict[str, Failure]:
        """Return, by path, the failures since a moment that another try will hardly mend.

        All sources that have the file gave other bytes than Alyx registers. So that they are not fetched in vain by
        every run, a plan leaves them out until they rested, or Alyx registers something else.
        """
        lasting = transfers.c.code.in_(MISMATCHES) & (transfers.c.verdict != Verdict.RETRY)
        recent = (transfers.c.state == State.FAILED) & (transfers.c.updated_at >= since)
        return {failure.path: failure for failure in self._failures(lasting & recent)}

    def counts(self) -> dict[State, int]:
        """Return how many paths are in each state."""
        query = sa.select(transfers.c.state, sa.func.count()).group_by(transfers.c.state)
        with self._reading() as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def begin_run(self, run: str, selection: Json) -> None:
        """Note that a run begins, and what it was asked for; the same run may begin again."""
        with self._writing() as connection:
            connection.execute(sa.delete(runs).where(runs.c.id == run))
            connection.execute(sa.insert(runs).values(id=run, started_at=self._now(), selection=selection))

    def end_run(self, run: str, summary: Summary) -> None:
        """Note how a run ended."""
        values = {"ended_at": self._now(), "summary": summary.to_json()}
        with self._writing() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(values))

    def last_runs(self, limit: int = 20) -> list[Run]:
        """Return the newest runs, newest first."""
        query = sa.select(runs).order_by(runs.c.started_at.desc(), runs.c.id).limit(limit)
        with self._reading() as connection:
            return [Run(*row) for row in connection.execute(query)]

    def run(self, run: str) -> Run | None:
        """Return one run, or None where the ledger has never heard of it."""
        with self._reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run)).first()
        return Run(*row) if row else None

    def outcomes(self, run: str) -> list[Outcome]:
        """Return what became of the transfers of one run, by path."""
        names = (
            "dataset",
            "path",
            "state",
            "source",
            "protocol",
            "bytes",
            "attempts",
            "verdict",
            "reason",
            "next_step",
        )
        columns = (*(transfers.c[name] for name in names), transfers.c.size, transfers.c.digest, transfers.c.code)
        query = sa.select(*columns).where(transfers.c.run == run).order_by(transfers.c.path)
        with self._reading() as connection:
            return [_outcome(row) for row in connection.execute(query).mappings()]

    def _failures(self, condition: sa.ColumnElement[bool]) -> list[Failure]:
        names = ("dataset", "path", "source", "protocol", "attempts", "verdict", "code", "reason", "next_step")
        more = ("size", "digest", "failures", "first_failed_at", "updated_at")
        query = sa.select(*(transfers.c[name] for name in names + more)).where(condition).order_by(transfers.c.path)
        with self._reading() as connection:
            return [Failure(*row) for row in connection.execute(query)]

    def _version(self) -> int | None:
        """Return the version of the tables, None where there are none."""
        with self._reading() as connection:
            if not sa.inspect(connection).has_table(tables.version.name):
                return None
            found = connection.scalar(sa.select(tables.version.c.version))
        if found and found > tables.SCHEMA:
            raise error("ledger-newer", f"{self._name}: its tables are version {found}, known here is {tables.SCHEMA}.")
        return found

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _told(self._name), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Begin a transaction; on SQLite with the write lock, since one that asks for it later may deadlock."""
        with _told(self._name), self._engine.begin() as connection:
            if self._dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as failure:
        raise ledger_error(failure.orig or failure, name) from failure


def _create(connection: sa.Connection) -> None:
    tables.metadata.create_all(connection)
    if connection.scalar(sa.select(tables.version)) is None:  # another process may have been first
        connection.execute(sa.insert(tables.version).values(version=tables.SCHEMA))


def _make_private(root: Path) -> None:
    Tree(root).prepare()
    try:
        os.close(os.open(ledger_file(root), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as failure:
        raise os_error(failure, ledger_file(root)) from failure


def _place(place: Path | str) -> str:
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


def _outcome(row: sa.RowMapping) -> Outcome:
    return Outcome(**{**row, "state": State(row["state"])})


def _is_proof(outcome: Outcome) -> bool:
    return outcome.state in (State.PUBLISHED, State.PRESENT) and None not in (outcome.size, outcome.mtime_ns)


def _proof_row(outcome: Outcome, run: str, now: datetime) -> Json:
    names = ("path", "size", "digest", "mtime_ns", "verified", "dataset", "source", "protocol")
    return {name: getattr(outcome, name) for name in names} | {"run": run, "proven_at": now}


def _transfer_row(outcome: Outcome, run: str, now: datetime) -> Json:
    names = ("path", "dataset", "state", "source", "protocol", "bytes", "attempts")
    more = ("verdict", "code", "reason", "next_step", "size", "digest")
    failed = outcome.state is State.FAILED
    times = {"failures": int(failed), "first_failed_at": now if failed else None, "updated_at": now}
    return {name: getattr(outcome, name) for name in names + more} | {"run": run} | times

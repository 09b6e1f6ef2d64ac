"""The ledger: what is proven on disk, and what became of every transfer. It is the truth, not Prefect's run state."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson
import sqlalchemy as sa

from tasks.clients.verdicts import Verdict
from tasks.ledgers import tables
from tasks.ledgers.bulk import write
from tasks.ledgers.database import Database
from tasks.ledgers.tables import leases, proofs, runs, storable_all, transfers
from tasks.model import Failure, Outcome, Proof, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path

    from tasks.model import Json, Summary

#: Failures that another try does not mend while Alyx registers the same bytes; and each try costs the whole file.
MISMATCHES = ("size-mismatch", "digest-mismatch", "not-data")

#: Outcomes that are read at a time.
_PART = 1000
#: What an outcome tells of a proof and of a transfer: the first columns of their tables, in the tables' order.
_PROOF = tuple(proofs.c.keys()[:8])
_OUTCOME = tuple(transfers.c.keys()[:13])
_FAILURE = (
    "dataset",
    "path",
    "source",
    "protocol",
    "attempts",
    "verdict",
    "code",
    "reason",
    "next_step",
    "size",
    "digest",
    "failures",
    "first_failed_at",
    "updated_at",
)
_STATES = {state.value: state for state in State}
#: Makes a proof of its values, as `Proof._make` does, without a step of the interpreter for each.
_known: Callable[[Iterable[Any]], Proof] = partial(tuple.__new__, Proof)
_proof = attrgetter(*_PROOF)
#: The driver takes a plain text at once, and searches for how to adapt a member of an enumeration.
_outcome = attrgetter(*("state._value_" if name == "state" else name for name in _OUTCOME))


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


class Sum(NamedTuple):
    """How many transfers of a run ended in a state, by the source that they had, and their bytes."""

    state: State
    protocol: str
    source: str
    files: int
    bytes: int


class Folder(NamedTuple):
    """A folder, with the slash behind it, and what a run published in it."""

    folder: str
    files: int
    size: int


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The ledger of one root. Any number of threads and processes may use it at once.

    Every method raises DownloadError (`ledger-locked`, `ledger-away`, `ledger-corrupt`, `disk-full`, `read-only`,
    `local-io`, `ledger`); what was recorded before then stands, and of the call that failed nothing is recorded.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._now = now

    @classmethod
    def open(cls, place: Path | str, *, patience: float = 8.0, now: Callable[[], datetime] = _now) -> Self:
        """Open a ledger for reading and writing; it is made where there is none.

        Args:
            place: The root whose ledger it is, or the URL of a database; `tasks.ledgers.opening` knows the settings.
            patience: Seconds to wait while another process writes.
            now: Clock, in UTC.

        Raises:
            DownloadError: also `ledger-newer`.
        """
        return cls(Database.open(place, patience), now)

    @classmethod
    def read_only(cls, place: Path | str, *, patience: float = 8.0) -> Self:
        """Open a ledger for reading. Nothing is made; where there is none, an empty one answers.

        Raises:
            DownloadError: also `ledger-newer`.
        """
        return cls(Database.read_only(place, patience))

    def close(self) -> None:
        """Let go of the database."""
        self._database.engine.dispose()

    # --- what is on disk

    def known(self, paths: Sequence[str] | None = None) -> dict[str, Proof]:
        """Return what is proven, of these paths or of all."""
        if paths is not None:
            return {path: _known(row) for path, row in zip(paths, self.proofs(paths), strict=True) if row}
        query = sa.select(proofs.c.path, proofs.c.size, proofs.c.digest, proofs.c.mtime_ns)
        with self._database.reading() as connection:
            # The driver's own rows, all at once: SQLAlchemy's take half as long again as the question itself.
            rows = connection.execute(query).cursor.fetchall()
        return {row[0]: _known(row[1:]) for row in rows}

    def proofs(self, paths: Sequence[str]) -> list[tuple[int, str, int] | None]:
        """Return what is proven of each of these paths, in their order: the values of a `Proof`.

        A plan asks this of every file: nothing is made of a row that it does not need.
        """
        stored = storable_all(paths)
        with self._database.reading() as connection:
            statement = tables.proofs_of_listed(self._database.dialect)
            rows = connection.execute(statement, _list(stored)).cursor.fetchall()
        if stored is paths:
            return [None if row[0] is None else row for row in rows]
        # What is stored as an escape never was a file's path: it would stand for another one, spelt like the escape.
        found = zip(paths, stored, rows, strict=True)
        return [None if row[0] is None or path != text else row for path, text, row in found]

    def datasets(self) -> dict[str, str]:
        """Return the paths of what is proven, by dataset."""
        with self._database.reading() as connection:
            return {row.dataset: row.path for row in connection.execute(sa.select(proofs.c.dataset, proofs.c.path))}

    def disprove(self, paths: Sequence[str]) -> None:
        """Take back the proofs of files that turned out to be damaged or gone."""
        statement = sa.delete(proofs).where(proofs.c.path.in_(self._listed()))
        with self._database.writing() as connection:
            connection.execute(statement, _list(paths))

    # --- what became of transfers

    def record(self, outcomes: Iterable[Outcome], *, run: str = "") -> None:
        """Record what became of transfers: all of them or, should it fail, none.

        A file on disk whose outcome carries its size and mtime is thereby proven. A failure is recorded beside the
        proof that a path may have: the next plan sees from both whether the registered bytes are there.
        """
        now = self._now()
        # Two writers that take rows in one order never wait for each other in a circle.
        known = sorted(outcomes, key=attrgetter("path"))
        proven = [(*_proof(one), run, now) for one in known if _is_proof(one)]
        times = {True: (1, now, now), False: (0, None, now)}  # failures in a row, the first of them, and this moment
        rows = [(*_outcome(one), run, *times[one.state is State.FAILED]) for one in known]
        with self._database.writing() as connection:
            write(connection, tables.upsert_proofs(self._database.dialect), proven)
            write(connection, tables.upsert_transfers(self._database.dialect), rows)

    def confirm(self, present: Iterable[tuple[str, str]], *, run: str = "") -> None:
        """Note that files which a plan found present are there, where the last outcome says otherwise.

        Args:
            present: Their datasets and paths (`Plan.present_files`).
            run: The run that planned.
        """
        query = sa.select(transfers.c.path).where(transfers.c.state.in_((State.FAILED, State.SKIPPED)))
        with self._database.reading() as connection:
            unsettled = set(connection.scalars(query))
        if not unsettled:  # the rule; then nobody needs to go through all that is present
            return
        healed = [Outcome(dataset, path, State.PRESENT) for dataset, path in present if path in unsettled]
        if healed:
            self.record(healed, run=run)

    def outcomes(self, run: str, paths: Sequence[str] | None = None) -> list[Outcome]:
        """Return what became of the transfers of one run, of these paths or of all, by path."""
        query = sa.select(transfers.c.run, *(transfers.c[name] for name in _OUTCOME)).order_by(transfers.c.path)
        if paths is None:
            query = query.where(transfers.c.run == run)
        else:  # asked for both, PostgreSQL compares each row of a run that it does not know yet with each path
            query = query.where(transfers.c.path.in_(self._listed()))
        with self._database.reading() as connection:
            return [_read_outcome(row) for found, *row in connection.execute(query, _list(paths)) if found == run]

    def each_outcome(self, run: str) -> Iterator[Outcome]:
        """Yield what became of the transfers of one run, by path; nobody is kept from writing between two parts."""
        last = ""
        while part := self._outcomes_after(run, last):
            yield from part
            last = part[-1].path

    def _outcomes_after(self, run: str, path: str) -> list[Outcome]:
        query = self._of_run(run).where(transfers.c.path > path).limit(_PART)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return list(map(_read_outcome, rows))

    def _of_run(self, run: str) -> sa.Select[Any]:
        query = sa.select(*(transfers.c[name] for name in _OUTCOME))
        return query.where(transfers.c.run == run).order_by(transfers.c.path)

    def sums(self, run: str) -> list[Sum]:
        """Return what the transfers of one run add up to, by state and source."""
        names = (transfers.c.state, transfers.c.protocol, transfers.c.source)
        query = sa.select(*names, sa.func.count(), sa.func.sum(transfers.c.size)).where(transfers.c.run == run)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(*names).order_by(*names)).all()
        return [
            Sum(State(state), protocol, source, files, int(size or 0)) for state, protocol, source, files, size in rows
        ]

    def folders(self, run: str) -> list[Folder]:
        """Return the folders in which one run published files."""
        # What stands behind the last slash is what is left of a path that ends in none of the path's other characters.
        folder = sa.func.rtrim(transfers.c.path, sa.func.replace(transfers.c.path, "/", "")).label("folder")
        query = sa.select(folder, sa.func.count(), sa.func.sum(transfers.c.size))
        query = query.where(transfers.c.run == run, transfers.c.state == State.PUBLISHED)
        with self._database.reading() as connection:
            return [
                Folder(name, files, int(size or 0)) for name, files, size in connection.execute(query.group_by(folder))
            ]

    def failures(self, run: str, most: int) -> list[Outcome]:
        """Return the failures of one run by path, so many at the most."""
        query = self._of_run(run).where(transfers.c.state == State.FAILED).limit(most)
        with self._database.reading() as connection:
            return list(map(_read_outcome, connection.execute(query)))

    def oldest(self, share: float) -> list[Proven]:
        """Return the files whose proof is oldest, until they are that share of all bytes; at least one, if there is."""
        names = ("path", "dataset", "size", "digest", "mtime_ns")
        query = sa.select(*(proofs.c[name] for name in names)).order_by(proofs.c.proven_at, proofs.c.path)
        found: list[Proven] = []
        with self._database.reading() as connection:
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
        with self._database.reading() as connection:
            return {State(state): count for state, count in connection.execute(query)}

    # --- who works on what

    def lease(self, name: str, owner: str, duration: timedelta) -> bool:
        """Take or renew a lease; return whether it is the owner's now. One that is over goes to whoever asks.

        Clocks of machines may differ by much less than a lease lasts.
        """
        now = self._now()
        row = {"name": name, "owner": owner, "until": now + duration, "now": now}
        with self._database.writing() as connection:
            return connection.execute(tables.take_lease(self._database.dialect), row).first() is not None

    def leases(self) -> dict[str, str]:
        """Return who has which lease now."""
        query = sa.select(leases.c.name, leases.c.owner).where(leases.c.until > self._now())
        with self._database.reading() as connection:
            return {row.name: row.owner for row in connection.execute(query)}

    def leases_left(self) -> dict[str, timedelta]:
        """Return how much longer each lease lasts that somebody has now, unless it is renewed."""
        now = self._now()
        query = sa.select(leases.c.name, leases.c.until).where(leases.c.until > now)
        with self._database.reading() as connection:
            return {row.name: row.until - now for row in connection.execute(query)}

    def let_go(self, name: str, owner: str) -> None:
        """Give a lease back; one that another has by now stays."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(leases).where(leases.c.name == name, leases.c.owner == owner))

    # --- runs

    def begin_run(self, run: str, selection: Json) -> None:
        """Note that a run begins, and what it was asked for; the same run may begin again."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(runs).where(runs.c.id == run))
            connection.execute(sa.insert(runs).values(id=run, started_at=self._now(), selection=selection))

    def end_run(self, run: str, summary: Summary) -> None:
        """Note how a run ended."""
        values = {"ended_at": self._now(), "summary": summary.to_json()}
        with self._database.writing() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(values))

    def last_runs(self, limit: int = 20) -> list[Run]:
        """Return the newest runs, newest first."""
        query = sa.select(runs).order_by(runs.c.started_at.desc(), runs.c.id).limit(limit)
        with self._database.reading() as connection:
            return [Run(*row) for row in connection.execute(query)]

    def run(self, run: str) -> Run | None:
        """Return one run, or None where the ledger has never heard of it."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run)).first()
        return Run(*row) if row else None

    def _failures(self, condition: sa.ColumnElement[bool]) -> list[Failure]:
        query = sa.select(*(transfers.c[name] for name in _FAILURE)).where(condition).order_by(transfers.c.path)
        with self._database.reading() as connection:
            return [Failure(*row) for row in connection.execute(query)]

    def _listed(self) -> sa.Select[tuple[str]]:
        return tables.listed(self._database.dialect)


def _list(paths: Sequence[str] | None) -> Json:
    return {} if paths is None else {"listed": orjson.dumps(storable_all(paths)).decode()}


def _read_outcome(row: Sequence[Any]) -> Outcome:
    path, dataset, state, source, protocol, moved, attempts, verdict, code, reason, next_step, size, digest = row
    return Outcome(
        dataset,
        path,
        _STATES[state],
        source,
        protocol,
        moved,
        attempts,
        verdict,
        reason,
        next_step,
        size,
        digest,
        code=code,
    )


def _is_proof(outcome: Outcome) -> bool:
    return outcome.state in (State.PUBLISHED, State.PRESENT) and None not in (outcome.size, outcome.mtime_ns)

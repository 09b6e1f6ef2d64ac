"""The ledger's tables, and the statements that write them on SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Dialect

#: Versions of these tables that can be used, the present one last; each older one has a step in `migrations`. A ledger
#: with another one belongs to a later release.
VERSIONS = ("0001", "0002", "0003")


def storable(text: str) -> str:
    """Return text as it is stored: what no database takes (NUL, lone surrogates) as an escape."""
    if text.isascii() and "\0" not in text:  # most is so, and it is much
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


def storable_all(texts: Sequence[str]) -> Sequence[str]:
    """Return texts as they are stored; one look at all of them costs a fraction of a look at each."""
    whole = "".join(texts)
    return texts if whole.isascii() and "\0" not in whole else [storable(text) for text in texts]


class Words(sa.types.TypeDecorator[str]):
    """Text of any origin: what no database stores (NUL, lone surrogates) is kept as an escape."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Escape what cannot be stored."""
        return value and storable(value)


class Utc(sa.types.TypeDecorator[datetime]):
    """A moment. SQLite knows no zones, so there it is stored as UTC and read back as that."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Turn into UTC; a moment without a zone is a mistake."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone.")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


def _required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


metadata = sa.MetaData()

#: Alembic's own table, which says the version.
version = sa.Table("alembic_version", sa.MetaData(), _required("version_num", sa.String(32), primary_key=True))

#: Where releases before Alembic look for the version: they leave a ledger alone whose number is above 1.
first_version = sa.Table(
    "ledger_version", metadata, _required("version", sa.Integer, primary_key=True, autoincrement=False)
)

#: A path orders by its bytes on every database, whatever the language of its server.
_Path = Words().with_variant(Words(collation="C"), "postgresql")

#: Which bytes a file was proven to be, and what its stat was then. Only a proof writes here, so no failure of a
#: remote can take one away. What a plan reads of every file comes first in the row.
proofs = sa.Table(
    "proofs",
    metadata,
    _required("path", _Path, primary_key=True),
    _required("size", sa.BigInteger),
    _required("digest", Words),
    _required("mtime_ns", sa.BigInteger),
    _required("verified", Words),
    _required("dataset", Words),
    _required("source", Words),
    _required("protocol", Words),
    _required("run", Words),
    _required("proven_at", Utc, index=True),
    sqlite_with_rowid=False,
)

#: What became of the last attempt at each path; size and digest are what Alyx registered then.
transfers = sa.Table(
    "transfers",
    metadata,
    _required("path", _Path, primary_key=True),
    _required("dataset", Words),
    _required("state", Words, index=True),
    _required("source", Words),
    _required("protocol", Words),
    _required("bytes", sa.BigInteger),
    _required("attempts", sa.Integer),
    _required("verdict", Words),
    _required("code", Words),
    _required("reason", Words),
    _required("next_step", Words),
    sa.Column("size", sa.BigInteger),
    _required("digest", Words),
    _required("run", Words),
    _required("failures", sa.Integer),
    sa.Column("first_failed_at", Utc),
    _required("updated_at", Utc),
    # What became of a run is read a part at a time, by path; a database would sort all of it for each part.
    sa.Index("ix_transfers_run_path", "run", "path"),
    sqlite_with_rowid=False,
)

runs = sa.Table(
    "runs",
    metadata,
    _required("id", Words, primary_key=True),
    _required("started_at", Utc, index=True),
    sa.Column("ended_at", Utc),
    _required("selection", sa.JSON),
    sa.Column("summary", sa.JSON),
)

#: Who works on what, and until when unless it says so again: a worker that died loses it.
leases = sa.Table(
    "leases",
    metadata,
    _required("name", Words, primary_key=True),
    _required("owner", Words),
    _required("until", Utc),
    sqlite_with_rowid=False,
)

#: Written into the statements: as parameters they would be bound anew for each row.
_NOTHING: ColumnElement[str] = sa.literal_column("''")
_ZERO: ColumnElement[int] = sa.literal_column("0")
_ONE: ColumnElement[int] = sa.literal_column("1")
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@cache
def upsert_proofs(dialect: str) -> sa.Insert:
    """Write proofs. Proving the same bytes again without a source does not forget where they came from."""
    insert = _insert(proofs, dialect)
    same = sa.and_(insert.excluded.source == _NOTHING, insert.excluded.digest == proofs.c.digest)
    kept = {name: sa.case((same, proofs.c[name]), else_=insert.excluded[name]) for name in ("source", "protocol")}
    return _upsert(insert, proofs, kept)


@cache
def upsert_transfers(dialect: str) -> sa.Insert:
    """Write what became of transfers, and count the failures in a row."""
    insert = _insert(transfers, dialect)
    new, failed = insert.excluded, insert.excluded.failures > _ZERO
    first = sa.func.coalesce(transfers.c.first_failed_at, new.first_failed_at)
    counted = {
        "failures": sa.case((failed, transfers.c.failures + _ONE), else_=_ZERO),
        "first_failed_at": sa.case((failed, first), else_=sa.null()),
    }
    return _upsert(insert, transfers, counted)


@cache
def take_lease(dialect: str) -> sa.Executable:
    """Take or renew a lease, where nobody else has it now; `now` is a parameter."""
    insert = _INSERT[dialect](leases)
    now = sa.bindparam("now", type_=Utc)
    free = (leases.c.owner == insert.excluded.owner) | (leases.c.until <= now)
    values = {"owner": insert.excluded.owner, "until": insert.excluded.until}
    statement: sa.Executable = insert.on_conflict_do_update(
        index_elements=[leases.c.name], set_=values, where=free
    ).returning(leases.c.owner)
    return statement


def _insert(table: sa.Table, dialect: str) -> Any:
    """Insert rows: on SQLite each by its values, on PostgreSQL all at once, from a JSON array `listed` of objects."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    array = sa.cast(sa.bindparam("listed", type_=sa.Text), postgresql.JSONB)
    columns = [sa.column(column.name, sa.Text if isinstance(column.type, Words) else column.type) for column in table.c]
    rows = sa.func.jsonb_to_recordset(array).table_valued(*columns).render_derived(with_types=True)
    return postgresql.insert(table).from_select(table.c.keys(), sa.select(*rows.c))


def _upsert(insert: Any, table: sa.Table, special: Mapping[str, ColumnElement[Any]]) -> sa.Insert:
    plain = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
    statement: sa.Insert = insert.on_conflict_do_update(index_elements=[table.c.path], set_=plain | dict(special))
    return statement


def listed(dialect: str) -> sa.Select[tuple[str]]:
    """Return the texts of the JSON array `listed`, as a query: one parameter, however many there are."""
    array = sa.bindparam("listed", type_=sa.Text)
    if dialect == "postgresql":
        return sa.select(sa.func.jsonb_array_elements_text(sa.cast(array, postgresql.JSONB)))
    return sa.select(sa.func.json_each(array).table_valued("value").c.value)


@cache
def proofs_of_listed(dialect: str) -> sa.Select[tuple[int, str, int]]:
    """Ask for size, digest and time of each path in the JSON array `listed`, in its order; nulls for an unknown one."""
    array = sa.bindparam("listed", type_=sa.Text)
    if dialect == "postgresql":
        texts = sa.func.jsonb_array_elements_text(sa.cast(array, postgresql.JSONB))
        each = texts.table_valued("value", with_ordinality="key").render_derived()
    else:
        each = sa.func.json_each(array).table_valued("key", "value")
    rows = each.outerjoin(proofs, proofs.c.path == each.c.value)
    return sa.select(proofs.c.size, proofs.c.digest, proofs.c.mtime_ns).select_from(rows).order_by(each.c.key)

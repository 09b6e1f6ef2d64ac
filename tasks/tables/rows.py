"""The rows of ONE's cache tables, read with pyarrow: whatever form the tables have, the rows have one.

Older tables hold ids as pairs of integers, sizes as real numbers, `project` for `projects`, and no quality.
"""

from __future__ import annotations

import math
import os
import re
import struct
from contextlib import contextmanager
from datetime import date, datetime
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # pyarrow's own one keeps what is freed

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.clients.verdicts import error
from tasks.datasets.sessions import Session
from tasks.tables.drawers import PLACE, drawers
from tasks.tables.files import DATASETS, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

#: Columns of a dataset, their type, and what stands for one that is missing or null.
_COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    "rel_path": (pa.string(), ""),
    "file_size": (pa.int64(), None),
    "hash": (pa.string(), ""),
    "default_revision": (pa.bool_(), True),
    "qc": (pa.string(), "NOT_SET"),
    "exists": (pa.bool_(), True),
}
_SESSION_COLUMNS = ("lab", "subject", "date", "number", "task_protocol", "project", "projects")
_NEEDED = {SESSIONS: ("lab", "subject", "date", "number"), DATASETS: ("rel_path",)}
#: Rows that are held at a time.
_ROWS = 1 << 13
#: Sessions that are held at a time.
_SESSIONS = 1 << 8
#: What an id takes however well it is packed, and rows that are never too many.
_ID_BYTES, _FEW = 16, 100_000
#: Bytes of a column that are read at a time; without it, pyarrow reads a row group's, which is often the file.
_BUFFER = 1 << 16
#: A revision's folder; some servers write `nan` for none.
_REVISION = re.compile(r"#([^/]*)#")
_NO_REVISION = ("", "nan", "None")


class Row(NamedTuple):
    """A dataset as the tables have it."""

    id: str
    session: Session
    collection: str
    revision: str
    name: str
    size: int | None
    digest: str
    default: bool
    qc: str
    exists: bool

    @property
    def path(self) -> str:
        """Where its file lies in the session's folder."""
        return "/".join(filter(None, (self.collection, f"#{self.revision}#" if self.revision else "", self.name)))


class Tables:
    """A set of tables; they are read when they are asked for, a part at a time."""

    def __init__(self, directory: Path) -> None:
        for name in (SESSIONS, DATASETS):
            _plausible(directory / name)
        sessions = pq.ParquetFile(directory / SESSIONS)
        wanted = [name for name in sessions.schema_arrow.names if name in (*_SESSION_COLUMNS, "id", "id_0", "id_1")]
        self._sessions = sessions.read(wanted)
        self._file = directory / DATASETS
        self._about = pq.read_metadata(self._file)
        self._schema = self._about.schema.to_arrow_schema()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the tables of a directory.

        Raises:
            DownloadError: `tables`: there are none that can be read; `tables-bomb`: their rows would fill the memory.
        """
        with _readable():
            tables = cls(directory)
        for name, schema in ((SESSIONS, tables._sessions.schema), (DATASETS, tables._schema)):
            missing = [column for column in _NEEDED[name] if column not in schema.names]
            if missing:
                raise error("tables", f"{name} has no column {', '.join(missing)}.")
        return tables

    @property
    def dataset_count(self) -> int:
        """Datasets in the tables."""
        return int(self._about.num_rows)

    def has(self, column: str) -> bool:
        """Whether datasets have this column."""
        return column in self._schema.names

    def fault(self) -> str:
        """Say what is wrong with the two tables together, "" where they fit: each dataset's session is there."""
        with _readable():
            known = _keys(self._sessions, "id").combine_chunks()
            for part in self._parts(_key_names(self._schema, "eid")):
                if not pc.all(pc.is_in(_keys(part, "eid"), value_set=known)).as_py():
                    return "these tables hold datasets whose session they do not hold"
        return ""

    def sessions(self) -> Iterator[Session]:
        """Yield the sessions."""
        with _readable():
            for part in self._sessions.to_batches(max_chunksize=_SESSIONS):
                yield from _sessions(part)

    def rows(self, wanted: Callable[[Session], bool]) -> Iterator[list[Row]]:
        """Yield the datasets of each session that is wanted; the file is read once, whatever its order.

        Raises:
            DownloadError: `tables` for what cannot be read; `disk-full` and the like, for temporary files.
        """
        numbers = pa.array((number for number, one in enumerate(self.sessions()) if wanted(one)), pa.int32())
        chosen = self._sessions.take(numbers)
        per_session = self._about.num_rows / max(1, self._sessions.num_rows)
        with _readable(), drawers(max(1, int(_ROWS / max(1, per_session)))) as parts:
            for part in self._numbered(_keys(chosen, "id").combine_chunks()):
                parts.put(part)
            for first, rows in parts.read(len(numbers), self._tidy_schema):
                yield from _by_session(rows, first, list(_sessions(chosen.slice(first, parts.width))))

    def _numbered(self, sessions: pa.Array) -> Iterator[pa.RecordBatch]:
        """The datasets of these sessions, each with the number of its session."""
        ids, eids = _key_names(self._schema, "id"), _key_names(self._schema, "eid")
        for part in self._parts([*ids, *eids, *filter(self.has, _COLUMNS)]):
            places = pc.index_in(_keys(part, "eid"), value_set=sessions)
            columns = {PLACE: places} | {name: part[name] for name in ids} | _tidy(part)
            yield pa.RecordBatch.from_pydict(columns, self._tidy_schema).filter(pc.is_valid(places))

    @property
    def _tidy_schema(self) -> pa.Schema:
        ids = {name: self._schema.field(name).type for name in _key_names(self._schema, "id")}
        return pa.schema({PLACE: pa.int32(), **ids, **{name: kind for name, (kind, _) in _COLUMNS.items()}})

    def _parts(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The datasets, a part at a time; pyarrow's scanner would hold a whole row group."""
        with pq.ParquetFile(self._file, pre_buffer=False, buffer_size=_BUFFER) as file:
            yield from file.iter_batches(_ROWS, columns=columns, use_threads=False)


#: What pyarrow raises for tables that are spoilt, and what cells of another kind than ONE's lead to.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as failure:
        raise error("tables", f"{failure}.") from failure


def _plausible(file: Path) -> None:
    """Refuse a table that says it has more rows than its bytes can hold ids: rows that are all alike take no room."""
    rows, size = pq.read_metadata(file).num_rows, file.stat().st_size
    if rows > _FEW and rows * _ID_BYTES > size:
        raise error("tables-bomb", f"{file.name} has {rows:,} rows in {size:,} bytes, too few for as many ids.")


def _key_names(schema: pa.Schema, name: str) -> list[str]:
    """The columns of an id: one, or two halves in old tables."""
    return [name] if name in schema.names else [f"{name}_0", f"{name}_1"]


def _keys(table: pa.Table | pa.RecordBatch, name: str) -> pa.Array | pa.ChunkedArray:
    """Ids as text, to be compared: halves are joined."""
    parts = [table[column].cast(pa.string()) for column in _key_names(table.schema, name)]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "/")


def _ids(table: pa.Table | pa.RecordBatch, name: str) -> list[str]:
    columns = [table[column].to_pylist() for column in _key_names(table.schema, name)]
    if len(columns) == 1:
        return list(map(str, columns[0]))
    return [str(UUID(bytes=struct.pack("<qq", *pair))) for pair in zip(*columns, strict=True)]


def _tidy(part: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns of datasets, in one form whatever the table's."""
    columns = {}
    for name, (kind, absent) in _COLUMNS.items():
        if name in part.schema.names:
            column = _cast(part[name], kind)
            columns[name] = column if absent is None else column.fill_null(absent)
        else:
            columns[name] = pa.repeat(pa.scalar(absent, kind), part.num_rows)
    columns["hash"] = pc.utf8_lower(pc.replace_substring(columns["hash"], "-", ""))
    return columns


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Old tables hold sizes as real numbers, where NaN means none."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    return column.cast(kind)


def _by_session(rows: pa.Table, first: int, sessions: Sequence[Session]) -> Iterator[list[Row]]:
    """Rows in a list for each session, in the same order on every run."""
    keys = [PLACE, *_key_names(rows.schema, "id")]
    ordered = rows.sort_by([(key, "ascending") for key in keys])
    found = _rows(ordered, [place - first for place in ordered[PLACE].to_pylist()], sessions)
    for _, mine in groupby(found, key=attrgetter("session.id")):
        yield list(mine)


def _rows(rows: pa.Table, places: list[int], sessions: Sequence[Session]) -> Iterator[Row]:
    values = [rows[name].to_pylist() for name in _COLUMNS]
    for place, identifier, path, size, digest, *marks in zip(places, _ids(rows, "id"), *values, strict=True):
        folder, _, name = path.rpartition("/")
        yield Row(identifier, sessions[place], *_collection_and_revision(folder), name, size, digest, *marks)


@lru_cache(maxsize=4096)
def _collection_and_revision(folder: str) -> tuple[str, str]:
    parts = [part for part in folder.split("/") if part]
    revision = _REVISION.fullmatch(parts[-1]) if parts else None
    if revision:
        parts.pop()
    return "/".join(parts), revision[1] if revision and revision[1] not in _NO_REVISION else ""


def _sessions(part: pa.Table | pa.RecordBatch) -> Iterator[Session]:
    return map(_session, _ids(part, "id"), part.to_pylist())


def _session(identifier: str, row: Mapping[str, Any]) -> Session:
    projects = row.get("projects", row.get("project")) or ""
    return Session(
        identifier,
        row["lab"] or "",
        row["subject"] or "",
        _day(row["date"]),
        _number(row["number"]),
        tuple(filter(None, map(str.strip, projects.split(",")))),
        row.get("task_protocol") or "",
    )


def _number(value: float | None) -> int:
    """Old tables hold it as a real number, where there may be none."""
    return 0 if value is None or math.isnan(value) else int(value)


def _day(value: date | str) -> date:
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(value[:10]) if isinstance(value, str) else value

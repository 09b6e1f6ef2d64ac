"""The rows of ONE's cache tables, read with pyarrow: whatever form the tables have, the rows have one.

Older tables hold ids as pairs of integers, sizes as real numbers, `project` for `projects`, and no quality.
"""

from __future__ import annotations

import math
import re
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.clients.verdicts import error
from tasks.sessions import Session
from tasks.table_files import DATASETS, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: Columns of a dataset, and what stands for one that an old table lacks.
_COLUMNS = {"rel_path": None, "file_size": None, "hash": "", "default_revision": True, "qc": "NOT_SET", "exists": True}
_NEEDED = {SESSIONS: ("lab", "subject", "date", "number"), DATASETS: ("rel_path",)}
#: Rows that are held as Python objects.
_PART = 1 << 14
#: A revision's folder; some servers write `nan` for none.
_REVISION = re.compile(r"#([^/]*)#")
_NO_REVISION = ("", "nan", "None")


@dataclass(frozen=True, slots=True)
class Row:
    """A dataset as the tables have it; `path` is relative to its session's folder."""

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
        self._sessions = pq.read_table(directory / SESSIONS)
        self._file = directory / DATASETS
        self._about = pq.read_metadata(self._file)
        self._schema = self._about.schema.to_arrow_schema()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the tables of a directory.

        Raises:
            DownloadError: `tables`: there are none that can be read.
        """
        with _readable():
            tables = cls(directory)
        for name, schema in ((SESSIONS, tables._sessions.schema), (DATASETS, tables._schema)):
            missing = [column for column in _NEEDED[name] if column not in schema.names]
            if missing:
                raise error("tables", f"{name} has no column {', '.join(missing)}.")
        return tables

    @property
    def session_count(self) -> int:
        """Sessions in the tables."""
        return int(self._sessions.num_rows)

    @property
    def dataset_count(self) -> int:
        """Datasets in the tables."""
        return int(self._about.num_rows)

    def has(self, column: str) -> bool:
        """Whether datasets have this column."""
        return column in self._schema.names

    def fault(self) -> str:
        """Say what is wrong with the two tables together, "" where they fit: each dataset's session is there."""
        name = "eid" if self.has("eid") else "eid_0"
        known = self._sessions["id" if name == "eid" else "id_0"]
        with _readable():
            for batch in self._batches([name]):
                if not pc.all(pc.is_in(batch[name].cast(known.type), value_set=known.combine_chunks())).as_py():
                    return "these tables hold datasets whose session they do not hold"
        return ""

    def sessions(self) -> Iterator[Session]:
        """Yield the sessions."""
        with _readable():
            yield from map(_session, _ids(self._sessions, "id"), self._sessions.to_pylist())

    def rows(self, sessions: Mapping[str, Session]) -> Iterator[list[Row]]:
        """Yield all datasets of some sessions, in a list for each; the file is read once, a part at a time."""
        with _readable():
            columns = [name for name in _COLUMNS if self.has(name)]
            keys = ("eid", "id") if self.has("eid") else ("eid_0", "eid_1", "id_0", "id_1")
            among = self._among(sessions, keys[0])
            parts = [part.filter(among(part)) for part in self._batches([*columns, *keys])]
            found = pa.Table.from_batches(parts).sort_by([(key, "ascending") for key in keys])
            rows = (row for part in found.to_batches(max_chunksize=_PART) for row in _rows(part, columns, sessions))
            for _, mine in groupby(rows, key=lambda row: row.session.id):
                yield list(mine)

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The datasets, a part at a time; pyarrow's scanner would hold a whole row group, which is often the file."""
        with pq.ParquetFile(self._file, pre_buffer=False) as file:
            yield from file.iter_batches(_PART, columns=columns)

    def _among(self, sessions: Mapping[str, Session], key: str) -> Callable[[pa.RecordBatch], pa.Array]:
        """Return the filter for some sessions; half of an id is enough to leave out nearly all others."""
        wanted = list(sessions) if key == "eid" else [struct.unpack("<qq", UUID(one).bytes)[0] for one in sessions]
        values = pa.array(wanted, type=self._schema.field(key).type)
        return lambda part: pc.is_in(part[key], value_set=values)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as failure:
        raise error("tables", f"{failure}.") from failure


def _ids(table: pa.Table | pa.RecordBatch, name: str) -> list[str]:
    if name in table.schema.names:
        return list(map(str, table[name].to_pylist()))
    halves = zip(table[f"{name}_0"].to_pylist(), table[f"{name}_1"].to_pylist(), strict=True)
    return [str(UUID(bytes=struct.pack("<qq", *pair))) for pair in halves]


def _rows(part: pa.RecordBatch, columns: list[str], sessions: Mapping[str, Session]) -> Iterator[Row]:
    eids, ids = _ids(part, "eid"), _ids(part, "id")
    values = [part[name].to_pylist() if name in columns else [_COLUMNS[name]] * len(ids) for name in _COLUMNS]
    for eid, identifier, *row in zip(eids, ids, *values, strict=True):
        if eid in sessions:
            yield _row(identifier, sessions[eid], *row)


def _session(identifier: str, row: Mapping[str, Any]) -> Session:
    projects = row.get("projects", row.get("project")) or ""
    return Session(
        identifier,
        row["lab"] or "",
        row["subject"] or "",
        _day(row["date"]),
        _whole(row["number"]) or 0,
        tuple(filter(None, map(str.strip, projects.split(",")))),
        row.get("task_protocol") or "",
    )


def _day(value: date | str) -> date:
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(value[:10]) if isinstance(value, str) else value


def _row(identifier: str, session: Session, path: str, *values: Any) -> Row:
    size, digest, default, qc, exists = values
    folder, _, name = path.rpartition("/")
    parts = [part for part in folder.split("/") if part]
    revision = _REVISION.fullmatch(parts[-1]) if parts else None
    if revision:
        parts.pop()
    label = revision[1] if revision and revision[1] not in _NO_REVISION else ""
    digest = (digest or "").replace("-", "").lower()
    return Row(
        identifier,
        session,
        "/".join(parts),
        label,
        name,
        _whole(size),
        digest,
        default is not False,
        qc or "NOT_SET",
        exists is not False,
    )


def _whole(value: float | None) -> int | None:
    """A number that old tables hold as a real one, where there may be none."""
    return None if value is None or math.isnan(value) else int(value)

"""ONE's cache tables of a mirrored tree, so that ONE opens it offline: `One(cache_dir=root)`, no download, no login.

What is in them is what the ledger proves and the disk still holds; Alyx says once more what it is. A dataset without a
session, which ONE finds online only, and one that Alyx has no more are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.catalogue import registered
from tasks.clients.tree import Tree
from tasks.clients.verdicts import error, os_error
from tasks.datasets.choice import QUALITIES
from tasks.ledgers.opening import known_ledger
from tasks.plan.disk import look
from tasks.tables.files import DATASETS, INFO, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasks.datasets.choice import Candidate
    from tasks.datasets.sessions import Session
    from tasks.model import Json
    from tasks.rest.pages import Pages

#: Who made the tables.
ORIGIN = "prefect-alyx"
#: The first ONE whose tables hold a quality.
_MIN_API = "2.7.0"
#: Hex characters of the digest that ONE compares files with; any other, or none, would count as a damaged file.
_MD5 = 32

_QC = pa.dictionary(pa.int8(), pa.string(), ordered=True)
_SESSION_COLUMNS = pa.schema(
    {
        "id": pa.string(),
        "lab": pa.string(),
        "subject": pa.string(),
        "date": pa.date32(),
        "number": pa.uint16(),
        "task_protocol": pa.string(),
        "projects": pa.string(),
    }
)
_DATASET_COLUMNS = pa.schema(
    {
        "eid": pa.string(),
        "id": pa.string(),
        "file_size": pa.uint64(),
        "hash": pa.string(),
        "default_revision": pa.bool_(),
        "qc": _QC,
        "exists": pa.bool_(),
        "rel_path": pa.string(),
    }
)


def write_tables(root: Path, alyx: Pages, target: Path | None = None) -> int:
    """Write the tables of a tree, each whole or not at all, and return how many datasets they hold.

    Args:
        root: The tree.
        alyx: Says of each dataset what it is.
        target: Where the tables go; by default beside the data, where ONE looks for them.

    Raises:
        DownloadError: `other-tables`: those that lie there are not ours, and stay; or an `alyx-...` row, a row of the
            ledger's or of the disk's.
    """
    target = target or root
    _refuse_others(target)
    sessions: dict[str, Json] = {}
    datasets = list(_rows(root, alyx, sessions))
    _mark_defaults(datasets)
    about = {"date_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "origin": ORIGIN, "min_api_version": _MIN_API}
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write(target / SESSIONS, sorted(sessions.values(), key=lambda row: str(row["id"])), _SESSION_COLUMNS, about)
        _write(target / DATASETS, sorted(datasets, key=lambda row: (row["eid"], row["id"])), _DATASET_COLUMNS, about)
        _replace(target / INFO, json.dumps(about, indent=4).encode())
    except OSError as failure:
        raise os_error(failure, target) from failure
    return len(datasets)


def _rows(root: Path, alyx: Pages, sessions: dict[str, Json]) -> Iterator[Json]:
    """The rows of the datasets that are there, and on the way those of their sessions."""
    proven = dict(_there(root, known_ledger(root).datasets()))
    for candidate, session in registered(alyx, proven):
        path, size = proven[candidate.dataset.id]
        place = f"{session.lab}/Subjects/{session.subject}/{session.day}/{session.number:03d}/" if session else ""
        if session and path.startswith(place):  # where ONE looks for it
            sessions.setdefault(session.id, _session_row(session))
            row = _dataset_row(candidate, session, path.removeprefix(place), size)
            yield {**row, "hash": _md5(root, path, candidate.dataset.digest)}


def _there(root: Path, paths: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Path and size of the datasets whose file is on disk."""
    ordered = sorted(paths.items(), key=lambda item: item[1])
    for folder, files in groupby(ordered, key=lambda item: item[1].rpartition("/")[0]):
        members = list(files)
        stats = look(root, folder, [path.rpartition("/")[2] for _, path in members])
        for (dataset, path), found in zip(members, stats, strict=True):
            if found:
                yield dataset, (path, found[0])


def _md5(root: Path, path: str, digest: str) -> str:
    """The registered digest, or the one that the proven file has."""
    if len(digest) == _MD5:
        return digest
    with Tree(root).open(path) as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _session_row(session: Session) -> Json:
    return {
        "id": session.id,
        "lab": session.lab,
        "subject": session.subject,
        "date": session.day,
        "number": session.number,
        "task_protocol": session.task_protocol,
        "projects": ",".join(session.projects),
    }


def _dataset_row(candidate: Candidate, session: Session, path: str, size: int) -> Json:
    return {
        "eid": session.id,
        "id": candidate.dataset.id,
        "file_size": size,
        "default_revision": candidate.default,
        "qc": candidate.qc,
        "exists": True,
        "rel_path": path,
        "revision": candidate.dataset.revision,
        "of": (session.id, candidate.collection, candidate.name),
    }


def _mark_defaults(rows: Iterable[Json]) -> None:
    """Where no revision that is here is the default one, ONE is to load the newest that is."""
    groups: dict[Any, list[Json]] = {}
    for row in rows:
        groups.setdefault(row["of"], []).append(row)
    for group in groups.values():
        if not any(row["default_revision"] for row in group):
            max(group, key=lambda row: str(row["revision"]))["default_revision"] = True


def _refuse_others(target: Path) -> None:
    for name in (SESSIONS, DATASETS):
        if (target / name).exists() and _origin(target / name) != ORIGIN:
            raise error("other-tables", f"{target / name}.")


def _origin(path: Path) -> object:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata.get(b"one_metadata", b"{}")).get("origin")
    except (pa.ArrowException, OSError, ValueError, AttributeError):
        return None


def _write(path: Path, rows: list[Json], schema: pa.Schema, about: Mapping[str, str]) -> None:
    columns = [_column([row[field.name] for row in rows], field.type) for field in schema]
    metadata = {"one_metadata": json.dumps(about)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema.with_metadata(metadata)), sink)
    _replace(path, sink.getvalue())


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return pa.array(values, kind)
    numbers = [QUALITIES.index(value) if value in QUALITIES else 0 for value in values]
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int8()), pa.array(QUALITIES), ordered=True)


def _replace(path: Path, content: bytes | pa.Buffer) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)

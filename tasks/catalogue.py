"""Selection to datasets, from Alyx's REST interface: a stream, in queries that cannot lose a row."""

from __future__ import annotations

import re
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any

from tasks.clients.verdicts import error
from tasks.datasets.choice import Candidate, chosen, ignore
from tasks.datasets.sessions import Session, batches, complete_by_id, sessions, sessions_by_id
from tasks.hints import did_you_mean
from tasks.layout import local_path
from tasks.model import Dataset, FileRecord
from tasks.rest.pages import MOST_IDS, PAGE_ROWS, complete, id_in, readable, row_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from tasks.model import Skip
    from tasks.rest.pages import Pages
    from tasks.selection import Selection

Json = dict[str, Any]

#: Where Alyx lists the values that a field of the selection may have, by name of the endpoint and of its column.
_VOCABULARIES = {
    "labs": ("labs", "name"),
    "subjects": ("subjects", "nickname"),
    "projects": ("projects", "name"),
    "tags": ("tags", "name"),
    "dataset_types": ("dataset-types", "name"),
    "repositories": ("data-repository", "name"),
    "avoid_repositories": ("data-repository", "name"),
}
#: Characters that make a name a pattern.
_PATTERN = re.compile(r"[*?\[\]]")
#: Rows that a query for several sessions aims at, so that they fit one page.
_AIM = int(0.8 * PAGE_ROWS)


def datasets(
    selection: Selection,
    alyx: Pages,
    *,
    left_out: Callable[[Skip], None] = ignore,
    changed_since: datetime | None = None,
) -> Iterator[Dataset]:
    """Yield the datasets that a selection means, each once; one without file records has none, and a path all the same.

    No more than the datasets of one query are held at a time: about a page, or the largest session.

    Args:
        selection: What is meant.
        alyx: Whom to ask.
        left_out: See :func:`tasks.datasets.choice.chosen`.
        changed_since: Leave out sessions of which no dataset changed since then. Datasets that were asked for by id,
            and those without a session, are yielded all the same.

    Raises:
        DownloadError: `selection` for a value that Alyx does not know, with the nearest one; `alyx-not-found` for
            ids that it does not have; `alyx-incomplete` where rows are missing; or another `alyx-...` row.
    """
    check_values(selection, alyx)
    yield from chosen(_candidates(selection, alyx, changed_since), selection, left_out)


def repositories(alyx: Pages) -> dict[str, Json]:
    """Return all data repositories by name; some hold S3 keys in their `json`.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    return {row["name"]: row for row in complete(alyx, "data-repository")}


def still_there(alyx: Pages, ids: Iterable[str]) -> set[str]:
    """Return those of the datasets' ids that Alyx still has.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    found = (row for some in batches(ids, MOST_IDS) for row in complete(alyx, "datasets", django=id_in("id", some)))
    return {row_key(row).lower() for row in found}


def check_values(selection: Selection, alyx: Pages) -> None:
    """Ask Alyx whether it knows the labs, subjects, projects, tags, types and repositories of a selection.

    Raises:
        DownloadError: `selection`, with the nearest value.
    """
    for field, (endpoint, column) in _VOCABULARIES.items():
        wanted = getattr(selection, field)
        known = {str(row.get(column)) for row in complete(alyx, endpoint)} if wanted else set()
        for value in wanted:
            if value not in known:
                raise error("selection", f"{field}: Alyx has no {value!r}{_hint(value, known)}.")


def _hint(value: str, known: set[str]) -> str:
    several = value.split(",")
    if len(several) > 1 and known.issuperset(word.strip() for word in several):
        return ": these are several, give each an option of its own"
    return did_you_mean(value, known)


def _candidates(selection: Selection, alyx: Pages, changed_since: datetime | None) -> Iterator[list[Candidate]]:
    """Datasets in lists that hold, for every session in them, all that may be meant."""
    if selection.dataset_ids:
        yield from _by_id(selection, alyx)
        return
    found = _changed_sessions(selection, alyx, changed_since) if changed_since else sessions(alyx, selection)
    yield from _by_session(selection, alyx, found)
    if not selection.of_sessions:
        yield aggregates(selection, alyx)


def aggregates(selection: Selection, alyx: Pages) -> list[Candidate]:
    """Return the datasets without a session that a selection may mean.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    rows = complete(alyx, "datasets", **_filters(selection), django="session__isnull,True")
    return [_candidate(row, None) for row in _ordered(list(rows))]


def records_of(row: Json) -> tuple[FileRecord, ...]:
    """Return the file records of a row of Alyx's `datasets`.

    Raises:
        DownloadError: `alyx-incomplete` for one that cannot be read.
    """
    with readable("datasets"):
        return tuple(map(record_of, row.get("file_records") or ()))


def registered(alyx: Pages, ids: Iterable[str]) -> Iterator[tuple[Candidate, Session | None]]:
    """Yield datasets with their sessions, those of the ids that Alyx has.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    for some in batches(ids, MOST_IDS):
        yield from _with_sessions(list(complete(alyx, "datasets", django=id_in("id", some))), alyx)


def _by_id(selection: Selection, alyx: Pages) -> Iterator[list[Candidate]]:
    for ids in batches(selection.dataset_ids, MOST_IDS):
        pairs = _with_sessions(complete_by_id(alyx, "datasets", ids), alyx)
        yield [candidate for candidate, session in pairs if _is_of(session, selection)]


def _with_sessions(rows: list[Json], alyx: Pages) -> Iterator[tuple[Candidate, Session | None]]:
    wanted = sorted({identifier for row in rows if (identifier := _session_id(row))})
    known = {session.id: session for session in sessions_by_id(alyx, wanted)}
    for row in _ordered(rows):
        session = known.get(_session_id(row) or "")
        yield _candidate(row, session), session


def _is_of(session: Session | None, selection: Selection) -> bool:
    return session.matches(selection) if session else not selection.of_sessions


def _changed_sessions(selection: Selection, alyx: Pages, since: datetime) -> Iterator[Session]:
    """Sessions with a dataset that changed; what did not change in them is listed too, as it may be a revision of it.

    Alyx's times have no zone, and it evaluates the filter: nothing but digits and their separators gets into it.
    """
    moment = since.astimezone(UTC).replace(tzinfo=None).isoformat()
    rows = complete(alyx, "datasets", **_filters(selection), django=f"auto_datetime__gte,{moment}")
    changed = sorted({session for row in rows if (session := _session_id(row))})
    return (session for session in sessions_by_id(alyx, changed) if session.matches(selection))


def _by_session(selection: Selection, alyx: Pages, found: Iterator[Session]) -> Iterator[list[Candidate]]:
    """Several sessions a query, as many as are likely to fit one page, judged by those before."""
    filters = _filters(selection)
    size = 1
    while batch := {session.id: session for session in islice(found, size)}:
        rows = _ordered(list(complete(alyx, "datasets", **filters, **_of_sessions(list(batch)))))
        yield [_candidate(row, _session_of(row, batch)) for row in rows]
        likely = _AIM * len(batch) // max(len(rows), 1)
        size = max(1, min(likely, 4 * size, MOST_IDS))


def _of_sessions(ids: list[str]) -> dict[str, str]:
    return {"session": ids[0]} if len(ids) == 1 else {"django": id_in("session", ids)}


def _filters(selection: Selection) -> dict[str, Any]:
    """What Alyx itself can filter datasets by, exactly, without taking revisions apart."""
    exact = not selection.regex
    values = {
        "name": [name for name in selection.names if exact and not _PATTERN.search(name)],
        "collection": [name for name in selection.collections if exact and name and not _PATTERN.search(name)],
        "dataset_type": selection.dataset_types,
        "tag": selection.tags,
    }
    asked = {"name": selection.names, "collection": selection.collections}
    found = {field: some[0] for field, some in values.items() if len(some) == 1 == len(asked.get(field, some))}
    return {**found, "public": True} if selection.public_only else found


def _ordered(rows: list[Json]) -> list[Json]:
    """The same order on every run: Alyx has none."""
    return sorted(rows, key=row_key)


def _session_id(row: Json) -> str | None:
    return row["session"][-36:] if row.get("session") else None


def _session_of(row: Json, batch: Mapping[str, Session]) -> Session:
    session = batch.get(_session_id(row) or "")
    if session is None:
        raise error("alyx-incomplete", f"Alyx answers datasets of other sessions than asked for: {row['url']}.")
    return session


def _candidate(row: Json, session: Session | None) -> Candidate:
    with readable("datasets"):
        return Candidate(
            dataset=_dataset(row, session),
            name=row["name"],
            collection=row.get("collection") or "",
            dataset_type=row.get("dataset_type") or "",
            qc=row.get("qc") or "NOT_SET",
            default=bool(row.get("default_dataset", True)),
            public=bool(row.get("public")),
            tags=tuple(row.get("tags") or ()),
        )


def _dataset(row: Json, session: Session | None) -> Dataset:
    return Dataset(
        id=row_key(row).lower(),
        session=session.id if session else None,
        lab=(session.lab or None) if session else None,
        path=local_path(row, session),
        size=row.get("file_size"),
        digest=(row.get("hash") or "").replace("-", "").lower(),
        revision=row.get("revision") or "",
        records=records_of(row),
    )


def record_of(row: Json) -> FileRecord:
    """Return a file record, as a dataset's row holds it, or as a row of `/files`.

    Raises:
        KeyError: It lacks a field.
    """
    return FileRecord(row["data_repository"], row["relative_path"], row.get("exists"), row.get("json"))

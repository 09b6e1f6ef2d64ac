"""Where ONE puts a dataset below the root: `lab/Subjects/subject/date/number/collection/#revision#/name`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tasks.datasets.sessions import Session

Json = dict[str, Any]

#: What ONE takes for a UUID in a name: versions 3 to 5, in lower case, before the last suffix.
_UUID = re.compile(r"\.[0-9a-f]{8}-[0-9a-f]{4}-[345][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?=\.[^./]+$)")

_SESSION = re.compile(r"(?:(?P<lab>[^/]+)/Subjects/)?(?P<subject>[^/]+)/(?P<day>\d{4}-\d\d-\d\d)/(?P<number>\d+)(?=/)")


class Place(NamedTuple):
    """The session folder that a local path lies in; `lab` may be ""."""

    folder: str
    lab: str
    subject: str
    day: str
    number: int


def place_of(path: str) -> Place | None:
    """Read a session folder out of a local path; None for what is of no session."""
    found = _SESSION.match(path)
    return Place(found[0], found["lab"] or "", found["subject"], found["day"], int(found["number"])) if found else None


def local_path(row: Json, session: Session | None) -> str:
    """Return where ONE puts a dataset: as its file records are registered, or as one would be registered.

    Where records disagree, those that exist count, and of these the first in the order of letters. The path may be
    hostile: it is what Alyx holds.

    Args:
        row: A row of Alyx's `datasets`.
        session: Its session; None for an aggregate.
    """
    records: list[Json] = row.get("file_records") or []
    existing = [record for record in records if record.get("exists")] or records
    if session is None:
        return _aggregate_path(row, existing)
    registered = min((record["relative_path"] for record in existing), default="")
    path = without_uuid(registered) if registered else _unregistered_path(row, session)
    return f"{session.lab}/Subjects/{path}" if session.lab else path


def _aggregate_path(row: Json, records: list[Json]) -> str:
    """Below `aggregates/`, wherever that lies on the repository."""
    paths = [f"{record.get('data_repository_path') or ''}/{record['relative_path']}" for record in records]
    path = without_uuid(min(paths)) if paths else _join(row.get("collection"), row.get("revision"), row["name"])
    return f"aggregates/{path.rpartition('aggregates/')[2].lstrip('/')}"


def _unregistered_path(row: Json, session: Session) -> str:
    place = _join(row.get("collection"), row.get("revision"), row["name"])
    return f"{session.subject}/{session.day}/{session.number:03d}/{place}"


def _join(collection: str | None, revision: str | None, name: str) -> str:
    return "/".join(filter(None, (collection, f"#{revision}#" if revision else "", name)))


def without_uuid(path: str) -> str:
    """Return a path without the UUID that stands before the suffix of its name, if one does; as ONE does it.

    Example:
        >>> without_uuid("a/spikes.times.0b305d2f-04dc-4ef1-be1c-db18931391a1.npy")
        'a/spikes.times.npy'
    """
    return _UUID.sub("", path)

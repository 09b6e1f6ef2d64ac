"""Sessions that a selection means, from Alyx: a stream in as few requests as the selection allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tasks.clients.verdicts import error
from tasks.rest.pages import MOST_IDS, complete, id_in, readable, row_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tasks.rest.pages import Pages
    from tasks.selection import Selection

T = TypeVar("T")

#: More queries than this are not made for the values of one field: all sessions are listed instead.
_MOST_QUERIES = 20
#: What of an id list is shown in a message.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Session:
    """What is asked of a session; `lab` may be "", and `number` is 0 where Alyx has none."""

    id: str
    lab: str
    subject: str
    day: date
    number: int
    projects: tuple[str, ...] = ()
    task_protocol: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """Read a row of Alyx's list."""
        with readable("sessions"):
            return cls(
                row["id"],
                row.get("lab") or "",
                row.get("subject") or "",
                date.fromisoformat(row["start_time"][:10]),
                row.get("number") or 0,
                tuple(row.get("projects") or ()),
                row.get("task_protocol") or "",
            )

    def matches(self, selection: Selection) -> bool:
        """Whether every field of the selection that concerns sessions fits."""
        return (
            _is_among(self.id, selection.wanted_sessions)
            and _is_among(self.lab, selection.labs)
            and _is_among(self.subject, selection.subjects)
            and _is_among(self.number, selection.numbers)
            and (not selection.projects or not set(selection.projects).isdisjoint(self.projects))
            and (not selection.dates or any(first <= self.day <= last for first, last in selection.days))
            and selection.task_protocol.casefold() in self.task_protocol.casefold()
        )


def sessions(alyx: Pages, selection: Selection) -> Iterator[Session]:
    """Yield the sessions that a selection means, each once.

    Raises:
        DownloadError: `alyx-not-found` for an unknown id; or another `alyx-...` row.
    """
    seen: set[str] = set()
    for found in _sources(alyx, selection):
        for session in found:
            if session.id not in seen and session.matches(selection):
                seen.add(session.id)
                yield session


def count_at_most(alyx: Pages, selection: Selection, limit: int) -> int:
    """Count the sessions that Alyx would list for a selection, up to a limit: a request for each of a few values.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    if selection.session_ids or selection.dataset_ids:
        return min(limit, len(selection.session_ids) or len(selection.dataset_ids))
    count = 0
    for filters in _queries(selection):
        count += alyx.page("sessions", **filters, limit=1).count
        if count >= limit:
            return limit
    return count


def sessions_by_id(alyx: Pages, ids: Iterable[str]) -> Iterator[Session]:
    """Yield the sessions of these ids.

    Raises:
        DownloadError: `alyx-not-found` where Alyx does not have them all.
    """
    for some in batches(ids, MOST_IDS):
        for row in complete_by_id(alyx, "sessions", some):
            yield Session.of(row)


def complete_by_id(alyx: Pages, endpoint: str, ids: list[str]) -> list[dict[str, Any]]:
    """Return the records of at most `MOST_IDS` ids.

    Raises:
        DownloadError: `alyx-not-found`, which names those that Alyx does not have.
    """
    rows = list(complete(alyx, endpoint, django=id_in("id", ids)))
    found = {row_key(row).lower() for row in rows}
    missing = [identifier for identifier in ids if identifier not in found]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise error("alyx-not-found", f"{endpoint}: {', '.join(missing[:_SHOWN])}{more}.")
    return rows


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _sources(alyx: Pages, selection: Selection) -> Iterator[Iterator[Session]]:
    if selection.session_ids:
        yield sessions_by_id(alyx, selection.session_ids)
        return
    for filters in _queries(selection):
        yield map(Session.of, complete(alyx, "sessions", **filters))


def _queries(selection: Selection) -> Iterator[dict[str, Any]]:
    """Filters that find at least the sessions that are meant.

    Alyx takes one value a filter. Those of fields with one value go into every query; of the others, the one with
    the fewest values is asked value by value; the rest is left to :meth:`Session.matches`.
    """
    values: dict[str, list[Any]] = {
        "subject": selection.subjects,
        "lab": selection.labs,
        "projects": selection.projects,
        "number": selection.numbers,
        "date_range": [f"{first},{last}" for first, last in selection.days],
        "tag": selection.tags,
        "task_protocol": [selection.task_protocol] if selection.task_protocol else [],
    }
    always = {name: some[0] for name, some in values.items() if len(some) == 1}
    several = [(len(some), name) for name, some in values.items() if 1 < len(some) <= _MOST_QUERIES]
    if not several:
        yield always
        return
    _, driver = min(several)
    for value in values[driver]:
        yield {**always, driver: value}


def _is_among(value: object, wanted: Collection[Any]) -> bool:
    return not wanted or value in wanted

"""Lists of Alyx, whole: every row once, or an error.

Alyx's lists have no stable order, so pages by offset repeat some rows and leave out others, although `count` is right.
Safe are queries whose rows fit one page; where there are more, the primary keys are cut into ranges. Every page's
different rows are compared with its count.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeGuard
from uuid import UUID

from tasks.clients.verdicts import error
from tasks.hints import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasks.clients.verdicts import DownloadError

Json = dict[str, Any]

#: Alyx answers no more rows than this at a time, whatever is asked.
PAGE_ROWS = 1000
#: Ids a URL: 100 would make it longer than the 4094 bytes that gunicorn takes.
MOST_IDS = 80
#: Times that a page whose rows repeat is asked for.
_ATTEMPTS = 3
#: Ranges that one range is cut into at most; those that are still too full are cut again.
_MOST_PARTS = 4096
#: Ranges are cut so that they fill a page so far: keys are not spread evenly.
_FILL = 0.7
_ALL_KEYS = (0, 1 << 128)
#: More rows than any lab has: a server that counts more is not to be walked through.
_MOST_ROWS = 1_000_000_000

_EVERYWHERE = "limit offset django id name"
#: What each list can be filtered by. Alyx ignores a parameter that it does not know, and answers everything.
_FILTERS = {
    "data-repository": "globus_is_personal globus_endpoint_id",
    "datasets": "subject lab date session collection dataset_type data_format revision tag tags hash md5 file_size "
    "version default_dataset exists public protected qc probe_insertion created_by created_date created_date_gte "
    "created_date_lte created_datetime auto_datetime experiment_number content_type object_id generating_software "
    "provenance_directory",
    "files": "dataset exists lab data_repository globus_is_personal relative_path",
    "sessions": "subject nickname lab date_range number datasets dataset_types dataset_qc_lte projects project "
    "task_protocol tag qc extended_qc users location procedures type json start_time end_time narrative "
    "parent_session n_trials n_correct_trials performance_gte performance_lte histology atlas_name atlas_acronym "
    "atlas_id auto_datetime",
    "subjects": "alive responsible_user stock water_restricted lab project projects nickname",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a list: how many rows Alyx counts in all, and the rows that came."""

    count: int
    rows: list[Json]

    @classmethod
    def of(cls, answer: Any) -> Self:
        """Read what Alyx answers: a map with `count` and `results`, or the bare list of an endpoint without pages.

        Raises:
            DownloadError: `alyx-url`: it is something else.
        """
        paged = answer if isinstance(answer, dict) else {"count": 0, "results": answer}
        count, rows = paged.get("count"), paged.get("results")
        if isinstance(rows, list) and _is_believable(count) and all(isinstance(row, dict) for row in rows):
            return cls(count if paged is answer else len(rows), rows)
        raise error("alyx-url", "The answer to a list is no list of records.")

    @property
    def full(self) -> bool:
        """Whether Alyx counts more rows than it sent."""
        return bool(self.rows) and self.count > len(self.rows)

    def by_key(self) -> dict[str, Json]:
        """Return its different rows."""
        return {row_key(row): row for row in self.rows}


def _is_believable(count: object) -> TypeGuard[int]:
    return type(count) is int and 0 <= count <= _MOST_ROWS


class Pages(Protocol):
    """Who can ask for a page: `tasks.alyx.AlyxClient`."""

    def page(self, endpoint: str, **filters: Any) -> Page:
        """Return one page of a list."""
        ...


def row_key(row: Json) -> str:
    """Return what tells a row of a list from the others: its id, else the end of its URL, else its name."""
    return str(row.get("id") or row.get("url") or row.get("name") or json.dumps(row, sort_keys=True)).rpartition("/")[2]


def check_filters(endpoint: str, filters: Iterable[str]) -> None:
    """Refuse a filter that Alyx would ignore.

    Raises:
        DownloadError: `alyx-bad-request`, with the nearest name.
    """
    known = f"{_EVERYWHERE} {_FILTERS.get(endpoint, '')}".split()
    for name in filters:
        if name not in known:
            hint = did_you_mean(name, known)
            raise error("alyx-bad-request", f"{endpoint!r} has no filter {name!r}, so Alyx would answer all{hint}.")


@contextmanager
def readable(endpoint: str) -> Iterator[None]:
    """Turn what goes wrong with a record that lacks a field into an error.

    Raises:
        DownloadError: `alyx-incomplete`.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise error("alyx-incomplete", f"A record of {endpoint} cannot be read: {failure!r}.") from failure


def id_in(field: str, ids: Iterable[str]) -> str:
    """Return the `django=` filter for a set of ids; Alyx evaluates it, so nothing but a UUID gets into it.

    Raises:
        ValueError: One of them is no UUID.
    """
    return f"{field}__in,[{','.join(repr(str(UUID(identifier))) for identifier in ids)}]"


def complete(alyx: Pages, endpoint: str, **filters: Any) -> Iterator[Json]:
    """Yield every row of a list once, a page at a time.

    Rows of endpoints without UUIDs as keys (labs, projects, repositories) have to fit one page.

    Raises:
        DownloadError: `alyx-incomplete` where the rows of a page are not those that Alyx counts; or another
            `alyx-...` row.
    """
    page = _checked(alyx, endpoint, filters, _ALL_KEYS)
    if page.full:
        yield from _by_ranges(alyx, endpoint, filters, page, _ALL_KEYS)
    else:
        yield from page.rows


def _by_ranges(
    alyx: Pages, endpoint: str, filters: Mapping[str, Any], page: Page, keys: tuple[int, int]
) -> Iterator[Json]:
    """Cut a range of keys whose rows do not fit a page into as many as its count asks for."""
    low, high = keys
    parts = min(_MOST_PARTS, max(2, math.ceil(page.count / (_FILL * len(page.rows)))))
    if high - low < parts or not _are_within(page.by_key(), keys):
        raise _incomplete(endpoint, page)
    edges = [low + (high - low) * part // parts for part in range(parts + 1)]
    for piece in pairwise(edges):
        found = _checked(alyx, endpoint, filters, piece)
        if found.full:
            yield from _by_ranges(alyx, endpoint, filters, found, piece)
        else:
            yield from found.rows


def _checked(alyx: Pages, endpoint: str, filters: Mapping[str, Any], keys: tuple[int, int]) -> Page:
    """A page whose rows are all different and as many as Alyx counts; or a full one, the first of more."""
    limits = {**filters, "django": ",".join(filter(None, (filters.get("django"), _within(keys)))) or None}
    for _ in range(_ATTEMPTS):
        page = alyx.page(endpoint, **limits)
        rows = page.by_key()
        if (page.full or len(rows) == page.count) and (keys == _ALL_KEYS or _are_within(rows, keys)):
            return page
    raise _incomplete(endpoint, page)


def _incomplete(endpoint: str, page: Page) -> DownloadError:
    return error("alyx-incomplete", f"{endpoint}: {len(page.by_key())} different rows of {page.count}.")


def _within(keys: tuple[int, int]) -> str:
    low, high = keys
    above = f"id__gte,{UUID(int=low)}" if low else ""
    below = f"id__lt,{UUID(int=high)}" if high < _ALL_KEYS[1] else ""
    return ",".join(filter(None, (above, below)))


def _are_within(rows: Iterable[str], keys: tuple[int, int]) -> bool:
    """Whether the keys are UUIDs of that range; a server that ignores ranges answers the same rows for each one."""
    try:
        return all(keys[0] <= UUID(row).int < keys[1] for row in rows)
    except ValueError:
        return False

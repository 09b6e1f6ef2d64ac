"""The lists that Alyx has: which rows, in which order, under which key, with which filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployments.sandbox.alyx import filters, names
from deployments.sandbox.alyx.database import FORMATS, READER, USER, file_rows, labs_of_subjects
from deployments.sandbox.alyx.rows import View
from deployments.sandbox.data import LABS, TAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deployments.sandbox.alyx.filters import Filters
    from deployments.sandbox.data import World

    Show = Callable[[View, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One list, and the pages of its rows.

    Attributes:
        model: Django's name of a row, as it appears in a 404.
        table: The table that lookups begin at; "" where there are none.
        rows: All rows, in Alyx's order.
        show: A row by itself; `listed` is a row in a list.
        key: The field that addresses a row: "id" is a UUID, everything else a name.
        ordered: Whether the database is asked for an order at all.
    """

    model: str
    table: str
    rows: Callable[[World], Iterable[Any]]
    show: Show
    listed: Show
    filters: Filters = field(default_factory=dict)
    key: str = "name"
    ordered: bool = True


def _projects(world: World) -> list[str]:
    return sorted({session.project for session in list(world.sessions.values())})


def _revisions(world: World) -> list[str]:
    return sorted({each.revision for each in list(world.datasets.values()) if each.revision})


def _types(world: World) -> list[str]:
    return sorted({each.type for each in list(world.datasets.values())})


def _named(model: str, table: str, rows: Callable[[World], Iterable[str]], show: Show) -> Endpoint:
    return Endpoint(model, table, rows, show, show, filters.NAMED)


ENDPOINTS: dict[str, Endpoint] = {
    "datasets": Endpoint(
        "Dataset",
        "dataset",
        lambda world: list(world.datasets.values()),
        View.dataset,
        View.listed_dataset,
        filters.DATASETS,
        "id",
        ordered=False,
    ),
    "sessions": Endpoint(
        "Session",
        "session",
        lambda world: sorted(world.sessions.values(), key=lambda each: each.start, reverse=True),
        View.session,
        View.listed_session,
        filters.SESSIONS,
        "id",
    ),
    "files": Endpoint(
        "FileRecord",
        "file_record",
        lambda world: [row for each in list(world.datasets.values()) for row in file_rows(each)],
        View.file,
        View.file,
        filters.FILES,
        "id",
        ordered=False,
    ),
    "data-repository": Endpoint(
        "DataRepository",
        "repository",
        lambda world: sorted(world.repositories.values(), key=lambda each: each.name),
        View.repository,
        View.repository,
        filters.REPOSITORIES,
    ),
    "subjects": Endpoint(
        "Subject",
        "subject",
        labs_of_subjects,
        names.subject,
        names.subject,
        filters.SUBJECTS,
    ),
    "labs": _named("Lab", "lab", lambda _: sorted(LABS), names.lab),
    "projects": _named("Project", "project", _projects, names.project),
    "revisions": _named("Revision", "revision", _revisions, names.revision),
    "tags": _named("Tag", "tag", lambda _: sorted(TAGS), names.tag),
    "dataset-types": _named("DatasetType", "dataset_type", _types, names.dataset_type),
    "data-formats": _named("DataFormat", "data_format", lambda _: sorted(set(FORMATS.values())), names.data_format),
    "users": _named("LabMember", "user", lambda _: (USER, READER), names.user),
    "insertions": _named("ProbeInsertion", "insertion", lambda _: (), names.project),
    "data-notices": _named("DataNotice", "insertion", lambda _: (), names.project),
}


def key_of(endpoint: Endpoint, row: Any) -> str:
    """Return what addresses a row below its list."""
    return str(row if isinstance(row, str) else getattr(row, endpoint.key))

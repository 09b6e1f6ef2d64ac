"""The typed filters of each list: what Alyx takes as query parameters, and what it says to bad ones.

Unknown parameters, empty values and bad booleans are ignored, so the list comes unfiltered; other bad
values are 400, and some are 500.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from deployments.sandbox.alyx.database import QC
from deployments.sandbox.alyx.query import QueryError, condition, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployments.sandbox.alyx.query import Database, Predicate
    from deployments.sandbox.data import World
    from deployments.sandbox.model import Dataset

    Method = Callable[[World, str], Predicate]


class BadFilterError(Exception):
    """A value of the wrong type; Alyx answers 400.

    Args:
        message: What Alyx says about the field.
    """


@dataclass(frozen=True, slots=True)
class Lookup:
    """A filter that is a lookup, and the type of its value."""

    lookup: str
    kind: str = "text"


Filters = dict[str, "Lookup | Method"]


def predicates(
    filters: Filters, asked: Mapping[str, str], world: World, database: Database, table: str
) -> list[Predicate]:
    """Return the tests that the parameters of a request stand for.

    Raises:
        BadFilterError: With all fields and what is wrong with them, as `args[0]`.
        QueryError: Where Alyx answers 500.
    """
    tests: list[Predicate] = []
    wrong: dict[str, list[str]] = {}
    for name, found in filters.items():
        if not (value := asked.get(name)):
            continue
        try:
            tests += _tests(found, value, world, database, table)
        except BadFilterError as error:
            wrong[name] = [str(error)]
    if wrong:
        raise BadFilterError(wrong)
    for lookup, value in parse(asked.get("django", "")):
        tests.append(condition(database, table, lookup, value))
    return tests


def _tests(found: Lookup | Method, value: str, world: World, database: Database, table: str) -> list[Predicate]:
    if not isinstance(found, Lookup):
        return [found(world, value)]
    typed = _TYPED[found.kind](world, value)
    return [] if typed is None else [condition(database, table, found.lookup, typed)]


def _boolean(_world: World, value: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(value.casefold())


def _uuid(_world: World, value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise BadFilterError("Enter a valid UUID.") from None


def _session(world: World, value: str) -> str:
    return _choice(value, world.sessions)


def _dataset(world: World, value: str) -> str:
    return _choice(value, world.datasets)


def _choice(value: str, known: Mapping[str, object]) -> str:
    try:
        found = str(uuid.UUID(value))
    except ValueError:
        raise BadFilterError(f"“{value}” is not a valid UUID.") from None
    if found not in known:
        raise BadFilterError("Select a valid choice. That choice is not one of the available choices.")
    return found


def _number(_world: World, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise BadFilterError("Enter a number.") from None


def _datetime(_world: World, value: str) -> str:
    try:
        return datetime.fromisoformat(value).isoformat()
    except ValueError:
        raise BadFilterError("Enter a valid date/time.") from None


_TYPED: dict[str, Callable[[World, str], Any]] = {
    "text": lambda _world, value: value,
    "uuid": _uuid,
    "session": _session,
    "dataset": _dataset,
    "boolean": _boolean,
    "number": _number,
    "datetime": _datetime,
}


def _exists(world: World, value: str) -> Predicate:
    """Test for one record that exists, or does not, on a repository that is nobody's laptop."""
    wanted = _boolean(world, value)

    def test(dataset: Dataset) -> bool:
        servers = (each for each in dataset.records if not world.repositories[each.repository].personal)
        return wanted is None or any(record.exists == wanted for record in servers)

    return test


def _qc(value: str) -> int:
    number = int(value) if value.isdigit() else QC.get(value.upper())
    if number is None or number not in QC.values():
        raise QueryError("Invalidqc, choices are: CRITICAL, FAIL, WARNING, NOT_SET, PASS")
    return number


def _dataset_qc(_world: World, value: str) -> Predicate:
    number = _qc(value)
    return lambda dataset: QC[dataset.qc] == number


def _session_qc(_world: World, value: str) -> Predicate:
    number = _qc(value)
    return lambda _session: number == QC["NOT_SET"]


def _date_range(_world: World, value: str) -> Predicate:
    days = value.split(",")
    if len(days) == 1:
        raise QueryError("list index out of range")
    try:
        first, last = date.fromisoformat(days[0]), date.fromisoformat(days[1])
    except ValueError as error:
        raise QueryError(str(error)) from None
    return lambda session: first <= session.start.date() <= last


def _by_session(world: World, test: Callable[[Dataset], bool]) -> dict[str, list[Dataset]]:
    found = defaultdict(list)
    for dataset in list(world.datasets.values()):
        if dataset.session and test(dataset):
            found[dataset.session].append(dataset)
    return found


def _datasets(world: World, value: str) -> Predicate:
    """Test for sessions that have all these names, where they can be had from a server."""
    names = set(value.split(","))
    exists = _exists(world, "True")
    found = _by_session(world, lambda each: each.name in names and exists(each))
    return lambda session: {each.name for each in found[session.id]} == names


def _dataset_types(world: World, value: str) -> Predicate:
    """Test for sessions that have all these types, whether they can be had or not."""
    types = set(value.split(","))
    found = _by_session(world, lambda each: each.type in types)
    return lambda session: {each.type for each in found[session.id]} == types


def _dataset_qc_lte(world: World, value: str) -> Predicate:
    number = _qc(value)
    found = _by_session(world, lambda each: QC[each.qc] <= number)
    return lambda session: bool(found[session.id])


def _tagged(world: World, value: str) -> Predicate:
    found = _by_session(world, lambda each: value in each.tags)
    return lambda session: bool(found[session.id])


DATASETS: Filters = {
    "subject": Lookup("session__subject__nickname"),
    "lab": Lookup("session__lab__name"),
    "date": Lookup("session__start_time__date"),
    "session": Lookup("session", "session"),
    "name": Lookup("name"),
    "collection": Lookup("collection"),
    "dataset_type": Lookup("dataset_type__name"),
    "revision": Lookup("revision__name"),
    "tag": Lookup("tags__name"),
    "hash": Lookup("hash"),
    "file_size": Lookup("file_size", "number"),
    "version": Lookup("version"),
    "default_dataset": Lookup("default_dataset", "boolean"),
    "exists": _exists,
    "public": Lookup("tags__public", "boolean"),
    "protected": Lookup("tags__protected", "boolean"),
    "qc": _dataset_qc,
    "probe_insertion": Lookup("probe_insertion", "uuid"),
    "created_by": Lookup("created_by__username"),
    "created_date": Lookup("created_datetime__date"),
    "created_date_gte": Lookup("created_datetime__gte", "datetime"),
    "created_date_lte": Lookup("created_datetime__lte", "datetime"),
    "experiment_number": Lookup("session__number", "number"),
    "content_type": Lookup("content_type", "number"),
    "object_id": Lookup("object_id", "uuid"),
    "id": Lookup("id", "uuid"),
}
SESSIONS: Filters = {
    "subject": Lookup("subject__nickname__iexact"),
    "lab": Lookup("lab__name__iexact"),
    "date_range": _date_range,
    "number": Lookup("number", "number"),
    "datasets": _datasets,
    "dataset_types": _dataset_types,
    "dataset_qc_lte": _dataset_qc_lte,
    "projects": Lookup("projects__name__icontains"),
    "task_protocol": Lookup("task_protocol__icontains"),
    "tag": _tagged,
    "qc": _session_qc,
    "users": Lookup("users__username__icontains"),
    "location": Lookup("location__name__icontains"),
    "id": Lookup("id", "uuid"),
}
FILES: Filters = {
    "dataset": Lookup("dataset", "dataset"),
    "exists": Lookup("exists", "boolean"),
    "lab": Lookup("dataset__session__lab__name"),
    "data_repository": Lookup("data_repository__name"),
    "globus_is_personal": Lookup("data_repository__globus_is_personal", "boolean"),
    "relative_path": Lookup("relative_path"),
    "id": Lookup("id", "uuid"),
    "name": Lookup("name"),
}
REPOSITORIES: Filters = {
    "name": Lookup("name"),
    "globus_is_personal": Lookup("globus_is_personal", "boolean"),
    "globus_endpoint_id": Lookup("globus_endpoint_id", "uuid"),
}
SUBJECTS: Filters = {"nickname": Lookup("nickname"), "lab": Lookup("lab__name")}
NAMED: Filters = {"name": Lookup("name")}

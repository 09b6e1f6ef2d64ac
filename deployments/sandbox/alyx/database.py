"""Alyx's tables, as far as the sandbox has them: which columns and relations a lookup may name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from deployments.sandbox.alyx.query import Column, Database, Relation, Table
from deployments.sandbox.data import TAGS
from deployments.sandbox.model import Dataset, Record, Repository, Session, identify

if TYPE_CHECKING:
    from deployments.sandbox.data import World

USER, READER = "alice", "intbrainlab"  # who may write, and who may not
PROTOCOL = "_iblrig_tasks_ephysChoiceWorld6.4.2"
VERSION = "2.40.0"
BORN = "2024-07-01T12:00:00"  # when everything was made that does not say itself
QC = {"NOT_SET": 0, "PASS": 10, "WARNING": 30, "FAIL": 40, "CRITICAL": 50}
FORMATS = {"npy": "npy", "pqt": "parquet", "mp4": "mp4", "cbin": "cbin", "csv": "csv", "tsv": "tsv", "json": "json"}


class FileRow(NamedTuple):
    """A file record with the dataset that it belongs to."""

    dataset: Dataset
    record: Record

    @property
    def id(self) -> str:
        """Return the record's UUID."""
        return identify("record", self.dataset.id, self.record.repository)


def file_rows(dataset: Dataset) -> list[FileRow]:
    """Return a dataset's file records."""
    return [FileRow(dataset, record) for record in dataset.records]


def data_format(dataset: Dataset) -> str:
    """Return the name of a dataset's format."""
    return FORMATS.get(dataset.name.rpartition(".")[2], "unknown")


def database(world: World) -> Database:
    """Return the tables over a world."""
    named = {
        name: _named(name)
        for name in ("lab", "project", "revision", "dataset_type", "data_format", "location", "insertion")
    }
    return named | {
        "dataset": _dataset(world),
        "session": _session(world),
        "file_record": _file_record(world),
        "repository": _repository(),
        "subject": _subject(world),
        "user": {"id": Column("uuid", lambda name: identify("user", name)), "username": Column("text", str)},
        "tag": _tag(),
    }


def _named(table: str) -> Table:
    """Return a table whose objects are their names."""
    return {"id": Column("uuid", lambda name: identify(table, name)), "name": Column("text", str)}


def _tag() -> Table:
    return _named("tag") | {
        "public": Column("bool", lambda name: TAGS[name]),
        "protected": Column("bool", lambda name: TAGS[name]),
    }


def _dataset(world: World) -> Table:
    def session(each: Dataset) -> list[Session]:
        return [world.sessions[each.session]] if each.session else []

    return {
        "id": Column("uuid", lambda each: each.id),
        "name": Column("text", lambda each: each.name),
        "collection": Column("text", lambda each: each.collection),
        "hash": Column("text", lambda each: each.hash),
        "version": Column("text", lambda _: VERSION),
        "file_size": Column("int", lambda each: each.size),
        "created_datetime": Column("datetime", lambda each: each.created),
        "auto_datetime": Column("datetime", lambda each: each.changed),
        "default_dataset": Column("bool", lambda each: each.default),
        "qc": Column("int", lambda each: QC[each.qc]),
        "json": Column("json", lambda _: None),
        "content_type": Column("int", lambda _: None),
        "object_id": Column("uuid", lambda _: None),
        "session": Relation("session", session),
        "dataset_type": Relation("dataset_type", lambda each: [each.type]),
        "data_format": Relation("data_format", lambda each: [data_format(each)]),
        "revision": Relation("revision", lambda each: [each.revision] if each.revision else []),
        "tags": Relation("tag", lambda each: each.tags),
        "created_by": Relation("user", lambda _: [USER]),
        "file_records": Relation("file_record", file_rows),
        "probe_insertion": Relation("insertion", lambda _: ()),
    }


def _session(world: World) -> Table:
    def datasets(each: Session) -> list[Dataset]:
        return [dataset for dataset in list(world.datasets.values()) if dataset.session == each.id]

    return {
        "id": Column("uuid", lambda each: each.id),
        "number": Column("int", lambda each: each.number),
        "start_time": Column("datetime", lambda each: each.start),
        "end_time": Column("datetime", lambda each: each.start + timedelta(hours=1)),
        "task_protocol": Column("text", lambda _: PROTOCOL),
        "qc": Column("int", lambda _: QC["NOT_SET"]),
        "type": Column("text", kind),
        "json": Column("json", lambda _: None),
        "subject": Relation("subject", lambda each: [each.subject]),
        "lab": Relation("lab", lambda each: [each.lab]),
        "projects": Relation("project", lambda each: [each.project]),
        "users": Relation("user", lambda _: [USER]),
        "location": Relation("location", lambda each: [f"_iblrig_{each.lab}_ephys_0"]),
        "data_dataset_session_related": Relation("dataset", datasets),
    }


def _file_record(world: World) -> Table:
    return {
        "id": Column("uuid", lambda row: row.id),
        "name": Column("text", lambda _: ""),
        "exists": Column("bool", lambda row: row.record.exists),
        "relative_path": Column("text", lambda row: row.record.relative_path),
        "json": Column("json", lambda row: row.record.json),
        "dataset": Relation("dataset", lambda row: [row.dataset]),
        "data_repository": Relation("repository", lambda row: [world.repositories[row.record.repository]]),
    }


def _repository() -> Table:
    def column(kind: str, name: str) -> Column:
        return Column(kind, lambda each: getattr(each, name))

    return {
        "id": Column("uuid", lambda each: identify("repository", each.name)),
        "name": column("text", "name"),
        "globus_path": column("text", "globus_path"),
        "globus_is_personal": column("bool", "personal"),
        "globus_endpoint_id": column("uuid", "endpoint"),
        "hostname": Column("text", hostname),
    }


def _subject(world: World) -> Table:
    return {
        "id": Column("uuid", lambda name: identify("subject", name)),
        "nickname": Column("text", str),
        "lab": Relation("lab", lambda name: [labs_of_subjects(world)[name]]),
    }


def labs_of_subjects(world: World) -> dict[str, str]:
    """Return the lab of each subject, in the order of their names."""
    return dict(sorted((session.subject, session.lab) for session in list(world.sessions.values())))


def kind(session: Session) -> str:
    """Return the type of a session; base sessions have no number."""
    return "Base" if session.number is None else "Experiment"


def hostname(repository: Repository) -> str:
    """Return what Alyx has as the host of a repository."""
    return "127.0.0.1" if repository.server in ("http", "members") else repository.name

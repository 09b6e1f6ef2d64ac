"""How Alyx shows its rows as JSON: the very keys, in the very order, of the recorded exchanges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployments.sandbox.alyx.database import BORN, PROTOCOL, USER, VERSION, FileRow, data_format, hostname, kind
from deployments.sandbox.data import TAGS
from deployments.sandbox.model import Dataset, Record, Repository, Session, identify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployments.sandbox.data import World

    Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What it takes to show a row: the world, Alyx's own address, and where the other servers are.

    Attributes:
        base: Address of Alyx as the client wrote it, without a slash at its end.
        urls: Addresses of the servers by name.
        keys: Access key and secret of each private bucket.
    """

    world: World
    base: str
    urls: Mapping[str, str]
    keys: Mapping[str, tuple[str, str]]

    def dataset(self, each: Dataset) -> Json:
        """Show a dataset as `/datasets/<id>` does."""
        return {
            "url": f"{self.base}/datasets/{each.id}",
            "name": each.name,
            "created_by": USER,
            "created_datetime": each.created.isoformat(),
            "dataset_type": each.type,
            "data_format": data_format(each),
            "collection": each.collection,
            "session": f"{self.base}/sessions/{each.session}" if each.session else None,
            "file_size": each.size,
            "hash": each.hash,
            "version": VERSION,
            "experiment_number": self.world.sessions[each.session].number if each.session else None,
            "file_records": [self._record(each, record) for record in each.records],
            "auto_datetime": each.changed.isoformat(),
            "revision": each.revision,
            "default_dataset": each.default,
            "tags": list(each.tags),
            "qc": each.qc,
            "json": None,
        }

    def listed_dataset(self, each: Dataset) -> Json:
        """Show a dataset as a list does: with the numbers of its protected and its public tags."""
        public = sum(TAGS[tag] for tag in each.tags)
        shown: Json = {}
        for key, value in self.dataset(each).items():
            shown[key] = value
            if key == "default_dataset":
                shown |= {"protected": public, "public": public}
        return shown

    def _record(self, dataset: Dataset, record: Record) -> Json:
        repository = self.world.repositories[record.repository]
        return {
            "id": FileRow(dataset, record).id,
            "data_repository": record.repository,
            "data_repository_path": repository.globus_path,
            "relative_path": record.relative_path,
            "data_url": self._data_url(dataset, record),
            "exists": record.exists,
        }

    def _data_url(self, dataset: Dataset, record: Record) -> str | None:
        """Return the address, raw: Alyx escapes neither `#` nor blanks."""
        repository = self.world.repositories[record.repository]
        root = self._root(repository)
        return root and root + repository.file_name(dataset, record.relative_path)

    def _root(self, repository: Repository) -> str | None:
        if repository.server == "globus":
            return None
        parts = (self.urls[repository.server], repository.bucket, repository.globus_path.strip("/"), "")
        return "/".join(part for part in parts if part is not None)

    def session(self, each: Session) -> Json:
        """Show a session as `/sessions/<id>` does."""
        return {
            "subject": each.subject,
            "users": [USER],
            "location": f"_iblrig_{each.lab}_ephys_0",
            "procedures": [],
            "lab": each.lab,
            "projects": [each.project],
            "type": kind(each),
            "task_protocol": PROTOCOL,
            "number": each.number,
            "start_time": each.start.isoformat(),
            "end_time": (each.start + timedelta(hours=1)).isoformat(),
            "narrative": "",
            "parent_session": None,
            "n_correct_trials": 480,
            "n_trials": 600,
            "url": f"{self.base}/sessions/{each.id}",
            "extended_qc": None,
            "qc": "NOT_SET",
            "wateradmin_session_related": [],
            "data_dataset_session_related": self._related(each),
            "auto_datetime": BORN,
            "id": each.id,
            "json": None,
            "probe_insertion": [],
            "field_of_view": [],
            "notes": [],
        }

    def listed_session(self, each: Session) -> Json:
        """Show a session as a list does."""
        return {
            "id": each.id,
            "subject": each.subject,
            "start_time": each.start.isoformat(),
            "number": each.number,
            "lab": each.lab,
            "projects": [each.project],
            "url": f"{self.base}/sessions/{each.id}",
            "task_protocol": PROTOCOL,
        }

    def _related(self, session: Session) -> list[Json]:
        """Show the datasets of a session that exist on a server; those without such a record are left out."""
        mine = (each for each in list(self.world.datasets.values()) if each.session == session.id)
        shown = ((each, self._served(each)) for each in mine)
        return [self._related_dataset(each, served[0]) for each, served in shown if served]

    def _served(self, dataset: Dataset) -> list[Record]:
        """Return the records that exist on servers, in the order in which a session prefers them."""
        repositories = self.world.repositories
        found = [each for each in dataset.records if each.exists and not repositories[each.repository].personal]
        by_name = sorted(found, key=lambda each: each.repository, reverse=True)
        return sorted(by_name, key=lambda each: repositories[each.repository].server == "globus")

    def _related_dataset(self, each: Dataset, record: Record) -> Json:
        return {
            "id": each.id,
            "name": each.name,
            "dataset_type": each.type,
            "data_url": self._data_url(each, record),
            "url": f"{self.base}/datasets/{each.id}",
            "file_size": each.size,
            "hash": each.hash,
            "version": VERSION,
            "collection": each.collection,
            "revision": identify("revision", each.revision) if each.revision else "",
            "default_revision": str(each.default),
            "qc": each.qc,
        }

    def file(self, row: FileRow) -> Json:
        """Show a file record as `/files` does: without its id."""
        return {
            "url": f"{self.base}/files/{row.id}",
            "dataset": f"{self.base}/datasets/{row.dataset.id}",
            "data_repository": row.record.repository,
            "name": "",
            "json": row.record.json,
            "relative_path": row.record.relative_path,
            "exists": row.record.exists,
        }

    def repository(self, each: Repository) -> Json:
        """Show a data repository; whoever is logged in sees the keys of its bucket."""
        return {
            "name": each.name,
            "timezone": "Europe/London",
            "globus_path": each.globus_path,
            "hostname": hostname(each),
            "data_url": self._root(each),
            "repository_type": "Fileserver",
            "globus_endpoint_id": each.endpoint,
            "globus_is_personal": each.personal,
            "json": self._bucket(each.bucket) if each.bucket else each.json,
        }

    def _bucket(self, name: str) -> Json:
        shown = {"bucket_name": name, "region_name": "us-east-1"}
        if name in self.keys:
            shown["Access key ID"], shown["Secret access key"] = self.keys[name]
        return shown

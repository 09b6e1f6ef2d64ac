"""The sandbox's own words: repository, record, dataset, session, and the truth about each dataset.

The sandbox is an independent witness: it imports nothing of what it is there to test.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sandbox.prefect-alyx.invalid")


@functools.cache
def identify(*words: object) -> str:
    """Return the UUID that these words always get."""
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, words))))


class State(StrEnum):
    """What is true of one file record, and what Alyx believes."""

    GOOD = "good"  # it exists, and Alyx knows
    ABSENT = "absent"  # it does not exist, and Alyx knows
    LOST = "lost"  # Alyx says that it exists, and it does not
    STALE = "stale"  # other bytes lie there than those that Alyx registers


@dataclass(frozen=True, slots=True)
class Repository:
    """One data repository: where some datasets' files lie.

    Attributes:
        server: Which server of the sandbox has the files: "http", "members", "s3" or "globus".
        globus_path: Root of its paths; for S3 the prefix of its keys.
        endpoint: UUID of the Globus endpoint; its file names carry no UUID where `personal`.
        bucket: Name of the S3 bucket.
        json: The repository's free-form field, where it is no bucket's.
    """

    name: str
    lab: str
    server: str
    globus_path: str
    personal: bool = False
    endpoint: str | None = None
    bucket: str | None = None
    json: Any = None

    def file_name(self, dataset: Dataset, relative_path: str) -> str:
        """Return the path of a file below `globus_path`, as its server names it."""
        return relative_path if self.personal else with_uuid(relative_path, dataset.id)

    def place(self, dataset: Dataset, relative_path: str) -> str:
        """Return where a file lies below the directory that holds all servers' files."""
        part = {"s3": self.bucket, "globus": self.name}.get(self.server)
        parts = (self.server, part, self.globus_path.strip("/"), self.file_name(dataset, relative_path))
        return "/".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Record:
    """One file record: a dataset's place on one repository, and what is true of it."""

    repository: str
    relative_path: str
    state: State = State.GOOD
    json: Any = None

    @property
    def exists(self) -> bool:
        """What Alyx believes."""
        return self.state is not State.ABSENT

    @property
    def held(self) -> bool:
        """Whether the file is there."""
        return self.state in (State.GOOD, State.STALE)


@dataclass(frozen=True, slots=True)
class Session:
    """One session; `number` is None for a base session."""

    id: str
    lab: str
    subject: str
    start: datetime
    number: int | None
    project: str = "sandbox_brain_wide"

    @property
    def path(self) -> str:
        """Return where its files lie below `Subjects`."""
        return f"{self.subject}/{self.start:%Y-%m-%d}/{self.number or 0:03d}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset as Alyx registers it, and its true bytes.

    Attributes:
        content: The true bytes, whatever Alyx registers.
        path: Where the file belongs under a local root, as ONE has it.
        size: Bytes as registered, or None.
        hash: Digest as registered, in whatever form.
        kind: What is odd about it, "" for most.
    """

    id: str
    lab: str
    session: str | None
    collection: str
    name: str
    type: str
    path: str
    content: bytes = field(repr=False)
    size: int | None
    hash: str
    records: tuple[Record, ...]
    created: datetime
    changed: datetime
    revision: str = ""
    default: bool = True
    tags: tuple[str, ...] = ()
    qc: str = "NOT_SET"
    kind: str = ""

    @property
    def stale(self) -> bytes:
        """Return the bytes of an older copy: as many, with the same header, and different."""
        return self.content[:128] + self.content[:127:-1]


class Fate(StrEnum):
    """What should become of a dataset that is asked for."""

    PUBLISHED = "published"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Truth:
    """One line of the manifest: what a download must end in.

    Attributes:
        path: Where the file belongs under the root.
        size: True bytes, as `md5` and `sha1` are their true digests.
        fate: What should become of it over the protocols that the manifest was asked for.
    """

    dataset: str
    path: str
    size: int
    md5: str
    sha1: str
    fate: Fate
    kind: str = ""


def with_uuid(path: str, dataset: str) -> str:
    """Return a path with the UUID before the last suffix of its name, as servers of Alyx name their files."""
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return f"{folder}{slash}{stem}.{dataset}.{suffix}" if dot else f"{path}.{dataset}"


@functools.cache
def digest(content: bytes, algorithm: str = "md5") -> str:
    """Return the true digest in hex."""
    return hashlib.new(algorithm, content).hexdigest()


def fate(dataset: Dataset, servers: Collection[str], repositories: dict[str, Repository]) -> Fate:
    """Return what must become of a dataset over these servers.

    What can be seen in Alyx's records alone is skipped; what can be tried and is nowhere right has failed.
    """
    claimed = [
        record for record in dataset.records if record.exists and repositories[record.repository].server in servers
    ]
    if not claimed:
        return Fate.SKIPPED
    right = _registered_right(dataset) and any(record.state is State.GOOD for record in claimed)
    return Fate.PUBLISHED if right else Fate.FAILED


def _registered_right(dataset: Dataset) -> bool:
    registered = dataset.hash.replace("-", "").lower()
    known = ("", digest(dataset.content), digest(dataset.content, "sha1"))
    return registered in known and dataset.size in (None, len(dataset.content))

"""Which files travel together: batches of one pair of endpoints, and the document that submits one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.clients.globus.endpoints import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.clients.globus.local import LocalEndpoint
    from tasks.clients.globus.options import GlobusOptions

#: Begins the label of every task of ours; the rest of it stands for the files.
LABEL = "prefect-alyx"
#: From so many files on, a source's files are at least two batches: one is scanned while the other is copied.
_WORTH_TWO = 1_000
#: Bytes of paths in one submission; keeps the document near 2 MiB.
_PATH_BYTES = 1 << 20
_CHECKSUM_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One file to move.

    Attributes:
        key: The caller's name for it, unique in a run: the dataset's id.
        address: What `to_address` answered.
        size: Bytes as registered, or None.
        digest: Lower-case hex digits as registered, or "".
    """

    key: str
    address: str
    size: int | None = None
    digest: str = ""

    @property
    def endpoint(self) -> str:
        """UUID of the endpoint that it comes from."""
        return parse_address(self.address)[0]

    @property
    def staged_name(self) -> str:
        """File name under which it is received: the same in every run, so that a later one can go on."""
        return hashlib.blake2b(f"{self.key} {self.address}".encode(), digest_size=16).hexdigest()


class Route(NamedTuple):
    """A file's way from one endpoint to another."""

    source: str
    source_path: str
    destination: str
    destination_path: str


@dataclass(frozen=True, slots=True)
class Destination:
    """Where files are received.

    Attributes:
        endpoint: The endpoint that writes them.
        staging: Directory of this machine, on the file system of the final names.
    """

    endpoint: LocalEndpoint
    staging: Path

    def staged(self, item: Item) -> Path:
        """Where a file is received, as this machine calls it."""
        return self.staging / item.staged_name

    def route(self, item: Item) -> Route:
        """Where a file comes from and goes to, as the two endpoints call it."""
        source, source_path = parse_address(item.address)
        return Route(source, source_path, self.endpoint.id, self.endpoint.path_of(self.staged(item)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that travel in one task.

    Attributes:
        source: UUID of the endpoint they come from.
        idle_rounds: How many tasks in a row got nothing done for these files.
        attempts: How many tasks there have been for these files, this one counted.
        resumed: An earlier run has submitted them, and may have taken some away.
    """

    source: str
    items: tuple[Item, ...]
    idle_rounds: int = 0
    attempts: int = 1
    resumed: bool = False

    @property
    def bytes(self) -> int:
        """Bytes as registered."""
        return sum(item.size or 0 for item in self.items)

    @property
    def largest(self) -> int:
        """Bytes of the largest file."""
        return max((item.size or 0 for item in self.items), default=0)

    def label(self, destination: Destination) -> str:
        """A name that the same files on the same way always get: a task whose journal is lost is found by it."""
        content = "\n".join(sorted("\t".join(destination.route(item)) for item in self.items))
        return f"{LABEL} {hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}"


def plan_batches(items: Iterable[Item], options: GlobusOptions) -> list[Batch]:
    """Group by endpoint, split by files, bytes and length of paths; the largest first.

    Raises:
        DownloadError: `not-addressable`, for an address that is not Globus's.
    """
    by_source: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_source[item.endpoint].append(item)
    batches = [Batch(source, tuple(part)) for source, group in by_source.items() for part in _split(group, options)]
    return sorted(batches, key=lambda batch: batch.bytes, reverse=True)


def _split(items: list[Item], options: GlobusOptions) -> Iterator[list[Item]]:
    most = min(options.batch_files, -(-len(items) // 2)) if len(items) >= _WORTH_TWO else options.batch_files
    part: list[Item] = []
    size = paths = 0
    for item in items:
        size += item.size or 0
        paths += len(item.address)
        if part and (len(part) == most or size > options.batch_bytes or paths > _PATH_BYTES):
            yield part
            part, size, paths = [], item.size or 0, len(item.address)
        part.append(item)
    if part:
        yield part


def transfer_document(
    batch: Batch, destination: Destination, options: GlobusOptions, *, submission_id: str, now: float, verify: bool
) -> dict[str, Any]:
    """The document that submits a batch; journalled and sent as it is.

    The sync level is always `checksum`: after a broken transfer every other one can keep corrupt bytes.
    Source errors are skipped, or one missing file would hold the task until its deadline.
    """
    deadline = datetime.fromtimestamp(int(now + options.deadline(batch.bytes)), tz=UTC)
    return {
        "DATA_TYPE": "transfer",
        "submission_id": submission_id,
        "label": batch.label(destination),
        "source_endpoint": batch.source,
        "destination_endpoint": destination.endpoint.id,
        "deadline": deadline.isoformat(),
        "sync_level": _CHECKSUM_LEVEL,
        "verify_checksum": verify,
        "encrypt_data": options.encrypt,
        "skip_source_errors": True,
        "fail_on_quota_errors": True,
        "notify_on_succeeded": False,
        "notify_on_failed": False,
        "notify_on_inactive": False,
        "DATA": [_transfer_item(item, destination, options, batch) for item in batch.items],
    }


def _transfer_item(item: Item, destination: Destination, options: GlobusOptions, batch: Batch) -> dict[str, str]:
    route = destination.route(item)
    paths = {"source_path": route.source_path, "destination_path": route.destination_path}
    document = {"DATA_TYPE": "transfer_item", **paths}
    if options.external_checksum and item.digest and batch.attempts == 1:
        document["external_checksum"] = item.digest
        document["checksum_algorithm"] = "MD5" if len(item.digest) == 32 else "SHA1"  # noqa: PLR2004
    return document


def staged_names(document: dict[str, Any]) -> set[str]:
    """Names under which the files of a submitted document are received; see :attr:`Item.staged_name`."""
    return {item["destination_path"].rpartition("/")[2] for item in document["DATA"]}

"""Moves one small file over every route, into a folder that is removed again, and says what each route costs."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.catalogue import datasets, repositories
from tasks.clients import DownloadError, WireOptions, client_for
from tasks.clients.tree import OURS, Tree
from tasks.plan.sources import protocols
from tasks.preparing import configured
from tasks.rest.pages import row_key
from tasks.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tasks.clients.seams import Pace
    from tasks.model import Dataset, FileRecord, Json
    from tasks.rest.pages import Pages

#: A file that says something of the road, and costs next to nothing.
LARGEST = 5_000_000
#: Datasets of a repository to choose the probe from.
_FEW = 50
#: A name that may go into a filter which Alyx evaluates.
_PLAIN = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Route:
    """One protocol to one repository, and the file that is moved over it; no file where Alyx knows of none."""

    protocol: str
    repository: str
    dataset: Dataset | None = None
    record: FileRecord | None = None

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.protocol} {self.repository}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a route cost: a row of the canary's table. `state` is `works`, `broken` or `untried`."""

    protocol: str
    repository: str
    state: str
    bytes: int = 0
    seconds: float = 0.0
    reason: str = ""
    next_step: str = ""

    def to_json(self) -> Json:
        """Return plain types."""
        return asdict(self)


def routes(alyx: Pages, ways: Collection[str] | None = None) -> Iterator[Route]:
    """Yield every route that Alyx's repositories offer and this machine has a client for, with a file to move.

    Args:
        alyx: Whom to ask.
        ways: Protocols; by default all that have a client.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    usable = configured() if ways is None else ways
    for name, repository in sorted(repositories(alyx).items()):
        offered = [protocol for protocol in protocols(repository) if protocol in usable]
        dataset = _smallest(alyx, name) if offered else None
        record = _record_at(dataset, name) if dataset else None
        yield from (Route(protocol, name, dataset, record) for protocol in offered)


def _smallest(alyx: Pages, repository: str) -> Dataset | None:
    """A small dataset with a digest, of those that should lie at a repository."""
    if not _PLAIN.fullmatch(repository):
        return None
    lies_there = f"file_records__data_repository__name,{repository},file_records__exists,True"
    page = alyx.page("datasets", limit=_FEW, django=f"{lies_there},file_size__gt,0,file_size__lt,{LARGEST}")
    ids = [row_key(row) for row in page.rows if row.get("hash")]
    found = datasets(Selection.read({"dataset_ids": ids}), alyx) if ids else ()
    there = [dataset for dataset in found if _record_at(dataset, repository)]  # Alyx may mean two different records
    return min(there, key=attrgetter("size", "path"), default=None)


def _record_at(dataset: Dataset, repository: str) -> FileRecord | None:
    return next((one for one in dataset.records if one.repository == repository and one.exists), None)


def probe(route: Route, repository: Json, root: Path, options: WireOptions, pace: Pace) -> Cost:
    """Move a route's file, prove it, and throw it away; nothing stays on disk, and the ledger is not touched.

    Raises:
        DownloadError: `stopped`, or the place under the root cannot be written.
    """
    if route.dataset is None or route.record is None:
        return Cost(route.protocol, route.repository, "untried", reason="Alyx knows of no small file there.")
    begin = pace.monotonic()
    with _scratch(root) as folder:
        try:
            client = client_for(route.protocol, repository, None, options, pace=pace)
            address = client.to_address(route.record.relative_path, route.dataset.id)
            path = client.download_file(address, folder / "probe", size=route.dataset.size, digest=route.dataset.digest)
        except DownloadError as failure:
            pace.check()
            seconds = round(pace.monotonic() - begin, 3)
            return Cost(route.protocol, route.repository, "broken", 0, seconds, failure.reason, failure.next_step)
        size = path.stat().st_size
        return Cost(route.protocol, route.repository, "works", size, round(pace.monotonic() - begin, 3))


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A folder of our own, which `download_file` takes for the root of a tree."""
    Tree(root).prepare()
    folder = Path(tempfile.mkdtemp(dir=root / OURS, prefix="canary-"))
    (folder / OURS).mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""What the `json` of file records says of kachery: Alyx shows it at `/files`, and not with the datasets it lists."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tasks.catalogue import record_of
from tasks.datasets.sessions import batches
from tasks.plan.sources import names_kachery
from tasks.rest.pages import MOST_IDS, complete, id_in, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.model import Dataset, FileRecord
    from tasks.rest.pages import Pages

#: File records that have a `json` at all.
_WITH_JSON = "json__isnull,False"


def with_kachery(found: Iterable[Dataset], alyx: Pages) -> Iterator[Dataset]:
    """Yield datasets, and with them each file record whose `json` names a kachery address or zone.

    This costs one request where no record of this Alyx has a `json`; else one for every 80 datasets.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    if not alyx.page("files", django=_WITH_JSON, limit=1).count:
        yield from found
        return
    for some in batches(found, MOST_IDS):
        named = _records(some, alyx)
        yield from (_completed(dataset, named[dataset.id]) for dataset in some)


def _records(some: list[Dataset], alyx: Pages) -> dict[str, list[FileRecord]]:
    """The records of some datasets that name kachery, by dataset."""
    found = defaultdict(list)
    wanted = f"{id_in('dataset', (dataset.id for dataset in some))},{_WITH_JSON}"
    for row in complete(alyx, "files", django=wanted):
        with readable("files"):
            if names_kachery(row["json"]):
                found[row["dataset"][-36:].lower()].append(record_of(row))
    return found


def _completed(dataset: Dataset, named: list[FileRecord]) -> Dataset:
    if not named:
        return dataset
    both = (*dataset.records, *named)
    return dataset._replace(records=tuple({(one.repository, one.relative_path): one for one in both}.values()))

"""Selection to datasets, from ONE's cache tables: a stream that costs Alyx no request a dataset.

The tables name each dataset that has a session and, at their date, a file on a repository named `flatiron*` or `aws*`.
They hold no file records, but the convention by which ONE itself finds the files: the datasets of a lab lie at
`flatiron_<lab>` and at `aws_<lab>`, as `subject/date/number/` and the row's path. Which of the two has a file the
tables do not say; the run finds out. Where the convention cannot be trusted (a lab whose repositories are named
otherwise, a row that says that its file exists nowhere), the file records are asked of Alyx, by batches of ids.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tasks.catalogue import aggregates, check_values, records_of
from tasks.datasets.choice import Candidate, chosen, ignore
from tasks.model import Dataset, FileRecord
from tasks.plan.sources import protocols
from tasks.rest.pages import MOST_IDS, complete, id_in, row_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tasks.model import Json, Skip
    from tasks.rest.pages import Pages
    from tasks.selection import Selection
    from tasks.tables.rows import Row, Tables

#: How the repositories are named that the tables know.
_KNOWN = ("flatiron", "aws")
#: Fields of a selection that only Alyx itself can answer, and why.
_ONLY_ALYX = {
    "dataset_ids": "datasets that are named by id are asked for one by one",
    "session_ids": "sessions that are named by id are asked for one by one",
    "dataset_types": "the tables do not hold dataset types",
    "public_only": "the tables do not say which tags are public",
}


def datasets(
    selection: Selection,
    tables: Tables,
    alyx: Pages,
    repositories: Collection[str],
    *,
    left_out: Callable[[Skip], None] = ignore,
) -> Iterator[Dataset]:
    """Yield the datasets that a selection means, each once; see :func:`tasks.catalogue.datasets`.

    Args:
        selection: What is meant; one that :func:`objection` has nothing against.
        tables: The tables.
        alyx: Whom to ask for what the tables lack: names to check, aggregates, some file records.
        repositories: Names of Alyx's repositories.
        left_out: See :func:`tasks.datasets.choice.chosen`.

    Raises:
        DownloadError: `tables` for rows that cannot be read, or what :func:`tasks.catalogue.datasets` raises.
    """
    check_values(selection, alyx)
    places = _Places(repositories)
    groups = map(places.candidates, tables.rows(lambda session: session.matches(selection)))
    aside = () if selection.of_sessions else (aggregates(selection, alyx),)
    asked = selection.model_copy(update={"tags": []})  # that is what the tables hold, and all of it
    yield from _completed(chosen(groups, asked, left_out), alyx)
    yield from chosen(aside, selection, left_out)


def objection(selection: Selection, repositories: Mapping[str, Json], configured: Collection[str]) -> str:
    """Say why tables cannot answer a selection exactly, "" where they can.

    Args:
        selection: What is meant.
        repositories: What Alyx answers for each repository, by name.
        configured: Protocols that have a client.
    """
    for field, reason in _ONLY_ALYX.items():
        if getattr(selection, field):
            return reason
    if len(selection.tags) > 1:
        return "there are tables of one tag, not of several together"
    others = sorted(name for name in repositories if not name.startswith(_KNOWN))
    used = {name for name in others if _is_used(repositories[name], selection, configured)}
    if used:
        return f"the tables do not know what lies on {', '.join(sorted(used))}"
    return ""


def lacking(selection: Selection, tables: Tables) -> str:
    """Say what these tables lack for a selection, "" where they hold all of it."""
    if selection.qc_at_most and not tables.has("qc"):
        return "these tables are old and hold no quality"
    if selection.revision_rule == "default" and not tables.has("default_revision"):
        return "these tables are old and do not mark default revisions"
    return tables.fault()


def _is_used(repository: Json, selection: Selection, configured: Collection[str]) -> bool:
    """Whether a dataset could be had from this repository."""
    name, use, avoid = repository["name"], selection.repositories, selection.avoid_repositories
    ways = {protocol for protocol in protocols(repository) if protocol in configured}
    return name not in avoid and (not use or name in use) and not ways.isdisjoint(selection.protocols)


class _Places:
    """Where the convention puts a dataset: below the root, and on the repositories of its lab."""

    def __init__(self, repositories: Collection[str]) -> None:
        self._repositories = frozenset(repositories)
        self._of_lab = cache(self._conventional)

    def candidates(self, rows: list[Row]) -> Iterator[Candidate]:
        """Yield the rows of one session with what a selection looks at."""
        session = rows[0].session
        folder = f"{session.subject}/{session.day}/{session.number:03d}"
        names = self._of_lab(session.lab)
        for row in rows:
            dataset = _dataset(row, f"{folder}/{row.path}", names)
            yield Candidate(dataset, row.name, row.collection, qc=row.qc, default=row.default)

    def _conventional(self, lab: str) -> tuple[str, ...]:
        return tuple(name for known in _KNOWN if (name := f"{known}_{lab}") in self._repositories)


def _dataset(row: Row, relative: str, names: tuple[str, ...]) -> Dataset:
    """A row with the file records that it has by convention; without any where the convention does not hold."""
    lab = row.session.lab
    return Dataset(
        id=row.id.lower(),
        session=row.session.id.lower(),
        lab=lab or None,
        path=f"{lab}/Subjects/{relative}" if lab else relative,
        size=row.size,
        digest=row.digest,
        revision=row.revision,
        records=tuple([FileRecord(name, relative, None) for name in names]) if row.exists else (),
    )


def _completed(found: Iterable[Dataset], alyx: Pages) -> Iterator[Dataset]:
    """Yield datasets with file records; those that have none get them from Alyx, as many at a time as fit a URL."""
    waiting: list[Dataset] = []
    for dataset in found:
        if dataset.records:
            yield dataset
            continue
        waiting.append(dataset)
        if len(waiting) == MOST_IDS:
            yield from _asked(waiting, alyx)
            waiting.clear()
    yield from _asked(waiting, alyx)


def _asked(waiting: list[Dataset], alyx: Pages) -> Iterator[Dataset]:
    """What Alyx has of these; it may have deleted a dataset since the tables were made."""
    if not waiting:
        return
    rows = {
        row_key(row).lower(): row for row in complete(alyx, "datasets", django=id_in("id", (d.id for d in waiting)))
    }
    for dataset in waiting:
        if dataset.id in rows:
            yield dataset._replace(records=records_of(rows[dataset.id]))

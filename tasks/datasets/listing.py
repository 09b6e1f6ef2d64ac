"""Which catalogue serves a selection: Alyx's REST interface, or ONE's cache tables.

REST is exact to the second, and takes about a request for a thousand datasets. The tables are as old as their date and
need one download for all selections, so they are worth it for wide ones. A selection that they cannot answer exactly
goes to REST, and the plan says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tasks import catalogue as rest
from tasks.clients.verdicts import DownloadError, error
from tasks.datasets.choice import ignore
from tasks.datasets.sessions import count_at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tasks.alyx import AlyxClient
    from tasks.model import Dataset, Json, Skip
    from tasks.selection import Selection
    from tasks.settings import Catalogue

#: Sessions from which on tables are worth their download.
_MANY = 1000
#: What means that Alyx offers no tables, or none that are of use, and not that Alyx cannot be talked to.
_NO_TABLES = ("tables", "tables-bomb", "alyx-error", "alyx-not-found", "not-found", "forbidden", "redirect", "not-data")


@dataclass(frozen=True, slots=True)
class Listing:
    """The datasets that a selection means, and which catalogue says so."""

    datasets: Iterator[Dataset]
    catalogue: str


def listing(
    selection: Selection,
    alyx: AlyxClient,
    repositories: Mapping[str, Json],
    *,
    wanted: Catalogue,
    configured: Collection[str],
    left_out: Callable[[Skip], None],
) -> Listing:
    """Choose the catalogue.

    Args:
        selection: What is meant.
        alyx: Whom to ask.
        repositories: What Alyx answers for each repository, by name.
        wanted: `rest`, `tables`, or `auto`: the tables for selections of many sessions, where they can be read here.
        configured: Protocols that have a client.
        left_out: Told of each dataset none of whose revisions satisfies the rule. The rule `exact` is a filter like
            those by name: what it does not match is not told.

    Raises:
        DownloadError: where Alyx cannot be asked.
    """
    told = ignore if selection.revision_rule == "exact" else left_out
    reason = _against_tables(selection, alyx, wanted)
    if not reason:
        try:
            return _from_tables(selection, alyx, repositories, configured, told)
        except DownloadError as refusal:
            if refusal.code not in _NO_TABLES:
                raise
            reason = refusal.reason
    why = f" ({reason.rstrip('.')})" if reason and wanted != "rest" else ""
    return Listing(rest.datasets(selection, alyx, left_out=told), f"REST of {alyx.url}{why}")


def _against_tables(selection: Selection, alyx: AlyxClient, wanted: Catalogue) -> str:
    """What speaks against tables before they are looked at."""
    if wanted == "rest":
        return "as asked for"
    if not find_spec("pyarrow"):
        return "the tables are not read here: `pip install prefect-alyx[tables]`"
    if wanted == "auto" and count_at_most(alyx, selection, _MANY) < _MANY:
        return "the selection is small"
    return ""


def _from_tables(
    selection: Selection,
    alyx: AlyxClient,
    repositories: Mapping[str, Json],
    configured: Collection[str],
    told: Callable[[Skip], None],
) -> Listing:
    from tasks.tables import catalogue, files, rows  # noqa: PLC0415  (pyarrow is an extra)

    if objection := catalogue.objection(selection, repositories, configured):
        raise error("tables", f"{objection[0].upper()}{objection[1:]}.")
    directory = files.current(alyx, tag=selection.tags[0] if selection.tags else "")
    opened = rows.Tables.open(directory)
    if lack := catalogue.lacking(selection, opened):
        raise error("tables", f"{lack[0].upper()}{lack[1:]}.")
    of = f" of the tag {selection.tags[0]}" if selection.tags else ""
    made = files.info_of(directory)["date_created"]
    found = catalogue.datasets(selection, opened, alyx, repositories, left_out=told)
    return Listing(found, f"ONE's cache tables{of} of {alyx.url}, made {made}: what has a file on flatiron or aws")

"""Prepares a plan: asks Alyx what is selected, looks at ledger and disk, and hands all of it to the planner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.catalogue import repositories, still_there
from tasks.clients import PROC_PRECEDENCE, DownloadClient, client_class, client_for
from tasks.clients.one_files import cache_dir
from tasks.clients.seams import leave_imports_alone
from tasks.clients.verdicts import error
from tasks.datasets.file_records import with_kachery
from tasks.datasets.listing import Listing, listing
from tasks.ledgers.opening import known_ledger, read_ledger
from tasks.plan.disk import free_bytes, look, require_writable
from tasks.plan.planfile import Plan, Space
from tasks.plan.sources import ANYWHERE, KACHERY, Router, on_this_machine
from tasks.planning import make_plan
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.wording import human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tasks.model import Dataset, FileRecord, Json, Skip

    #: Names the datasets of a selection.
    Catalogue = Callable[[Selection, AlyxClient], Iterable[Dataset]]

#: How long a file is left in peace that differs from what Alyx registers at all its sources.
REST = timedelta(days=7)


def prepare(
    selection: Selection,
    root: Path | None,
    settings: AlyxSettings,
    *,
    rest: timedelta = REST,
    catalogue: Catalogue | None = None,
) -> Plan:
    """Decide what a run will do; nothing is written under the root.

    Args:
        selection: What the user asks for.
        root: Where the files go; by default the settings' root, then ONE's cache directory for this Alyx.
        settings: Defaults.
        rest: How long a file is left in peace that differs from what Alyx registers at all its sources.
        catalogue: Names the datasets of the selection; by default all, from REST or from cache tables.

    Raises:
        DownloadError: when Alyx or the ledger cannot answer, or a root is missing.
    """
    leave_imports_alone()
    alyx = AlyxClient()
    place = find_root(root, settings, alyx)
    ledger = read_ledger(place)
    records = repositories(alyx)
    left_out: list[Skip] = []
    found = (
        Listing(iter(catalogue(selection, alyx)), f"REST of {alyx.url}")
        if catalogue
        else listing(
            selection, alyx, records, wanted=settings.catalogue, configured=configured(), left_out=left_out.append
        )
    )
    return make_plan(
        known_to_kachery(found.datasets, selection, alyx),
        left_out=left_out,
        root=str(place),
        router=_router(selection, records, alyx.url),
        known=ledger.proofs,
        look=partial(look, place),
        space=Space(free_bytes(place), settings.reserve_bytes),
        resting=ledger.resting(datetime.now(UTC) - rest),
        catalogue=found.catalogue,
    )


def known_to_kachery(found: Iterable[Dataset], selection: Selection, alyx: AlyxClient) -> Iterable[Dataset]:
    """Complete datasets by what their file records say of kachery, where it may be asked for them.

    Raises:
        DownloadError: An `alyx-...` row, when they are read.
    """
    asked = KACHERY in selection.protocols and client_class(KACHERY).is_configured()
    return with_kachery(found, alyx) if asked else found


def router_for(selection: Selection, alyx: AlyxClient) -> Router:
    """Make what finds the sources of a selection's datasets.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    return _router(selection, repositories(alyx), alyx.url)


def _router(selection: Selection, records: dict[str, Json], alyx_url: str) -> Router:
    return Router(
        records,
        Addresses(records),
        precedence=tuple(selection.protocols),
        use=selection.repositories or None,
        avoid=selection.avoid_repositories,
        configured=configured(),
        barred=on_this_machine(records, alyx_url, AlyxSettings.read().allow_hosts),
    )


def require_place(plan: Plan) -> None:
    """Refuse a plan whose root cannot take it.

    Raises:
        DownloadError: `bad-root` or `read-only`; `no-space`, with what is needed and what is free.
    """
    require_writable(Path(plan.root))
    space = plan.space
    if not space.fits:
        detail = f"{plan.root}: {human_bytes(space.needed)} are needed, {human_bytes(space.free)} are free."
        raise error("no-space", detail)


def find_root(root: Path | None, settings: AlyxSettings, alyx: AlyxClient) -> Path:
    """Say where the files go: parameter, setting, ONE's cache directory for this Alyx.

    Raises:
        DownloadError: `no-root`, when nobody says.
    """
    place = root or settings.root or cache_dir(alyx.url)
    if place is None:
        raise error("no-root")
    return place.expanduser().absolute()


class Addresses:
    """Gives a file's address at one repository: one client a protocol and repository, made when it is needed."""

    def __init__(self, repositories: dict[str, Json]) -> None:
        self._repositories = repositories
        self._clients: dict[tuple[str, str], DownloadClient] = {}

    def __call__(self, protocol: str, repository: Json | None, record: FileRecord | None, dataset: Dataset) -> str:
        """Return the address.

        Raises:
            DownloadError: `bad-path` or `not-addressable`; kachery also says `not-configured` or `digest-mismatch`.
        """
        key = (protocol, record.repository if record else ANYWHERE)
        if key not in self._clients:
            self._clients[key] = client_for(protocol, repository or {})
        path, json = (record.relative_path, record.json) if record else (dataset.path, None)
        return self._clients[key].address_of(path, dataset.id, digest=dataset.digest, json=json)


def failed_before(root: Path | None, settings: AlyxSettings) -> Selection | None:
    """Select the datasets whose last attempt failed, and that Alyx still has; None where there are none.

    Raises:
        DownloadError: `no-root` or `no-tree`, or when the ledger cannot answer.
    """
    alyx = AlyxClient()
    place = find_root(root, settings, alyx)
    failed = still_there(alyx, [failure.dataset for failure in known_ledger(place).failed()])
    return Selection.read({"dataset_ids": sorted(failed)}) if failed else None


def configured() -> list[str]:
    """Protocols that have a client, and what it needs on this machine."""
    return [protocol for protocol in PROC_PRECEDENCE if client_class(protocol).is_configured()]

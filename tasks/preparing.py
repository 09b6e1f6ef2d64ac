"""Prepares a plan: asks Alyx what is selected, looks at ledger and disk, and hands all of it to the planner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.catalogue import datasets, repositories
from tasks.clients import DownloadClient, client_for
from tasks.clients.one_files import cache_dir
from tasks.clients.verdicts import error
from tasks.disk import free_bytes, look, require_writable
from tasks.ledger import Ledger
from tasks.planfile import Plan, Space
from tasks.planning import make_plan
from tasks.selection import Selection
from tasks.sources import Router
from tasks.wording import human_bytes

if TYPE_CHECKING:
    from tasks.model import Dataset, FileRecord, Json
    from tasks.settings import AlyxSettings

_REST = timedelta(days=7)


def prepare(selection: Selection, root: Path | None, settings: AlyxSettings, *, rest: timedelta = _REST) -> Plan:
    """Decide what a run will do; nothing is written anywhere.

    Args:
        selection: What the user asks for.
        root: Where the files go; by default the settings' root, then ONE's cache directory for this Alyx.
        settings: Defaults.
        rest: How long a file is left in peace that differs from what Alyx registers at all its sources.

    Raises:
        DownloadError: when Alyx or the ledger cannot answer, or a root is missing.
    """
    alyx = AlyxClient()
    place = find_root(root, settings, alyx)
    space = Space(free_bytes(place), settings.reserve_bytes)
    records = repositories(alyx)
    ledger = Ledger.read_only(place)
    router = Router(
        records,
        Addresses(records),
        precedence=tuple(selection.protocols),
        use=selection.repositories or None,
        avoid=selection.avoid_repositories,
        configured=configured(),
    )
    return make_plan(
        datasets(selection, alyx),
        root=str(place),
        router=router,
        known=ledger.known,
        look=partial(look, place),
        space=space,
        resting=ledger.resting(datetime.now(UTC) - rest),
        catalogue=f"REST of {alyx.url}",
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
            DownloadError: `bad-path` or `not-addressable`.
        """
        name = record.repository if record else ""
        key = (protocol, name)
        if key not in self._clients:
            self._clients[key] = client_for(protocol, repository or {})
        return self._clients[key].to_address(record.relative_path if record else dataset.path, dataset.id)


def failed_before(root: Path | None, settings: AlyxSettings) -> Selection | None:
    """Select the datasets whose last attempt failed; None where the ledger knows of none.

    Raises:
        DownloadError: `no-root`, or when the ledger cannot answer.
    """
    place = find_root(root, settings, AlyxClient())
    failed = [failure.dataset for failure in Ledger.read_only(place).failed()]
    return Selection.read({"dataset_ids": failed}) if failed else None


def configured() -> tuple[str, ...]:
    """Protocols that have a client."""
    return ("aws", "http")
